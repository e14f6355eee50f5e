"""Columns of a file of soft labels that hold something else, such as texts, which must not be published by mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pet.data.columns import Layout
from pet.data.label_sets import LabelSets
from pet.data.problems import Problems
from pet.data.row_reader import records
from pet.data.source import Source, column_names
from pet.data.values import is_missing
from pet.task.parse import SEPARATOR

_READ = {"id", "label", "probabilities"}  # what reads soft labels has checked their values
_NUMBERS = re.compile(r"confidence|entropy|agreement|fit|p\(.*\)", re.DOTALL)
_VOTES = re.compile(r"votes|vote\(.*\)", re.DOTALL)


def further_columns(source: Source, labels: Iterable[str]) -> list[str]:
    """Return the columns of soft labels that are not among those that `pet label` writes, or hold other values.

    Every row is read: rows of JSON lines may have different keys, and a column that was copied from the texts can have
    the name of one of these.

    Parameters
    ----------
    source : a file, or a folder of them, that `pet.ensemble.soft_label_files.read_soft_labels` accepts
    labels : names of the labels
    """
    header = [] if source.kind == "json" else column_names(source) or []
    problems = Problems(source, "labels")
    found = dict.fromkeys(name for name in header if not _is_known(name))
    layout = Layout({name: name for name in header}, None, None)
    known = _Labels(list(labels))
    for _, row in records(source, layout, problems, numbers=True):
        found |= dict.fromkeys(name for name, value in row.items() if not _belongs(name, value, known))
    problems.raise_if_any()
    return list(found)


class _Labels:
    """Tells values that name labels from others."""

    def __init__(self, labels: Sequence[str]):
        self._sets = LabelSets(labels, {}, SEPARATOR)
        each = "|".join(map(re.escape, labels))
        self._joined = re.compile(f"(?:{each})(?:{SEPARATOR}(?:{each}))*", re.DOTALL)  # names may have a separator, too

    def lists(self, value: Any) -> bool:
        """Return True for a list of labels, also as JSON."""
        try:
            self._sets.indicator(value)
        except ValueError:
            return False
        return True

    def votes(self, value: Any) -> bool:
        """Return True for what members say: a text for each, with one label or several, also as a JSON list."""
        each = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
        return all(
            one is None or one == "" or bool(self._joined.fullmatch(str(one))) or self.lists(one) for one in each
        )


def _is_known(name: str) -> bool:
    return name in {*_READ, "labels"} or bool(_NUMBERS.fullmatch(name) or _VOTES.fullmatch(name))


def _belongs(name: str, value: Any, labels: _Labels) -> bool:
    if name in _READ or not _is_known(name):
        return name in _READ
    if name == "labels":
        return is_missing(value) or labels.lists(value)
    return labels.votes(value) if _VOTES.fullmatch(name) else is_missing(value) or _is_number(value)


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
