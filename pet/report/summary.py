"""The first section of a report: what was done and what to do next, in at most five sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pet.report.estimate import estimate_lines
from pet.report.pages import percent
from pet.report.tables import Metrics, first_seed, paired_figures, probability

_METHODS = {
    "pet": "PET", "ipet": "iPET", "pcp": "PET with continued pretraining (PCP)", "zero-shot": "The untrained model",
    "supervised": "Supervised fine-tuning",
}  # fmt: skip
_FEW = 24  # labeled texts below which more labels help most


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return the sentences. Each number is one of the run's figures; see `pet.report.html.html_report`."""
    sentences = [_done(result), _quality(result), _compared(result), _weakest(result), *_next(result)]
    return [sentence for sentence in sentences if sentence][:5]


def best_result(result: Mapping[str, Any]) -> tuple[str, Metrics] | None:
    """Return name and figures of what a user would deploy: the student, or the ensemble without one."""
    for name in ("student", "ensemble"):
        if result.get(name):
            return result_name(name, result.get("method")), first_seed(result[name])
    return None


def result_name(name: str, method: str | None) -> str:
    """Return what a result is called: the classifier of a supervised run had no teacher.

    Examples
    --------
    >>> result_name("student", "pet"), result_name("student", "supervised")
    ('student', 'classifier')
    """
    return "classifier" if (name, method) == ("student", "supervised") else name


def _done(result: Mapping[str, Any]) -> str:
    data, method = result.get("data") or {}, str(result.get("method", "pet"))
    if not data:
        return ""
    members = len(result.get("weights") or ())
    first = f"{_METHODS.get(method, method)} learned from {_texts(data['train'], 'labeled')}"
    if method == "zero-shot":
        first = f"{_METHODS[method]} answered cloze questions without training"
    if members and method != "zero-shot":
        first += f" with {members} members"
    if data.get("pool") and method != "supervised":
        first += f", labeled {_texts(data['pool'], 'unlabeled')}"
        first += " and distilled a student from these labels" if result.get("student_losses") else ""
    return f"{first}."


def _texts(count: int, kind: str) -> str:
    return f"{count} {kind} text{'' if count == 1 else 's'}"


def _quality(result: Mapping[str, Any]) -> str:
    best, estimate = best_result(result), result.get("estimate")
    if best is not None and "accuracy_interval" in best[1]:
        low, high = best[1]["accuracy_interval"]
        return (
            f"The {best[0]} labels {percent(best[1]['accuracy'])} of {best[1]['n']} test texts correctly; of all texts "
            f"like these, {100 * low:.1f} to {percent(high)}."
        )
    if best is not None and "micro_f1_interval" in best[1]:
        low, high = best[1]["micro_f1_interval"]
        return (
            f"The {best[0]} has a micro F1 of {percent(best[1]['micro_f1'])} on {best[1]['n']} test texts; on all "
            f"texts like these, {100 * low:.1f} to {percent(high)}."
        )
    if estimate is not None:
        line = estimate_lines(estimate)[0]
        return f"There are no test texts, but {line[0].lower()}{line[1:]}"
    return "Nothing here says how good the labels are: give labeled texts with `--test`." if best is None else ""


def _compared(result: Mapping[str, Any]) -> str:
    """Compare with the baseline that is hardest to beat."""
    differences = result.get("differences") or {}
    others = {name: found for name, found in (differences.get("others") or {}).items() if name != "ensemble"}
    if not others:
        return ""
    figure, header = next(iter(paired_figures(differences).items()))
    name = min(others, key=lambda other: others[other][figure]["better"])
    found = others[name][figure]
    low, high = found["interval"]
    of = f" of {header}" if figure != "accuracy" else ""
    return (
        f"The strongest baseline is {_BASELINES.get(name, name)}: the difference is {100 * found['difference']:+.1f} "
        f"points{of} ({100 * low:+.1f} to {100 * high:+.1f}), and the {differences['result']} is better with a "
        f"probability of {probability(found['better']).replace('> ', 'more than ').replace('< ', 'less than ')}."
    )


_BASELINES = {
    "most frequent label": "always giving the most frequent label", "embeddings": "logistic regression on embeddings",
    "tfidf": "logistic regression on words", "supervised": "supervised fine-tuning",
    "zero-shot": "the untrained model", "pet": "PET",
}  # fmt: skip


def _weakest(result: Mapping[str, Any]) -> str:
    pairs = (result.get("confused") or {}).get("pairs") or ()
    if not pairs or pairs[0]["count"] < 2:
        return ""
    pair = pairs[0]
    return (
        f"The most frequent mistake: {pair['count']} of {pair['of']} texts labeled {pair['gold']} were taken for "
        f"{pair['predicted']}."
    )


def _next(result: Mapping[str, Any]) -> list[str]:
    texts: Mapping[str, Any] = result.get("texts") or {}
    advice: Sequence[str] = result.get("advice") or ()
    if advice:
        return [f"Next: {advice[0]}."]
    wrong = texts.get("contradicted", {}).get("total", 0)
    if wrong:
        labels = "label" if wrong == 1 else "labels"
        return [f"Next: check {_texts(wrong, 'labeled')} below, whose {labels} the other labeled texts contradict."]
    train = (result.get("data") or {}).get("train", 0)
    if texts.get("doubtful", {}).get("total"):
        few = "more labels help most now: " if train < _FEW else ""
        return [f"Next: {few}label the texts that `pet review` shows first, and train again with `--corrections`."]
    return []
