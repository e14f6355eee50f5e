"""Span corruption, for the auxiliary loss of T5-like models. Spans are redrawn at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pet.cloze.ragged import Encoded

Array = NDArray[Any]
IGNORED = -100  # target value that losses ignore


@dataclass(frozen=True)
class SpanRule:
    """How to corrupt spans (Raffel et al. 2020, arXiv 1910.10683, section 3.1.4).

    Attributes
    ----------
    sentinels : ids that replace the spans, in this order
    ends : ids at the end of every target
    pad_id : id of the padding token
    probability : share of the ordinary tokens to remove
    mean_length : mean length of a span, in tokens
    """

    sentinels: tuple[int, ...]
    ends: tuple[int, ...]
    pad_id: int
    probability: float = 0.15
    mean_length: float = 3.0


def corrupt_spans(encoded: Encoded, rule: SpanRule, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Remove random spans from filled patterns, and the mask, so that sentinels start from the first one.

    Parameters
    ----------
    encoded : rows; only their ordinary tokens are removed
    rule, generator : how to corrupt spans, and the random generator

    Returns
    -------
    ids, attention : int64 arrays of shape (B, T), padded on the right
    targets : int64 array of shape (B, S): each sentinel followed by its span, a final sentinel, the end;
        padded with `IGNORED`
    """
    inputs, targets = [], []
    for row in range(len(encoded)):
        first, last = encoded.ids.offsets[row : row + 2]
        keep = np.arange(last - first) != encoded.mask_position[row]
        ids = encoded.ids.values[first:last][keep].astype(np.int64)
        taken = draw_spans(encoded.ordinary[first:last][keep], rule, generator)
        source, target = _take_out(ids, taken, rule)
        inputs.append(source)
        targets.append(target)
    ids = _pad(inputs, rule.pad_id)
    lengths = np.asarray([len(row) for row in inputs])
    attention = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
    return ids, attention, _pad(targets, IGNORED)


def draw_spans(ordinary: Array, rule: SpanRule, generator: np.random.Generator) -> Array:
    """Draw the tokens of a row to remove: a share of the ordinary ones, in spans separated by at least one token.

    Parameters
    ----------
    ordinary : bool array of shape (T,)
    rule, generator : how to corrupt spans, and the random generator

    Returns
    -------
    bool array of shape (T,), True for tokens to remove
    """
    places = np.flatnonzero(ordinary)
    taken = np.zeros(len(ordinary), dtype=bool)
    if not len(places):
        return taken
    count = min(max(round(len(places) * rule.probability), 1), len(places))
    left = len(places) - count
    spans = min(max(round(count / rule.mean_length), 1), count, left + 1, len(rule.sentinels) - 1)
    inside = _parts(count, spans, generator)
    between = _parts(left - (spans - 1) + spans + 1, spans + 1, generator) - 1  # both ends may be empty
    between[1:-1] += 1
    start = 0
    for gap, length in zip(between[:-1], inside, strict=True):
        start += gap
        taken[places[start : start + length]] = True
        start += length
    return taken


def _parts(total: int, count: int, generator: np.random.Generator) -> Array:
    """Draw `count` positive integers with sum `total`, uniformly."""
    cuts = np.sort(generator.choice(total - 1, size=count - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def _take_out(ids: Array, taken: Array, rule: SpanRule) -> tuple[Array, Array]:
    """Replace removed spans by sentinels; return the remaining ids and the target."""
    begins = taken & ~np.concatenate([[False], taken[:-1]])
    begins &= np.cumsum(begins) < len(
        rule.sentinels
    )  # a special token splits a span; spans beyond the last sentinel are merged
    span = np.cumsum(begins)
    marks = np.asarray(rule.sentinels, dtype=np.int64)
    source = np.where(begins, marks[np.maximum(span - 1, 0)], ids)[begins | ~taken]
    target: list[int] = []
    for number in range(int(span[-1]) if len(span) else 0):
        target += [int(marks[number]), *map(int, ids[taken & (span == number + 1)])]
    return source, np.asarray([*target, int(marks[int(span[-1])]), *rule.ends] if target else rule.ends)


def _pad(rows: list[Array], fill: int) -> Array:
    width = max(1, *map(len, rows)) if rows else 1
    padded = np.full((len(rows), width), fill, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded
