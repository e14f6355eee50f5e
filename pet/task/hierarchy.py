"""The key ``hierarchy`` of a task file: parents of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SLASH = "/"


def slash_ancestors(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the ancestors of labels that are written ``parent/child``, from the top.

    Examples
    --------
    >>> slash_ancestors(["bank/card/lost", "other"])
    {'bank/card/lost': ('bank', 'bank/card'), 'other': ()}
    """
    parts = {label: label.split(SLASH) for label in labels}
    return {label: tuple(SLASH.join(path[:n]) for n in range(1, len(path))) for label, path in parts.items()}


def parents_of(ancestors: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return parent -> labels, for labels with one ancestor each.

    Examples
    --------
    >>> parents_of({"a": ("x",), "b": ("x",), "c": ()})
    {'x': ['a', 'b']}
    """
    found: dict[str, list[str]] = {}
    for label, path in ancestors.items():
        for parent in path:
            found.setdefault(parent, []).append(label)
    return found
