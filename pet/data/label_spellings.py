"""Labels that differ only in case or spaces, and are probably the same label."""

from __future__ import annotations

from collections.abc import Mapping

from pet.spelling import compose


def similar_labels(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return groups of labels that differ only in case or spaces, the most frequent spelling of each first.

    Parameters
    ----------
    counts : label -> number of rows

    Examples
    --------
    >>> similar_labels({"sports": 2, "Sports ": 5, "world": 4, "spo rts": 2})
    [('Sports ', 'sports', 'spo rts')]
    """
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault("".join(compose(label).casefold().split()), []).append(label)
    return [tuple(sorted(group, key=lambda label: -counts[label])) for group in groups.values() if len(group) > 1]
