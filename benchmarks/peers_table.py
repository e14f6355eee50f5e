"""The page of peers.py: accuracy, paired differences from PET, and standard errors by bootstrap."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import markdown

INTRO = """# PET and other few-shot methods

Produced by `python benchmarks/peers.py`. All methods get the same labeled examples, unlabeled texts and test texts.
Accuracy in percent with its standard error; the difference is that from PET's student on the same texts and seeds, with
its standard error and 95% interval. Errors come from a bootstrap over texts and seeds; with one seed, over texts only.
"ECE" is the expected calibration error in percent. "CPU" is seconds of processor time with all children, training and
prediction, without imports; an ensemble is listed with the time of its whole run. `settings` and versions are in the
JSON lines file next to this one.

"""
BASE = "pet student"
NAMES = {
    "head": "fine-tuned classifier",
    "embeddings": "embeddings + LR",
    "tfidf": "TF-IDF + LR",
    "spreading": "label spreading",
    "setfit": "SetFit",
}
Group = tuple[str, int, str, int, int, str]  # task, examples, model, pool, test, settings


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error, and a 95% interval, all in percent."""

    mean: float
    error: float
    low: float
    high: float


def bootstrap(values: np.ndarray, draws: int = 2000) -> Estimate:
    """Estimate the mean of an array of shape (seeds, texts) by drawing seeds and texts with replacement.

    >>> bootstrap(np.ones((2, 10)))
    Estimate(mean=100.0, error=0.0, low=100.0, high=100.0)
    """
    generator = np.random.default_rng(0)
    seeds, texts = values.shape
    means = np.empty(draws)
    for number in range(draws):
        rows, columns = generator.integers(0, seeds, seeds), generator.integers(0, texts, texts)
        means[number] = values[rows].mean(axis=0)[columns].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(*(round(100 * float(figure), 6) for figure in (values.mean(), means.std(), low, high)))


def hits(lines: Iterable[Mapping[str, Any]]) -> dict[Group, dict[str, dict[int, np.ndarray]]]:
    """Sort the lines: group -> name of a result -> seed -> which test texts are right."""
    groups: dict[Group, dict[str, dict[int, np.ndarray]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        for what, right in line["right"].items():
            flags = np.array([int(flag) for flag in right])
            groups[group_of(line)][result_name(line, what)][line["seed"]] = flags
    return groups


def group_of(line: Mapping[str, Any]) -> Group:
    """Return what lines have in common that can be compared."""
    settings = " ".join(f"{key}={value}" for key, value in line["settings"].items())
    return line["task"], line["examples"], line["model"], line["pool"], line["test"], settings


def result_name(line: Mapping[str, Any], what: str) -> str:
    """Return the name of a row, such as ``pet student``; a variant is shown with its changes."""
    changes = f"({line['changes']})" if "changes" in line else ""
    return " ".join(filter(None, [NAMES.get(line["method"], line["method"]), what, changes]))


def paired(ours: Mapping[int, np.ndarray], base: Mapping[int, np.ndarray]) -> Estimate | None:
    """Return the difference of two methods on the seeds that both have; None if there are none."""
    seeds = [seed for seed in ours if seed in base]
    if not seeds:
        return None
    return bootstrap(np.array([ours[seed].astype(float) - base[seed] for seed in seeds]))


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Format the tables: one row for each result on each data set, and the means over data sets."""
    seconds: dict[tuple[Group, str], list[float]] = defaultdict(list)
    errors: dict[tuple[Group, str], list[float]] = defaultdict(list)
    for line in lines:
        for what in line["right"]:
            seconds[group_of(line), result_name(line, what)].append(line["cpu"])
        for what, error in line.get("ece", {}).items():
            errors[group_of(line), result_name(line, what)].append(error)
    rows: list[list[object]] = []
    differences: dict[str, list[Estimate]] = defaultdict(list)
    for group, found in hits(lines).items():
        for name, by_seed in found.items():
            own = bootstrap(np.array(list(by_seed.values())))
            gap = None if name == BASE else paired(by_seed, found.get(BASE, {}))
            if gap is not None:
                differences[name].append(gap)
            shown = "" if gap is None else f"{gap.mean:+.1f} ± {gap.error:.1f} ({gap.low:+.1f} to {gap.high:+.1f})"
            cpu = statistics.fmean(seconds[group, name])
            size = len(next(iter(by_seed.values())))
            known = errors[group, name]
            ece = f"{100 * statistics.fmean(known):.1f}" if known else ""
            figures = [f"{own.mean:.1f} ± {own.error:.1f}", shown, ece, f"{cpu:.1f}" if cpu < 10 else f"{cpu:.0f}"]
            rows.append([group[0], group[1], name, *figures, len(by_seed), size, group[3], group[2], group[5]])
    head = [
        "task",
        "examples",
        "method",
        "accuracy",
        "difference",
        "ECE",
        "CPU",
        "seeds",
        "texts",
        "pool",
        "model",
        "settings",
    ]
    return markdown(head, rows) + ("\n" + summary(differences) if differences else "")


def summary(differences: Mapping[str, Sequence[Estimate]]) -> str:
    """Format the difference of each method from PET's student over all its comparisons: mean, smallest and largest."""
    rows = []
    for name, gaps in differences.items():
        mean = statistics.fmean(gap.mean for gap in gaps)
        error = sum(gap.error**2 for gap in gaps) ** 0.5 / len(gaps)
        ends = [f"{pick(gap.mean for gap in gaps):+.1f}" for pick in (min, max)]
        rows.append([name, f"{mean:+.1f} ± {error:.1f}", *ends, len(gaps)])
    return markdown(["method", f"mean difference from {BASE}", "smallest", "largest", "comparisons"], rows)
