"""Sentences about the estimated accuracy of a run without test texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def estimate_lines(estimate: Mapping[str, Any] | None) -> list[str]:
    """Return one sentence on the expected accuracy, and one on what more labels bring; empty without an estimate.

    Parameters
    ----------
    estimate : of metrics.json; see `pet.run.calibration.Estimate`

    Examples
    --------
    >>> found = {"accuracy": 0.8, "low": 0.7, "high": 0.88, "disagreement": None, "judged": 0, "wrong": 0}
    >>> halves = {"draws": 5, "labeled": 40, "accuracy": 0.8, "gain": None}
    >>> print(*estimate_lines(found | {"halves": halves}))
    About 80% of the labels should be right (70 to 88%), judging by 5 × half of 40 labeled texts, likely a little low.
    """
    if estimate is None:
        return []
    middle, low, high = (f"{100 * estimate[name]:.0f}" for name in ("accuracy", "low", "high"))
    if estimate.get("micro_f1"):
        micro, least, most = (f"{figure:.2f}" for figure in estimate["micro_f1"])
        expected = (
            f"The micro F1 should be about {micro} ({least} to {most}), and about {middle}% of the texts should have "
            f"exactly the right labels ({low} to {high}%)"
        )
    else:
        provided = " if the class ratio is" if estimate.get("assumes_ratio") else ""
        expected = f"About {middle}% of the labels should be right{provided} ({low} to {high}%)"
    gain = (estimate.get("halves") or {}).get("gain")
    return [f"{expected}, judging by {_sources(estimate)}.", *([_gained(gain)] if gain else [])]


def _sources(estimate: Mapping[str, Any]) -> str:
    """Return what the figure comes from."""
    halves, judged, share = estimate.get("halves"), estimate["judged"], estimate["disagreement"]
    half = "" if halves is None else f"{halves['draws']} × half of {halves['labeled']} labeled texts"
    parts = [] if share is None else [f"how often two patterns disagree ({100 * share:.0f}% of the unlabeled texts)"]
    if judged and (parts or estimate.get("micro_f1")):
        parts.append(f"{judged} labeled texts that members left out ({judged - estimate['wrong']} right)")
    if not parts:
        return f"{half}, likely a little low"
    if halves is not None:
        parts.append(f"{half} ({100 * halves['accuracy']:.0f}% of the others right, likely a little low)")
    return ", and ".join(parts) if len(parts) < 3 else f"{parts[0]}, {parts[1]}, and {parts[2]}"


def _gained(gain: Mapping[str, Any]) -> str:
    """Say what the last labels brought. Learning curves flatten, so the next ones bring about as much at most."""
    low, high = (f"{100 * gain[name]:+.0f}" for name in ("low", "high"))
    brought = f"The last {gain['texts']} labels brought {100 * gain['difference']:+.0f} points ({low} to {high})"
    return f"{brought}; expect that or less of the next {gain['texts']}." if gain["difference"] > 0 else f"{brought}."
