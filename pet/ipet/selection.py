"""iPET: sizes of the training sets, and selection of pseudo-labeled texts.

Pure functions that implement arXiv 2001.07676, section 3.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.combine import Ensemble
from pet.errors import PetError
from pet.settings import shorten

Array = NDArray[Any]
MOST = 10**12  # examples; more than any pool has
_CHUNK = 65536  # number of rows merged at once


def count_generations(first: int, growth: float, enough: int) -> int:
    """Count the training rounds until the training set grows from `first` to at least `enough` texts.

    Parameters
    ----------
    first : size of the first training set, above 0
    growth : growth factor per round, above 1
    enough : size at which to stop growing

    Returns
    -------
    int, at least 1

    Examples
    --------
    >>> count_generations(10, 5.0, 1000)  # 10, 50, 250, 1250
    4
    """
    rounds, size = 1, float(first)
    while size < enough:
        size *= growth
        rounds += 1
    return rounds


def apportion(total: int, shares: Array) -> Array:
    """Distribute texts over labels in a given ratio, by the largest-remainder method.

    Parameters
    ----------
    total : number of texts
    shares : shape (L,), nonnegative, not all 0

    Returns
    -------
    int64 array of shape (L,) with sum `total`; ties go to the earlier label.

    Examples
    --------
    >>> apportion(10, np.array([1, 1, 1])).tolist()
    [4, 3, 3]
    """
    shares = np.asarray(shares, dtype=np.float64)
    exact = total * shares / shares.sum()
    counts = np.floor(exact + 1e-9).astype(np.int64)
    remainders = np.round(exact - counts, 9)
    counts[np.argsort(-remainders, kind="stable")[: total - int(counts.sum())]] += 1
    return counts


def parse_ratio(text: str, labels: Sequence[str]) -> Array | None:
    """Parse the label ratio of pseudo-labeled texts.

    Parameters
    ----------
    text : ``keep`` or ``auto`` (the same as in the labeled texts), ``balanced``, or comma-separated numbers, one per
        label
    labels : labels of the task

    Returns
    -------
    float64 array of shape (L,) with sum 1, or None for ``keep`` and ``auto``

    Raises
    ------
    PetError
        For anything else.

    Examples
    --------
    >>> parse_ratio("3,1", ["good", "bad"]).tolist()
    [0.75, 0.25]
    """
    if text in ("auto", "keep"):
        return None
    if text == "balanced":
        return np.full(len(labels), 1 / len(labels))
    try:
        shares = np.asarray([float(part) for part in text.split(",")])
    except ValueError:
        shares = np.zeros(0)
    if len(shares) != len(labels) or not (shares >= 0).all() or not 0 < shares.sum() < math.inf:
        raise PetError(
            f"setting ratio is {shorten(repr(text))}; use auto, keep, balanced, or {len(labels)} comma-separated "
            f"numbers, one for each of {', '.join(labels)}"
        )
    return np.asarray(shares / shares.sum())


def new_examples(counts: Array, generation: int, growth: float, ratio: Array | None = None, first: int = 10) -> Array:
    """Compute the number of pseudo-labeled texts per label for a member of a generation.

    With |T| labeled texts, the training set of generation g has |T| · growth^g texts, including T. Without
    labeled texts, generation 0 is the untrained model, and the training set of generation g has
    first · growth^(g - 1) texts, where `first` is at least the number of labels.

    Parameters
    ----------
    counts : number of labeled texts per label, shape (L,)
    generation : number of the generation, at least 1; generation 0 is trained on the labeled texts only
    growth : d in the paper
    ratio : label ratio of the pseudo-labeled texts, shape (L,); None: that of `counts`, or uniform without labels
    first : size of the first training set if there are no labeled texts

    Returns
    -------
    int64 array of shape (L,)
    """
    counts = np.asarray(counts, dtype=np.int64)
    labeled = int(counts.sum())
    if labeled:
        total = math.floor(min(labeled * growth**generation, MOST) + 0.5) - labeled
        return apportion(total, counts if ratio is None else ratio)
    total = math.floor(min(max(first, len(counts)) * growth ** (generation - 1), MOST) + 0.5)
    return apportion(total, np.ones(len(counts)) if ratio is None else ratio)


def choose_voters(others: Sequence[str], share: float, generator: np.random.Generator) -> list[str]:
    """Draw the members that label texts for another member.

    Parameters
    ----------
    others : names of all other members, in any order
    share : share of them to draw, rounded half up, at least one
    generator : random generator

    Returns
    -------
    list of str, sorted

    Raises
    ------
    ValueError
        If there are no other members.
    """
    if not others:
        raise ValueError("there are no other members to label texts")
    number = min(len(others), max(1, math.floor(share * len(others) + 0.5)))
    return sorted(generator.permutation(sorted(others))[:number].tolist())


@dataclass(frozen=True)
class Candidates:
    """Merged predictions of some members for every text of the pool.

    Attributes
    ----------
    ensemble : the members
    scores : scores of each member, shape (rows, L)
    """

    ensemble: Ensemble
    scores: Sequence[Array]

    @classmethod
    def of(cls, ensemble: Ensemble, scores: Sequence[Array], target: Array | None = None) -> Candidates:
        """Return candidates from members; a label ratio `target` of shape (L,) calibrates them."""
        if target is None:
            return cls(ensemble, scores)
        target = np.maximum(target, 1e-3)
        return cls(ensemble.corrected(scores, target / target.sum()), scores)

    def __len__(self) -> int:
        return len(self.scores[0])

    def probabilities(self, rows: Array | slice) -> Array:
        """Return the merged probabilities of some rows: float64, shape (rows, L)."""
        return self.ensemble.combine([s[rows] for s in self.scores]).probabilities

    def chunks(self) -> Iterator[tuple[int, Array]]:
        """Yield the pool in chunks: the number of the first row, and the probabilities."""
        for start in range(0, len(self), _CHUNK):
            yield start, self.probabilities(slice(start, start + _CHUNK))

    def predictions(self) -> tuple[Array, Array]:
        """Return the most probable label (int64) and its probability (float64) for every row."""
        label, confidence = np.empty(len(self), dtype=np.int64), np.empty(len(self))
        for start, probabilities in self.chunks():
            label[start : start + len(probabilities)] = probabilities.argmax(axis=1)
            confidence[start : start + len(probabilities)] = probabilities.max(axis=1)
        return label, confidence


@dataclass(frozen=True)
class Chosen:
    """Pseudo-labeled texts for one member.

    Attributes
    ----------
    rows : int64 array of distinct rows of the pool, ascending
    labels : int64 array, their pseudo-labels; or bool array of shape (n, L) if texts may have several
    available : number of candidate texts per label, shape (L,)
    """

    rows: Array
    labels: Array
    available: Array


def _sorted(rows: Array, labels: Array, available: Array) -> Chosen:
    order = np.argsort(rows, kind="stable")
    return Chosen(rows[order].astype(np.int64), labels[order].astype(np.int64), available)


def draw_confident(
    label: Array, confidence: Array, wanted: Array, eligible: Array, generator: np.random.Generator
) -> Chosen:
    """Draw texts of each predicted label without replacement, with probability proportional to confidence.

    Each row gets the key ``-log(u) / confidence`` with u uniform; the n smallest keys are such a sample
    (Efraimidis and Spirakis 2006, Information Processing Letters 97).

    Parameters
    ----------
    label, confidence : prediction for each row of the pool
    wanted : number of texts to draw per label, shape (L,); if fewer have this prediction, all of them are drawn
    eligible : bool array, False for rows that must not be drawn
    generator : random generator; draws one number per row of the pool, independent of the predictions
    """
    keys = generator.standard_exponential(len(label)) / np.maximum(confidence, 1e-300)
    return chosen_rows(label, keys, wanted, eligible)


def chosen_rows(label: Array, keys: Array, wanted: Array, eligible: Array) -> Chosen:
    """Return the eligible texts of each label with the smallest keys, `wanted` of each label or all there are."""
    rows, labels, available = [], [], []
    for number, count in enumerate(wanted):
        found = np.flatnonzero((label == number) & eligible)
        taken = found[np.argsort(keys[found], kind="stable")[:count]]
        rows.append(taken)
        labels.append(np.full(len(taken), number))
        available.append(len(found))
    return _sorted(np.concatenate(rows), np.concatenate(labels), np.asarray(available))


def take_most_probable(candidates: Candidates, wanted: Array, eligible: Array, least: float = 0.0) -> Chosen:
    """Select for each label the texts with the highest probability of it, even if another label is more probable.

    Used for the first training set without labeled texts, and for all of them with the selection ``top``. A text
    among the best for two labels gets the more probable one.

    Parameters
    ----------
    candidates : predictions for the pool
    wanted : number of texts per label, shape (L,)
    eligible : bool array, False for rows that must not be selected
    least : texts with a lower probability of a label are not selected for it
    """
    labels = len(wanted)
    available = np.zeros(labels, dtype=np.int64)
    most = int(np.sum(wanted))  # other labels can take at most this many of a label's best texts
    best: list[Array] = [np.zeros((0, 2))] * labels
    for start, probabilities in candidates.chunks():
        rows = np.flatnonzero(eligible[start : start + len(probabilities)])
        for number in range(labels):
            sure = rows[probabilities[rows, number] >= least]
            available[number] += len(sure)
            values = np.stack([sure + start, probabilities[sure, number]], axis=1)
            both = np.concatenate([best[number], values])
            best[number] = both[np.argsort(-both[:, 1], kind="stable")[:most]]
    pairs = [(-p, int(row), number) for number, table in enumerate(best) for row, p in table.tolist()]
    taken: dict[int, int] = {}
    left = [int(count) for count in wanted]
    for _, row, number in sorted(pairs):
        if left[number] and row not in taken:
            taken[row] = number
            left[number] -= 1
    return _sorted(
        np.fromiter(taken.keys(), np.int64, len(taken)), np.fromiter(taken.values(), np.int64, len(taken)), available
    )


def best_generation(agreement: Sequence[float], largest_share: Sequence[float]) -> int:
    """Find the generation with the highest agreement among those that did not collapse to one label.

    Parameters
    ----------
    agreement : agreement of the members, per generation
    largest_share : share of the most frequent prediction in the pool, per generation

    Returns
    -------
    int: an index into the sequences; ties go to the later generation
    """
    sound = [g for g, share in enumerate(largest_share) if share < COLLAPSE] or list(range(len(agreement)))
    return max(sound, key=lambda g: (agreement[g], g))


COLLAPSE = 0.95  # a generation has collapsed if one label is predicted for this share of the pool
FALLING = 0.02  # a drop in agreement larger than noise


def generation_warnings(
    generation: int, agreement: Sequence[float], shares: Array, wanted: Array | None, labels: Sequence[str]
) -> list[str]:
    """Return warnings about a generation.

    Parameters
    ----------
    generation : its number
    agreement : agreement of the members in all generations up to this one
    shares : share of each label among the predictions for the pool, shape (L,)
    wanted : number of pseudo-labeled texts wanted per label, shape (L,), or None
    labels : label names
    """
    messages = []
    top = int(np.argmax(shares))
    asked = np.ones(len(labels), dtype=bool) if wanted is None else np.asarray(wanted) > 0
    if shares[top] >= COLLAPSE:
        messages.append(
            f"generation {generation} collapsed: it predicts {labels[top]!r} for {100 * shares[top]:.0f}% of the "
            "pool; try --set calibrate=true, other patterns or label words, or --set keep_best=true"
        )
    nobody = [label for label, share, wish in zip(labels, shares, asked, strict=True) if wish and not share]
    if nobody:
        messages.append(
            f"generation {generation} predicts {', '.join(map(repr, nobody))} for no text of the pool; try other "
            "patterns or label words, or --set calibrate=true"
        )
    if len(agreement) > 1 and agreement[-1] < agreement[-2] - FALLING:
        messages.append(
            f"generation {generation}: agreement between members fell from {agreement[-2]:.3f} to {agreement[-1]:.3f}; "
            "later generations may be worse (consider --set keep_best=true or --set stop_early=true)"
        )
    return messages
