"""Columns of a file of soft labels that hold something else, such as texts: nobody may publish them by mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
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
_NAMES = re.compile(r"labels|votes|vote\(.*\)", re.DOTALL)


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
    names = LabelSets(list(labels), {}, SEPARATOR)
    for _, row in records(source, layout, problems, numbers=True):
        found |= dict.fromkeys(name for name, value in row.items() if not _belongs(name, value, names))
    problems.raise_if_any()
    return list(found)


def _is_known(name: str) -> bool:
    return name in _READ or bool(_NUMBERS.fullmatch(name) or _NAMES.fullmatch(name))


def _belongs(name: str, value: Any, labels: LabelSets) -> bool:
    if name in _READ or not _is_known(name):
        return name in _READ
    if _NUMBERS.fullmatch(name):
        return is_missing(value) or _is_number(value)
    each_value = value.values() if isinstance(value, Mapping) else [value]
    return all(is_missing(each) or _names_labels(each, labels) for each in each_value)


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _names_labels(value: Any, labels: LabelSets) -> bool:
    try:
        labels.indicator(value)
    except ValueError:
        return False
    return True
