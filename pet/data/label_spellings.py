"""Labels that differ only in case or spaces, and are probably the same label."""

from __future__ import annotations

from collections.abc import Mapping

from pet.spelling import compose


def similar_labels(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return groups of labels that differ only in case or spaces, the best spelling of each first.

    The best one has no spaces around it, if there is such a spelling, and is the most frequent of these.

    Parameters
    ----------
    counts : label -> number of rows

    Examples
    --------
    >>> similar_labels({"sports": 2, "Sports ": 5, "world": 4, "spo rts": 2})
    [('sports', 'spo rts', 'Sports ')]
    """
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault("".join(compose(label).casefold().split()), []).append(label)
    rank = {label: (label != label.strip(), -count) for label, count in counts.items()}
    return [tuple(sorted(group, key=rank.__getitem__)) for group in groups.values() if len(group) > 1]
