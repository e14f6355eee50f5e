"""Weights that are earned: how well each kind of member predicts labeled texts that it did not learn from.

The merged score of a label is the weighted sum of the members' log-probabilities. Members of a kind share one weight,
because a few labeled texts cannot tell more than a few weights apart. The weights maximize the likelihood of the
labeled texts under a log-normal prior, so that few texts leave them near the prior and many texts decide. They need
not add up to 1: their sum is the inverse temperature of the merged predictions. This is stacking (Wolpert 1992, Neural
Networks 5) of log-probabilities, with shrinkage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.numerics import log_softmax, mean_known, sigmoid

Array = NDArray[Any]
FEWEST_TEXTS = 24  # with fewer labeled texts, members lose more by leaving some out than the weights gain
_FARTHEST = 5.0  # a weight is at most e^5 times as large or small as that of the prior


@dataclass(frozen=True)
class Prior:
    """What is known about the weight of a kind before any text is labeled.

    Attributes
    ----------
    weight : median of the weight
    spread : standard deviation of its logarithm
    """

    weight: float
    spread: float = 1.0


# Of each kind of member; chosen on labeled texts of three development sets that were not drawn (benchmarks/README.md).
PRIORS: Mapping[str, Prior] = {
    "pattern": Prior(0.8),
    "untrained": Prior(0.8),
    "head": Prior(0.2),
    "embeddings": Prior(0.2),
    "tfidf": Prior(0.1),
    "external": Prior(0.2),
    "openai": Prior(0.2),
    "nli": Prior(0.2),
    "gliclass": Prior(0.2),
    "rules": Prior(0.2),
}


@dataclass(frozen=True)
class Stacked:
    """Learned weights, and what they were learned from.

    Attributes
    ----------
    weights : float64 array of shape (members,), adding up to 1
    temperature : of the merged scores
    kinds : share of each kind in the weights, adding up to 1
    log_probabilities : merged log-probabilities of the labeled texts, shape (n, L); NaN where no member has evidence
    """

    weights: Array
    temperature: float
    kinds: Mapping[str, float]
    log_probabilities: Array

    @property
    def known(self) -> Array:
        """Which labeled texts have evidence: bool array of shape (n,)."""
        return np.asarray(~np.isnan(self.log_probabilities).any(axis=1))


def stack(
    kinds: Sequence[str],
    scores: Sequence[Array],
    gold: Array,
    priors: Mapping[str, Prior],
    ratio: Array | None = None,
) -> Stacked:
    """Learn the weight of each kind of member.

    Parameters
    ----------
    kinds : the kind of each member
    scores : of each member, an array of shape (n, L) with its scores of labeled texts; rows of NaN are texts that it
        learned from
    gold : labels of these texts, shape (n,); or 0 and 1 for each label, shape (n, L). In this case scores are log-odds,
        and so are the merged `Stacked.log_probabilities`
    priors : of each kind
    ratio : class ratio of the texts to label, relative to that of the labeled texts, shape (L,); default: the same.
        Each labeled text then counts as often as texts of its label occur, and predictions are corrected to the ratio
    """
    names = list(dict.fromkeys(kinds))
    several = np.ndim(gold) == 2
    merged = np.stack([_of_kind(name, kinds, scores, several=several) for name in names])  # kinds, n, L
    known = ~np.isnan(merged).any(axis=2)
    rows = np.asarray(known.any(axis=0))
    start = np.log([priors[name].weight for name in names])
    spread = np.asarray([priors[name].spread for name in names])
    evidence = np.where(known[:, :, None], merged, 0.0)[:, rows]
    known_gold = np.asarray(gold)[rows]
    relative = np.ones(merged.shape[2]) if ratio is None else np.asarray(ratio, dtype=np.float64)
    logs = start
    if rows.any() and several:
        logs = start + _most_likely_sets(evidence, known_gold, (start, spread))
    elif rows.any():
        logs = start + _most_likely(evidence, known_gold, (start, spread), relative)
    weights = np.exp(logs)
    total = np.full(merged.shape[1:], np.nan)
    summed = np.tensordot(weights, evidence, axes=1)
    total[rows] = summed if several else log_softmax(summed)
    each = np.asarray([weights[names.index(kind)] / kinds.count(kind) for kind in kinds])
    whole = float(weights.sum())
    return Stacked(each / whole, 1 / whole, dict(zip(names, (weights / whole).tolist(), strict=True)), total)


def _of_kind(name: str, kinds: Sequence[str], scores: Sequence[Array], *, several: bool) -> Array:
    """Return the mean log-probabilities, or log-odds, of the members of a kind that have evidence, shape (n, L)."""
    members = [number for number, kind in enumerate(kinds) if kind == name]
    each = np.stack([np.asarray(scores[number], dtype=np.float64) for number in members])
    return mean_known(each if several else log_softmax(each))


def _most_likely(evidence: Array, gold: Array, prior: tuple[Array, Array], ratio: Array) -> Array:
    """Return the most probable logarithms of the weights, less those of the prior: shape (kinds,)."""
    from scipy.optimize import minimize

    (start, spread), offset = prior, np.log(ratio)
    counts = ratio[gold] * len(gold) / ratio[gold].sum()  # how often each text counts
    own = evidence[:, np.arange(len(gold)), gold]  # kinds, n

    def loss(steps: Array) -> tuple[float, Array]:
        weights = np.exp(start + steps)
        logs = log_softmax(np.tensordot(weights, evidence, axes=1) + offset)
        value = -(counts * logs[np.arange(len(gold)), gold]).sum() + 0.5 * ((steps / spread) ** 2).sum()
        expected = (np.exp(logs) * evidence).sum(axis=2)  # kinds, n
        slope = ((expected - own) * counts).sum(axis=1) * weights + steps / spread**2
        return float(value), slope

    bounds = [(-_FARTHEST, _FARTHEST)] * len(start)
    return np.asarray(minimize(loss, np.zeros(len(start)), jac=True, method="L-BFGS-B", bounds=bounds).x)


def _most_likely_sets(evidence: Array, gold: Array, prior: tuple[Array, Array]) -> Array:
    """Return the same for labels that do not exclude each other: the likelihood is that of all decisions."""
    from scipy.optimize import minimize

    start, spread = prior

    def loss(steps: Array) -> tuple[float, Array]:
        weights = np.exp(start + steps)
        logits = np.tensordot(weights, evidence, axes=1)
        value = (np.logaddexp(0, logits) - gold * logits).sum() + 0.5 * ((steps / spread) ** 2).sum()
        slope = ((sigmoid(logits) - gold) * evidence).sum(axis=(1, 2)) * weights + steps / spread**2
        return float(value), slope

    bounds = [(-_FARTHEST, _FARTHEST)] * len(start)
    return np.asarray(minimize(loss, np.zeros(len(start)), jac=True, method="L-BFGS-B", bounds=bounds).x)
