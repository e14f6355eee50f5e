"""iPET: how large the training sets of the generations are, and which texts get into them.

Pure functions after arXiv 2001.07676, section 3.4: arrays in, arrays out, the random generator passed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.combine import merge_scores, prior_correction
from pet.errors import PetError
from pet.numerics import softmax

Array = NDArray[Any]
_CHUNK = 65536  # rows that are merged at a time
_CALIBRATION_ROWS = 20_000  # evenly spaced rows that are enough to see the mean prediction
_LONGEST = 30  # generations: more than any schedule needs, and few enough for the sizes to stay numbers


def count_generations(first: int, growth: float, enough: int) -> int:
    """Rounds of training that take the training set from `first` texts to at least `enough`.

    Parameters
    ----------
    first : texts in the first training set, above 0
    growth : how many times larger each set is than the one before, above 1
    enough : size of a set after which no larger one is made

    Returns
    -------
    int, at least 1: 10 texts that grow fivefold reach 1,000 with the fourth set.
    """
    rounds, size = 1, float(first)
    while size < enough:
        size *= growth
        rounds += 1
    return rounds


def apportion(total: int, shares: Array) -> Array:
    """Split a number of texts over labels in a given ratio, by the largest remainders.

    Parameters
    ----------
    total : texts
    shares : shape (L,), not negative, not all 0

    Returns
    -------
    int64 array of shape (L,) that adds up to `total`; of equal remainders the earlier label gets the text.
    """
    shares = np.asarray(shares, dtype=np.float64)
    exact = total * shares / shares.sum()
    counts = np.floor(exact + 1e-9).astype(np.int64)
    remainders = np.round(exact - counts, 9)
    counts[np.argsort(-remainders, kind="stable")[: total - int(counts.sum())]] += 1
    return counts


def parse_ratio(text: str, labels: Sequence[str]) -> Array | None:
    """The ratio of the labels in the new examples.

    Parameters
    ----------
    text : ``keep`` (as in the labeled texts), ``balanced``, or a number for each label, in their order,
        with commas between
    labels : those of the task

    Returns
    -------
    float64 array of shape (L,) that adds up to 1; None for ``keep``.

    Raises
    ------
    PetError
        When it is none of these.
    """
    if text == "keep":
        return None
    if text == "balanced":
        return np.full(len(labels), 1 / len(labels))
    try:
        shares = np.asarray([float(part) for part in text.split(",")])
    except ValueError:
        shares = np.zeros(0)
    if len(shares) != len(labels) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum():
        raise PetError(
            f"setting ratio is {text!r}: it can be keep, balanced, or {len(labels)} numbers with commas between, "
            f"one for each of {', '.join(labels)}"
        )
    return np.asarray(shares / shares.sum())


def new_examples(counts: Array, generation: int, growth: float, ratio: Array | None = None, first: int = 10) -> Array:
    """How many pseudo-labeled texts of each label a member of a generation gets.

    With |T| labeled texts the training set of generation g has |T| · growth^g texts, T among them. Without any,
    generation 0 is the untrained model, and the set of generation g has first · growth^(g - 1) texts; `first`
    is raised to the number of labels, so that each has an example.

    Parameters
    ----------
    counts : labeled texts of each label, shape (L,)
    generation : counted from 0, the ensemble that is trained on the labeled texts alone; at least 1 here
    growth : d of the paper
    ratio : shape (L,), of the labels in the new texts; None: as in `counts`, or even where there are none
    first : size of the first set where there are no labeled texts

    Returns
    -------
    int64 array of shape (L,)
    """
    counts = np.asarray(counts, dtype=np.int64)
    labeled = int(counts.sum())
    if labeled:
        total = math.floor(labeled * growth**generation + 0.5) - labeled
        return apportion(total, counts if ratio is None else ratio)
    total = math.floor(max(first, len(counts)) * growth ** (generation - 1) + 0.5)
    return apportion(total, np.ones(len(counts)) if ratio is None else ratio)


def choose_voters(others: Sequence[str], share: float, generator: np.random.Generator) -> list[str]:
    """Members that label for another one.

    Parameters
    ----------
    others : names of all members but that one; their order does not matter
    share : of them that vote, rounded half up, at least one
    generator : draws

    Returns
    -------
    list of str, sorted
    """
    if not others:
        raise ValueError("a member is labeled by others, and there are none")
    number = min(len(others), max(1, math.floor(share * len(others) + 0.5)))
    return sorted(generator.permutation(sorted(others))[:number].tolist())


@dataclass(frozen=True)
class Candidates:
    """What some members together say of every text of the pool.

    Attributes
    ----------
    scores : the members' raw scores, each of shape (rows, L)
    weights : shape (members,); even where all are 0
    bias : shape (L,), added to the merged scores
    """

    scores: Sequence[Array]
    weights: Array
    bias: Array

    @classmethod
    def merged(cls, scores: Sequence[Array], weights: Array, target: Array | None = None) -> Candidates:
        """Candidates of members; `target`, a ratio of the labels, calibrates them (`prior_correction`)."""
        weights = np.asarray(weights, dtype=np.float64)
        if not weights.any():
            weights = np.ones(len(weights))
        bias = np.zeros(scores[0].shape[1])
        if target is not None:
            step = max(1, len(scores[0]) // _CALIBRATION_ROWS)
            sample = merge_scores([s[::step] for s in scores], weights)
            bias = prior_correction(sample, np.maximum(target, 1e-3) / np.maximum(target, 1e-3).sum())
        return cls(scores, weights, bias)

    def __len__(self) -> int:
        return len(self.scores[0])

    def probabilities(self, rows: Array | slice) -> Array:
        """softmax of the merged scores of some rows: float64, shape (rows, L)."""
        return softmax(merge_scores([s[rows] for s in self.scores], self.weights) + self.bias)

    def chunks(self) -> Iterator[tuple[int, Array]]:
        """Number of the first row, and probabilities, of a stretch of rows after another."""
        for start in range(0, len(self), _CHUNK):
            yield start, self.probabilities(slice(start, start + _CHUNK))

    def predictions(self) -> tuple[Array, Array]:
        """Most probable label (int64) and its probability (float64) of every row."""
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
    rows : of the pool, ascending, each once; int64
    labels : their pseudo-labels; int64
    available : texts from which those of each label could be taken, shape (L,)
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
    """Draw texts of each predicted label without replacement, with probability proportional to the confidence.

    Each row gets the key ``-log(u) / confidence`` with u uniform; the n smallest keys are such a draw
    (Efraimidis and Spirakis 2006, Information Processing Letters 97).

    Parameters
    ----------
    label, confidence : the prediction for each row of the pool
    wanted : texts to draw of each label, shape (L,); where fewer are predicted, all of them are taken
    eligible : bool array, False for rows that may not be drawn
    generator : gives one number to each row of the pool, whatever was predicted
    """
    keys = generator.standard_exponential(len(label)) / np.maximum(confidence, 1e-300)
    rows, labels, available = [], [], []
    for number, count in enumerate(wanted):
        found = np.flatnonzero((label == number) & eligible)
        taken = found[np.argsort(keys[found], kind="stable")[:count]]
        rows.append(taken)
        labels.append(np.full(len(taken), number))
        available.append(len(found))
    return _sorted(np.concatenate(rows), np.concatenate(labels), np.asarray(available))


def take_most_probable(candidates: Candidates, wanted: Array, eligible: Array) -> Chosen:
    """For each label the texts with the highest probability of it, whatever their most probable label.

    This is the first set of a run without labeled texts, and all sets where `choice` is ``top``. A text that is
    among the best of two labels goes to the one for which it is more probable.

    Parameters
    ----------
    candidates : what the voters say
    wanted : texts to take of each label, shape (L,)
    eligible : bool array, False for rows that may not be taken
    """
    labels = len(wanted)
    most = int(np.sum(wanted))  # no label can lose more of its best texts to the others than are taken in all
    best: list[Array] = [np.zeros((0, 2))] * labels
    for start, probabilities in candidates.chunks():
        rows = np.flatnonzero(eligible[start : start + len(probabilities)])
        for number in range(labels):
            values = np.stack([rows + start, probabilities[rows, number]], axis=1)
            both = np.concatenate([best[number], values])
            best[number] = both[np.argsort(-both[:, 1], kind="stable")[:most]]
    pairs = [(-p, int(row), number) for number, table in enumerate(best) for row, p in table.tolist()]
    taken: dict[int, int] = {}
    left = [int(count) for count in wanted]
    for _, row, number in sorted(pairs):
        if left[number] and row not in taken:
            taken[row] = number
            left[number] -= 1
    available = np.full(labels, int(eligible.sum()))
    return _sorted(
        np.fromiter(taken.keys(), np.int64, len(taken)), np.fromiter(taken.values(), np.int64, len(taken)), available
    )


def best_generation(agreement: Sequence[float], largest_share: Sequence[float]) -> int:
    """The trained generation whose members agree most, among those that did not collapse onto one label.

    Parameters
    ----------
    agreement : of each generation, in their order
    largest_share : share of the pool that the most frequent prediction has, in each generation

    Returns
    -------
    int: a position in the sequences; of equal ones the later
    """
    sound = [g for g, share in enumerate(largest_share) if share < COLLAPSE] or list(range(len(agreement)))
    return max(sound, key=lambda g: (agreement[g], g))


COLLAPSE = 0.95  # share of the pool with one and the same prediction that is called a collapse
FALLING = 0.02  # a loss of agreement that is more than noise


def generation_warnings(
    generation: int, agreement: Sequence[float], shares: Array, wanted: Array | None, labels: Sequence[str]
) -> list[str]:
    """What is wrong with a generation, for people.

    Parameters
    ----------
    generation : its number
    agreement : of all generations up to this one
    shares : share of the pool that each label is predicted for, shape (L,)
    wanted : new examples of each label in this generation, shape (L,); None where there were none
    labels : names
    """
    messages = []
    top = int(np.argmax(shares))
    asked = np.ones(len(labels), dtype=bool) if wanted is None else np.asarray(wanted) > 0
    if shares[top] >= COLLAPSE:
        messages.append(
            f"generation {generation} collapsed: {100 * shares[top]:.0f} % of the pool is called {labels[top]!r}; try "
            "--set calibrate=true, other patterns or words, or --set keep_best=true"
        )
    nobody = [label for label, share, wish in zip(labels, shares, asked, strict=True) if wish and not share]
    if nobody:
        messages.append(f"generation {generation}: no text of the pool is called {', '.join(map(repr, nobody))}")
    if len(agreement) > 1 and agreement[-1] < agreement[-2] - FALLING:
        messages.append(
            f"generation {generation}: the members agree less than before ({agreement[-1]:.3f} after "
            f"{agreement[-2]:.3f}); later generations may be worse (--set keep_best=true, --set stop_early=true)"
        )
    return messages
