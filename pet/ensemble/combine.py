"""`Ensemble.combine`: the one place that merges the scores of members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.ensemble.rules import RULES
from pet.ensemble.scale import Scale
from pet.errors import PetError
from pet.numerics import log_mean_softmax, log_softmax, sigmoid, softmax
from pet.store.schema import Check, check, flag, inside, list_of, maybe, number, record, text

Array = NDArray[Any]
ABSTAINS = -1  # the vote of a member that gave a text no score
_PRIOR_ROWS = 20_000  # rows that are enough to see the mean prediction
_MOST_STEPS, _HALVINGS = 200, 60  # of the search for a bias
REPEAT = "repeat the run"

# Schema of `Ensemble.to_dict`. The name of a member is that of its folder.
NOTED = record({"members": list_of(inside(), 1)})


def _noted(members: int, labels: int) -> Check:
    per_member, per_label = "one per member", "one per label"
    return record(
        {"weights": list_of(number(0), members, members, per=per_member)},
        {
            "scales": maybe(list_of(text(choices=[s.value for s in Scale]), members, members, per=per_member)),
            "bias": maybe(list_of(number(), labels, labels, per=per_label)),
            "merge": text(choices=RULES),
            "temperature": number(1e-3, 1e3),
            "independent": flag(),
            "threshold": number(0, 1),
        },
    )


@dataclass(frozen=True)
class SoftLabels:
    """Merged predictions for some rows.

    Attributes
    ----------
    probabilities : float64 array of shape (rows, L), in the order of the task's labels
    votes : int array of shape (rows, members): each member's own best label, -1 where it abstains
    """

    probabilities: Array
    votes: Array

    @property
    def label(self) -> Array:
        """Most probable label of each row: int64 array of shape (rows,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def applies(self) -> Array:
        """Which labels each row has: bool array of shape (rows, L), with one True in each row."""
        return np.asarray(self.label[:, None] == np.arange(self.probabilities.shape[1]))

    @property
    def confidence(self) -> Array:
        """Probability of that label."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def entropy(self) -> Array:
        """Entropy of the probabilities, in nats."""
        p = self.probabilities
        return np.asarray(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=1))

    @property
    def agreement(self) -> Array:
        """Share of the members with a vote whose own best label is that label; 0 if all abstain."""
        return np.asarray(self.agrees.sum(axis=1) / np.maximum(self.voted.sum(axis=1), 1))

    @property
    def voted(self) -> Array:
        """Which members do not abstain: bool array of shape (rows, members)."""
        return np.asarray(self.votes != ABSTAINS)

    @property
    def agrees(self) -> Array:
        """Which members' own best label is that of the row: bool array of shape (rows, members)."""
        return np.asarray(self.votes == self.label[:, None])

    def take(self, rows: Array) -> SoftLabels:
        """Some of the rows."""
        return replace(self, probabilities=self.probabilities[rows], votes=self.votes[rows])


@dataclass(frozen=True)
class SoftLabelSets(SoftLabels):
    """Merged predictions for rows that may have any number of labels.

    Attributes
    ----------
    probabilities : float64 array of shape (rows, L); each label has its own, independent of the others
    votes : int8 array of shape (rows, members, L): 1 for each label that a member gives, 0 for the others, -1 where it
        abstains
    threshold : a label applies from this probability

    Examples
    --------
    >>> soft = SoftLabelSets(np.array([[0.9, 0.2, 0.6]]), np.array([[[1, 0, 0], [1, 0, 1]]]))
    >>> soft.applies.tolist(), soft.confidence.tolist(), soft.agreement.round(3).tolist()
    ([[True, False, True]], [0.6], [0.833])
    """

    threshold: float = 0.5

    @property
    def applies(self) -> Array:
        """Which labels each row has: bool array of shape (rows, L)."""
        return np.asarray(self.probabilities >= self.threshold)

    @property
    def confidence(self) -> Array:
        """Probability of the least certain decision about a label."""
        return np.where(self.applies, self.probabilities, 1 - self.probabilities).min(axis=1)

    @property
    def entropy(self) -> Array:
        """Sum of the entropies of all decisions, in nats."""
        both = np.stack([self.probabilities, 1 - self.probabilities])
        return np.asarray(-(both * np.log(np.maximum(both, 1e-300))).sum(axis=(0, 2)))

    @property
    def voted(self) -> Array:
        return np.asarray((self.votes != ABSTAINS).all(axis=2))

    @property
    def agrees(self) -> Array:
        """Which members give exactly the labels of the row: bool array of shape (rows, members)."""
        return np.asarray((self.votes == self.applies[:, None, :]).all(axis=2))

    @property
    def agreement(self) -> Array:
        """Share of the members' decisions that are those of the row; 0 if all abstain."""
        voted = self.votes != ABSTAINS
        agree = (self.votes == self.applies[:, None, :]) & voted
        return np.asarray(agree.sum(axis=(1, 2)) / np.maximum(voted.sum(axis=(1, 2)), 1))


@dataclass(frozen=True)
class Ensemble:
    """Members, and how their scores are merged.

    Attributes
    ----------
    names : of the members, in the order of the scores
    weights : shape (members,)
    scales : what each member's scores mean
    bias : shape (L,), added to the merged scores
    rule : one of `pet.ensemble.rules.RULES`
    temperature : the merged scores are divided by it, before the bias is added
    independent : a row may have any number of labels; scores are log-odds of each label
    threshold : if labels are independent, they apply from this probability

    Examples
    --------
    >>> ensemble = Ensemble.of(["a", "b"], labels=2, weights=[0.75, 0.25])
    >>> soft = ensemble.combine([np.array([[2.0, 0.0]]), np.array([[-1.0, 1.0]])])
    >>> soft.probabilities.round(6).tolist(), soft.votes.tolist()
    ([[0.731059, 0.268941]], [[0, 1]])
    """

    names: tuple[str, ...]
    weights: Array
    scales: tuple[Scale, ...]
    bias: Array
    rule: str = "uniform"
    temperature: float = 1.0
    independent: bool = False
    threshold: float = 0.5

    @classmethod
    def weighted(
        cls,
        names: Sequence[str],
        accuracies: Sequence[float | None],
        *,
        labels: int,
        scales: Sequence[Scale] | None = None,
        rule: str = "weighted",
    ) -> Ensemble:
        """Return an ensemble with the weights that a rule derives from accuracies, without a bias.

        Parameters
        ----------
        names : of the members
        accuracies : of each member before training; None where it is unknown
        labels, scales, rule : see `of`
        """
        return cls.of(names, labels=labels, weights=RULES[rule].weigh(accuracies), scales=scales, rule=rule)

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        *,
        labels: int,
        weights: Sequence[float] | Array | None = None,
        scales: Sequence[Scale] | None = None,
        rule: str = "uniform",
    ) -> Ensemble:
        """Return an ensemble without a bias.

        Parameters
        ----------
        names : of the members
        labels : number of labels
        weights : one a member; None, or all zero: uniform
        scales : of each member's scores; None: all are logits
        rule : see `Ensemble`
        """
        given = np.ones(len(names)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not given.any():
            given = np.ones(len(names))
        found = tuple(scales) if scales is not None else (Scale.LOGITS,) * len(names)
        return cls(tuple(names), given, found, np.zeros(labels), rule)

    def only(self, names: Sequence[str]) -> Ensemble:
        """Return the ensemble of some members alone, without a bias; weights that are all zero become uniform."""
        places = [self.names.index(name) for name in names]
        chosen = Ensemble.of(
            names,
            labels=len(self.bias),
            weights=self.weights[places],
            scales=[self.scales[place] for place in places],
            rule=self.rule,
        )
        return replace(chosen, temperature=self.temperature, independent=self.independent, threshold=self.threshold)

    def combine(self, scores: Sequence[Array]) -> SoftLabels:
        """Merge the members' scores into probabilities and votes.

        Parameters
        ----------
        scores : for each member an array of shape (rows, L); NaN rows abstain

        Returns
        -------
        SoftLabels, or SoftLabelSets if labels are independent
        """
        if self.independent:
            # What each member would say alone.
            alone = [np.asarray(s, dtype=np.float64) / self.temperature + self.bias for s in scores]
            sets = np.stack([_decisions(own, self.threshold) for own in alone], axis=1)
            return SoftLabelSets(sigmoid(self.merge(scores)), sets, self.threshold)
        votes = np.stack([_votes(np.asarray(s)) for s in scores], axis=1)
        return SoftLabels(softmax(self.merge(scores)), votes)

    def merge(self, scores: Sequence[Array]) -> Array:
        """Merged scores before the softmax, bias included: float64 array of shape (rows, L)."""
        if len(scores) != len(self.names):
            raise ValueError(f"there are {len(self.names)} members and {len(scores)} arrays of scores")
        arrays = [np.asarray(s, dtype=np.float64) for s in scores]
        if len(set(self.scales)) > 1 and not self.independent:
            # A softmax over labels does not see what is subtracted from a row, so logits can become log-probabilities.
            arrays = [
                log_softmax(array) if scale is Scale.LOGITS else array
                for array, scale in zip(arrays, self.scales, strict=True)
            ]
        return np.asarray(RULES[self.rule].merge(np.stack(arrays), self.weights) / self.temperature + self.bias)

    def corrected(self, scores: Sequence[Array], target: Array) -> Ensemble:
        """Return the ensemble with the bias that makes its mean prediction over these texts equal to `target`.

        Of many texts, evenly spaced rows are used. See `prior_correction` and `share_correction`.
        """
        step = max(1, len(scores[0]) // _PRIOR_ROWS)
        plain = replace(self, bias=np.zeros(len(self.bias)))
        correction = share_correction if self.independent else prior_correction
        return replace(self, bias=correction(plain.merge([s[::step] for s in scores]), target))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a manifest."""
        return {
            "members": list(self.names),
            "weights": [float(w) for w in self.weights],
            "scales": [scale.value for scale in self.scales],
            "bias": [float(b) for b in self.bias],
            "merge": self.rule,
            "temperature": float(self.temperature),
            **({"independent": True, "threshold": float(self.threshold)} if self.independent else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], labels: int, where: str = "ensemble") -> Ensemble:
        """Return the ensemble that `to_dict` described; manifests of older versions have neither scales nor a bias.

        Parameters
        ----------
        values : see `to_dict`
        labels : number of labels of the task
        where : place of the values, for messages

        Raises
        ------
        PetError
            If a value is missing or of the wrong kind, or there are not as many numbers as members or labels.
        """
        check(values, NOTED, where, REPEAT)
        names = tuple(values["members"])
        check(values, _noted(len(names), labels), where, REPEAT)
        if not any(values["weights"]):
            raise PetError(f"{where}: weights: all of them are 0; {REPEAT}")
        scales = values.get("scales") or [Scale.LOGITS.value] * len(names)
        bias = values.get("bias") or [0.0] * labels
        return cls(
            names,
            np.asarray(values["weights"], dtype=np.float64),
            tuple(Scale(scale) for scale in scales),
            np.asarray(bias, dtype=np.float64),
            values.get("merge", "uniform"),
            values.get("temperature", 1.0),
            values.get("independent", False),
            values.get("threshold", 0.5),
        )


def _votes(scores: Array) -> Array:
    """Best label of each row, -1 for a row that abstains."""
    abstains = np.isnan(scores).any(axis=1)
    if not abstains.any():
        return np.asarray(scores.argmax(axis=1))
    return np.where(abstains, ABSTAINS, np.nan_to_num(scores).argmax(axis=1))


def _decisions(log_odds: Array, threshold: float) -> Array:
    """Return 1 for each label as probable as the threshold, 0 for the others, -1 for a row that abstains."""
    abstains = np.isnan(log_odds).any(axis=1, keepdims=True)
    return np.where(abstains, ABSTAINS, sigmoid(np.nan_to_num(log_odds)) >= threshold).astype(np.int8)


def merge_scores(scores: Sequence[Array], weights: Array) -> Array:
    """Weighted mean of raw label scores.

    Parameters
    ----------
    scores : for each member an array of shape (rows, L)
    weights : shape (members,)

    Returns
    -------
    float64 array of shape (rows, L)

    Examples
    --------
    The first member counts three times as much as the second:

    >>> first, second = np.array([[2.0, 0.0]]), np.array([[0.0, 4.0]])
    >>> merge_scores([first, second], np.array([0.75, 0.25]))
    array([[1.5, 1. ]])
    """
    names = [str(number) for number in range(len(scores))]
    return Ensemble.of(names, labels=np.asarray(scores[0]).shape[1], weights=weights).merge(scores)


def prior_correction(scores: Array, target: Array) -> Array:
    """Return a bias for each label that makes the mean prediction over many texts equal to a known class ratio.

    A language model prefers some words whatever the text, and after training on few examples it still does. If the
    class ratio of the pool is known, adding this bias to the merged scores removes that preference. The fixed point
    is that of the EM re-estimation of priors (Saerens et al. 2002, Neural Computation 14) run backwards: the prior
    is given and the bias is sought, by repeating ``b += log(target) - log(mean softmax(scores + b))``.

    Parameters
    ----------
    scores : merged scores of shape (rows, L)
    target : shape (L,), above 0, adding up to 1; the class ratio

    Returns
    -------
    float64 array of shape (L,), adding up to 0
    """
    scores = np.asarray(scores, dtype=np.float64)
    goal = np.log(np.asarray(target, dtype=np.float64))
    bias = np.zeros(scores.shape[1])
    for _ in range(_MOST_STEPS):
        step = goal - log_mean_softmax(scores + bias)
        bias += step - step.mean()
        if np.abs(step).max() < 1e-6:
            break
    return bias


def share_correction(log_odds: Array, target: Array) -> Array:
    """Return a bias for each label that makes its mean probability over many texts equal to a known share.

    Parameters
    ----------
    log_odds : merged scores of independent labels, shape (rows, L)
    target : share of the texts that have each label, shape (L,), between 0 and 1

    Returns
    -------
    float64 array of shape (L,)

    Examples
    --------
    >>> share_correction(np.array([[1.0], [1.0]]), np.array([0.5])).round(6).tolist()
    [-1.0]
    """
    scores = np.asarray(log_odds, dtype=np.float64)
    goal = np.log(target) - np.log1p(-np.asarray(target, dtype=np.float64))
    low, high = goal - scores.max(axis=0), goal - scores.min(axis=0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = sigmoid(scores + middle).mean(axis=0) > target
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray((low + high) / 2)
