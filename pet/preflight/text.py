"""Plain-text output of `pet check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pet.preflight.patterns import Filled, PatternCheck
from pet.preflight.report import CheckReport, TeacherCost, ZeroShot
from pet.report.tables import interval, text_table
from pet.statistics import wilson
from pet.terminal import clean

_BESIDE_MASK = 12  # tokens shown on each side of the mask
_AT_ENDS = 6
_MOST_LABELS = 30
_WORTHWHILE = 0.05  # gain in accuracy


def check_text(report: CheckReport) -> str:
    """Format a check for a terminal: data, patterns with words and examples, zero-shot accuracy, expected time."""
    parts = [f"task {clean(report.task)}, model {clean(report.model)}, up to {report.max_length} tokens"]
    parts += [_data(report)] if report.rows else []
    words = None
    for number, pattern in enumerate(report.patterns, 1):
        parts.append(_pattern(number, pattern, with_words=pattern.words != words))
        words = pattern.words
    parts += [_zero_shot(report.zero_shot)] if report.zero_shot else []
    parts += [_time(report.seconds, report.training_sets)] if report.seconds else []
    parts += [_teacher(cost) for cost in report.teachers]
    return "\n\n".join(parts)


def _teacher(cost: TeacherCost) -> str:
    how = {"logprobs": "log-probabilities", "votes": "votes"}.get(cost.answers, "unknown: the server was not asked")
    took = "" if cost.seconds is None else f", about {_duration(cost.seconds)}"
    limited = f"; {cost.limited} ends it before all texts are labeled" if cost.limited else ""
    return (
        f"teacher {clean(cost.name)} ({clean(cost.address)}; answers: {how}): {cost.texts} texts, {cost.calls} calls, "
        f"about {cost.tokens} tokens{took}{limited}. Answers on disk cost nothing."
    )


def _data(report: CheckReport) -> str:
    names = list(report.rows)
    labels = list(next(iter(report.label_counts.values()), {}))
    rows: list[list[object]] = [
        [label, *(report.label_counts.get(name, {}).get(label) for name in names)] for label in labels[:_MOST_LABELS]
    ]
    if len(labels) > _MOST_LABELS:
        rows.append([f"... {len(labels) - _MOST_LABELS} more", *(None for _ in names)])
    rows.append(["all", *(report.rows[name] for name in names)])
    return text_table(rows, ["label", *names])


def _pattern(number: int, pattern: PatternCheck, *, with_words: bool) -> str:
    lines = [f"pattern {number}: {clean(pattern.template)}"]
    lines += [f"  {_words(pattern)}"] if with_words else []
    if pattern.fixed_length is not None:
        cut = ", ".join(f"{share:.1%} of {name}" for name, share in pattern.cut.items())
        lines.append(f"  {pattern.fixed_length} fixed tokens" + (f"; truncates {cut}" if cut else ""))
    lines += [f"  {_cost(pattern)}"] if pattern.tokens_read else []
    lines += [f"  {clean(abbreviate(filled))}" for filled in pattern.filled]
    return "\n".join(lines)


def _cost(pattern: PatternCheck) -> str:
    sizes = sorted({len(tokens) for words in pattern.words.values() for tokens in words.values()})
    name, read = next(iter(pattern.tokens_read.items()))
    if pattern.asks:
        return f"asks about each label: the model reads {read:.0f} tokens per text of {name}"
    if sizes == [0]:
        return f"label words from the data: the model reads {read:.0f} tokens per text of {name}"
    listed = " and ".join([", ".join(map(str, sizes[:-1])), str(sizes[-1])] if sizes[1:] else map(str, sizes))
    return (
        f"label words of {listed} tokens: the model reads {read:.0f} tokens per text of {name}, "
        f"{read / pattern.mean_length[name]:.1f} times as many as with single tokens"
    )


def _words(pattern: PatternCheck) -> str:
    groups = [
        f"{clean(label)} = {', '.join(_word(word, tokens) for word, tokens in words.items())}"
        for label, words in pattern.words.items()
    ]
    more = f"; ... {len(groups) - _MOST_LABELS} more" if len(groups) > _MOST_LABELS else ""
    return "; ".join(groups[:_MOST_LABELS]) + more


def _word(word: str, tokens: tuple[str, ...]) -> str:
    whole = not tokens or (len(tokens) == 1 and word.casefold() in tokens[0].casefold())
    return clean(word if whole else f"{word} ({' '.join(tokens)})")


def abbreviate(filled: Filled) -> str:
    """Join the tokens of a filled pattern; a long one is reduced to its ends and the surroundings of the mask."""
    tokens, mask = filled.tokens, filled.mask
    kept = [
        i for i in range(len(tokens)) if i < _AT_ENDS or i >= len(tokens) - _AT_ENDS or abs(i - mask) <= _BESIDE_MASK
    ]
    pieces: list[str] = []
    for position, i in enumerate(kept):
        if position and kept[position - 1] != i - 1:
            pieces.append("…")
        pieces.append(tokens[i])
    return " ".join(pieces)


def _zero_shot(found: ZeroShot) -> str:
    rows: list[list[object]] = [
        [f"pattern {number}", figures["accuracy"], figures["centered"]]
        for number, figures in enumerate(found.patterns, 1)
    ]
    rows.append(["ensemble", found.together["accuracy"], found.together["centered"]])
    figure, constant = "accuracy", "always predicting the most frequent label"
    if found.multi_label:
        figure, constant = "ranking precision", "ranking the labels by frequency"
    table = text_table(rows, ["untrained", figure, "centered"])
    certain = "" if found.multi_label else f" (95% interval of the ensemble: {_interval(found)})"
    return (
        f"{table}\nOn {found.rows} texts of {found.table}{certain}; {constant}: "
        f"{found.majority:.3f}. Centered: with each label's mean score subtracted.{_conclusion(found)}"
    )


def _interval(found: ZeroShot) -> str:
    return interval(wilson(round(found.together["accuracy"] * found.rows), found.rows))


def _conclusion(found: ZeroShot) -> str:
    """Say how to remove the bias of the untrained patterns if that helps."""
    as_is, best = found.together["accuracy"], max(found.without_bias.values(), default=0.0)
    if best < as_is + _WORTHWHILE:
        return ""
    share = "All" if found.favorite_share == 1 else f"{found.favorite_share:.0%} of the"
    settings = " or ".join(
        f"{setting} ({accuracy:.0%})"
        for setting, accuracy in sorted(found.without_bias.items(), key=lambda item: -item[1])
        if accuracy >= as_is + _WORTHWHILE
    )
    return (
        f"\n{share} texts fall on one label, {clean(found.favorite)}: {as_is:.0%} are right as they are, {best:.0%} "
        f"without this bias. Use --set {settings}; runs without training correct it by default (prior=auto)."
    )


def _time(seconds: Mapping[str, float], sizes: Sequence[int]) -> str:
    shown = {name: value for name, value in seconds.items() if name not in ("total", "optional_estimate")}
    parts = ", ".join(f"{name} {_duration(value)}" for name, value in shown.items() if value)
    learning = f"\nIts generations train on at most {', '.join(map(str, sizes))} texts." if sizes else ""
    saved = "" if "estimate" not in seconds else " --no-estimate leaves out the estimate of the accuracy."
    if "optional_estimate" in seconds:
        saved = f" --estimate, which estimates the accuracy, takes another {_duration(seconds['optional_estimate'])}."
    return f"A run takes about {_duration(seconds['total'])} on this machine ({parts}).{saved}{learning}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
