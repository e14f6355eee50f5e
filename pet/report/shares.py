"""The shares of the labels: in the labeled texts, as predicted for the unlabeled ones, and as estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pet.report.tables import interval

ESTIMATED = "share estimated"
# Shares of `pet.run.ratio_figures` -> their headers.
_NAMES = {
    "labeled": "share of labeled texts",
    "predicted": "share predicted",
    "target": "corrected to",
    "estimated": ESTIMATED,
}


def share_columns(ratios: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, list[Any]]]:
    """Return the headers of a table of shares, and the cells of each label.

    Parameters
    ----------
    ratios : ``class_ratio`` of one or several runs, which have the same labels; the shares are means over the runs

    Examples
    --------
    >>> ratio = {"predicted": {"bad": 0.4}, "estimated": {"bad": 0.45}, "low": {"bad": 0.3}, "high": {"bad": 0.6}}
    >>> share_columns([ratio])
    (['share predicted', 'share estimated'], {'bad': [0.4, '0.450 [0.300, 0.600]']})
    """
    columns = [name for name in _NAMES if all(ratio.get(name) for ratio in ratios) and ratios]
    bounded = "estimated" if "estimated" in columns else "target"
    labels = list(dict.fromkeys(label for ratio in ratios for label in ratio.get("predicted") or ()))
    cells: dict[str, list[Any]] = {}
    for label in labels:
        cells[label] = []
        for name in columns:
            share = _mean(ratios, name, label)
            known = share is not None and name == bounded and all(ratio.get("low") for ratio in ratios)
            ends = [_mean(ratios, end, label) for end in ("low", "high")] if known else []
            cells[label].append(f"{share:.3f} {interval(ends)}" if known else share)  # type: ignore[arg-type]
    return [_NAMES[name] for name in columns], cells


def _mean(ratios: Sequence[Mapping[str, Any]], name: str, label: str) -> float | None:
    found = [ratio[name][label] for ratio in ratios if label in ratio[name]]
    return fmean(found) if found else None
