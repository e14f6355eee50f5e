"""The class ratio of the texts to label: how the setting ``prior`` names it, and shares from counts."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pet.data.label_codes import LabelCodes
from pet.data.label_counts import read_label_counts
from pet.data.table_format import DETECT, TableFormat
from pet.errors import PetError
from pet.resources import expand
from pet.settings import shorten
from pet.suggest import suggest
from pet.task.task import Task, one_label_only

Array = NDArray[Any]
AUTO, NONE, BALANCED, LABELED, ESTIMATED = "auto", "none", "balanced", "labeled", "estimated"
WORDS = (AUTO, NONE, BALANCED, LABELED, ESTIMATED)  # values of the setting that are not shares
SMALLEST = 1e-4  # share of a label that is said to have none: rare and not impossible
Z = 1.959964  # two-sided 95% of a normal distribution
_NUMBERS = re.compile(r"[-+.\deE\s]+(,[-+.\deE\s]+)*")
_EXAMPLE, _SHARES = "0.4,0.6", "bug:0.4,billing:0.3"
_ROUNDING = 0.011  # how far shares may be from adding up to 1 or 100


class ClassRatio(NamedTuple):
    """Shares of the labels, with an interval that holds each of them with a probability of 95%.

    Attributes
    ----------
    shares, low, high : float64 arrays of shape (L,)
    """

    shares: Array
    low: Array
    high: Array


def ratio_of_counts(counts: Array) -> ClassRatio:
    """Return the shares of labels in a population from the labels of texts that were drawn from it at random.

    Every label gets one more, so that one without a text is rare and not impossible; if there are many labels, less, so
    that every share is in its interval, which is Wilson's (1927).

    Parameters
    ----------
    counts : number of texts of each label, shape (L,), not all 0

    Examples
    --------
    >>> ratio = ratio_of_counts(np.array([36, 9]))
    >>> ratio.shares.round(3).tolist(), ratio.low.round(3).tolist(), ratio.high.round(3).tolist()
    ([0.787, 0.213], [0.662, 0.109], [0.891, 0.338])
    """
    counts = np.asarray(counts, dtype=np.float64)
    rows = counts.sum()
    share, square = counts / rows, Z**2 / rows
    center = (share + square / 2) / (1 + square)
    half = np.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    # Wilson's interval holds the share even if up to Z² texts, spread over all labels, are added.
    added = counts + min(1.0, Z**2 / len(counts))
    return ClassRatio(added / added.sum(), np.maximum(center - half, 0), np.minimum(center + half, 1))


def is_even(counts: Array) -> bool:
    """Return True if labels have equally many texts, up to one, so that their ratio says nothing about other texts.

    Examples
    --------
    >>> is_even(np.array([3, 3, 2])), is_even(np.array([4, 3, 2]))
    (True, False)
    """
    return int(np.max(counts)) - int(np.min(counts)) <= 1


def parse_shares(text: str, labels: Sequence[str], label_map: Mapping[str, str] = {}) -> Array:
    """Parse a class ratio.

    Parameters
    ----------
    text : ``World:.4,Sports:.3`` and so on for every label in any order, or numbers in the order of the labels. Shares
        add up to 1 or 100; whole numbers are counts.
    labels, label_map : labels of the task in order, and other names of them

    Returns
    -------
    float64 array of shape (L,), above 0, adding up to 1

    Raises
    ------
    PetError
        Naming every label that is unknown, missing or repeated, and every number that is not one.

    Examples
    --------
    >>> parse_shares("good:3,bad:1", ["bad", "good"]).tolist()
    [0.25, 0.75]
    >>> parse_shares("0.2,0.8", ["bad", "good"]).tolist()
    [0.2, 0.8]
    """
    if _NUMBERS.fullmatch(text):
        values = [_number(part) for part in text.split(",")]
        if len(values) != len(labels):
            raise PetError(
                f"prior has {len(values)} numbers and the task {len(labels)} labels; give one for each of "
                f"{shorten(', '.join(labels))}"
            )
        return _normalized(text, np.asarray(values), labels)
    values, problems = _named(text, labels, label_map)
    if problems:
        raise PetError(problems)
    return _normalized(text, np.asarray(values), labels)


def parse_label_shares(text: str, labels: Sequence[str], label_map: Mapping[str, str] = {}) -> Array:
    """Parse the share of the texts that have each label, if a text may have several.

    Parameters
    ----------
    text : ``bug:0.4,billing:0.3`` and so on for every label in any order, or numbers in the order of the labels
    labels, label_map : labels of the task in order, and other names of them

    Returns
    -------
    float64 array of shape (L,), between 0 and 1; the shares need not add up to 1

    Raises
    ------
    PetError
        Naming every label that is unknown, missing or repeated, and every share that is not between 0 and 1.

    Examples
    --------
    >>> parse_label_shares("billing:0.5,bug:0.7", ["bug", "billing"]).tolist()
    [0.7, 0.5]
    """
    if _NUMBERS.fullmatch(text):
        values = [_number(part) for part in text.split(",")]
        if len(values) != len(labels):
            raise PetError(f"prior has {len(values)} numbers and the task {len(labels)} labels; give one for each")
    else:
        values, problems = _named(text, labels, label_map)
        if problems:
            raise PetError(problems)
    shares = np.asarray(values)
    if not (np.isfinite(shares).all() and (shares > 0).all() and (shares < 1).all()):
        raise PetError(
            f"prior is {shorten(repr(text))}: because a text may have several labels, it must be the share of the "
            f"texts that have each label, more than 0 and less than 1, such as {_SHARES}"
        )
    return np.clip(shares, SMALLEST, 1 - SMALLEST)


def check_label_shares(prior: str, task: Task) -> None:
    """Check the setting ``prior`` of a task whose texts may have several labels.

    Raises
    ------
    PetError
        If it is neither a word, nor shares; or the word ``estimated``, or a file, which require one label per text.
    """
    if prior == ESTIMATED or (prior not in WORDS and os.path.exists(expand(prior))):
        one_label_only(task, f"prior={shorten(prior)}", "give the share of each label, or use prior=labeled")
    if prior not in WORDS:
        if ":" not in prior and not _NUMBERS.fullmatch(prior):
            words = [word for word in WORDS if word != ESTIMATED]
            raise PetError(
                f"prior is {shorten(repr(prior))}: because a text may have several labels, it must be "
                f"{', '.join(words)}, or the share of the texts that have each label, such as {_SHARES}; "
                f"{suggest(prior, words)}"
            )
        parse_label_shares(prior, task.labels, task.label_map)


def _named(text: str, labels: Sequence[str], label_map: Mapping[str, str]) -> tuple[list[float], list[str]]:
    """Return the number of each label, and what is wrong."""
    codes, found, problems = LabelCodes(labels, label_map), {}, []
    for part in text.split(","):
        name, colon, number = part.rpartition(":")
        position = codes.find(name)
        position = codes.find(name.strip()) if position is None else position
        if not colon:
            problems.append(f"prior: {shorten(repr(part))} is not a label with its share, such as {labels[0]}:0.4")
        elif position is None:
            problems.append(f"prior: {shorten(repr(name))} is not a label of the task; {suggest(name, labels)}")
        elif position in found:
            problems.append(f"prior: label {labels[position]!r} has two shares; give one")
        else:
            found[position] = _number(number)
            if math.isnan(found[position]):
                problems.append(f"prior: the share of {labels[position]!r} is {shorten(repr(number))}, not a number")
    missing = [label for position, label in enumerate(labels) if position not in found]
    if missing and not problems:
        problems.append(f"prior: no share for {', '.join(map(repr, missing[:20]))}; every label must have one")
    if problems and any("," in label for label in labels):
        problems.append("labels of this task contain commas; give the numbers alone in their order")
    return [found.get(position, math.nan) for position in range(len(labels))], problems


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _normalized(text: str, values: Array, labels: Sequence[str]) -> Array:
    """Return shares that add up to 1."""
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise PetError(f"prior is {shorten(repr(text))}: every share must be a number of at least 0, and one above 0")
    total = float(values.sum())
    counts = bool((values == np.round(values)).all())
    if not counts and abs(total - 1) > _ROUNDING and abs(total / 100 - 1) > _ROUNDING:
        raise PetError(
            f"prior: the shares of {shorten(', '.join(labels))} add up to {total:g}; they must add up to 1 or 100, or "
            "be counts"
        )
    return share_floor(values / total)


def share_floor(shares: Array) -> Array:
    """Return shares of at least `SMALLEST` that add up to 1.

    Examples
    --------
    >>> share_floor(np.array([0.0, 1.0])).round(6).tolist()
    [0.0001, 0.9999]
    """
    raised = np.maximum(shares, SMALLEST)
    return np.asarray(raised / raised.sum())


def shares_text(shares: Array, labels: Sequence[str]) -> str:
    """Return shares as `parse_shares` reads them, with the names of the labels if these are plain.

    Examples
    --------
    >>> shares_text(np.array([0.25, 0.75]), ["bad", "good"]), shares_text(np.array([0.25, 0.75]), ["no, never", "yes"])
    ('bad:0.25,good:0.75', '0.25,0.75')
    """
    numbers = [f"{share:.6f}".rstrip("0").rstrip(".") for share in shares]
    if any("," in label or label != label.strip() for label in labels):
        return ",".join(numbers)
    return ",".join(f"{label}:{number}" for label, number in zip(labels, numbers, strict=True))


@dataclass(frozen=True)
class GivenRatio:
    """A class ratio that somebody gave.

    Attributes
    ----------
    shares : float64 array of shape (L,)
    source : the file that it was read from; None: it was given as text
    rows : number of reviewed texts in the file; None: it says how many texts each label has
    interval : of the shares, for reviewed texts
    """

    shares: Array
    source: str | None = None
    rows: int | None = None
    interval: ClassRatio | None = None


def read_prior(
    prior: str,
    labels: Sequence[str],
    label_map: Mapping[str, str] = {},
    *,
    columns: Mapping[str, str] = {},
    table_format: TableFormat = DETECT,
) -> GivenRatio | None:
    """Return the class ratio that a value of the setting ``prior`` gives; None for a word such as ``balanced``.

    Parameters
    ----------
    prior : one of `WORDS`, shares for `parse_shares`, or a file for `pet.data.label_counts.read_label_counts`
    labels, label_map : labels of the task in order, and other names of them
    columns, table_format : how to read a file

    Raises
    ------
    PetError
        If it is none of these, or has mistakes.
    """
    if prior in WORDS:
        return None
    if not os.path.exists(expand(prior)):
        if ":" not in prior and not _NUMBERS.fullmatch(prior):
            raise _unknown(prior)
        return GivenRatio(parse_shares(prior, labels, label_map))
    counts, sampled = read_label_counts(
        prior, labels, label_map, columns=columns, name="prior", table_format=table_format
    )
    if not sampled:
        return GivenRatio(share_floor(counts / counts.sum()), prior)
    ratio = ratio_of_counts(counts)
    return GivenRatio(ratio.shares, prior, int(counts.sum()), ratio)


def _unknown(text: str) -> PetError:
    """Return the error about a value that is neither a word, nor shares, nor an existing file."""
    if re.search(r"[/\\]|\.\w+$", text):
        return PetError(f"prior: {shorten(text)}: no such file; check the path")
    return PetError(
        f"prior is {shorten(repr(text))}: it must be {', '.join(WORDS)}, shares such as LABEL:0.4,LABEL:0.6 or "
        f"{_EXAMPLE}, or a file of counts or reviewed texts; {suggest(text, WORDS)}"
    )
