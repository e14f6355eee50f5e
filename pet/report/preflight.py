"""What `pet check` found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pet.report.tables import text_table
from pet.terminal import clean

if TYPE_CHECKING:
    from pet.preflight.check_task import CheckReport
    from pet.preflight.patterns import Filled, PatternCheck

_BESIDE_MASK = 12  # tokens that are shown on each side of the mask
_AT_ENDS = 6
_MOST_LABELS = 30


def check_text(report: CheckReport) -> str:
    """Sections for a terminal: data, patterns with their words and fillings, accuracy, time."""
    parts = [f"task {clean(report.task)}, model {clean(report.model)}, up to {report.max_length} tokens"]
    parts += [_data(report)] if report.rows else []
    words = None
    for number, pattern in enumerate(report.patterns, 1):
        parts.append(_pattern(number, pattern, with_words=pattern.words != words))
        words = pattern.words
    parts += [_zero_shot(report)] if report.zero_shot else []
    parts += [_time(report)] if report.seconds else []
    return "\n\n".join(parts)


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
        lines.append(f"  {pattern.fixed_length} tokens of its own" + (f"; cuts {cut}" if cut else ""))
    lines += [f"  {clean(abbreviate(filled))}" for filled in pattern.filled]
    return "\n".join(lines)


def _words(pattern: PatternCheck) -> str:
    groups = [
        f"{clean(label)} = {', '.join(_word(word, tokens) for word, tokens in words.items())}"
        for label, words in pattern.words.items()
    ]
    more = f"; ... {len(groups) - _MOST_LABELS} more" if len(groups) > _MOST_LABELS else ""
    return "; ".join(groups[:_MOST_LABELS]) + more


def _word(word: str, tokens: tuple[str, ...]) -> str:
    whole = len(tokens) == 1 and word.casefold() in tokens[0].casefold()
    return clean(word if whole else f"{word} ({' '.join(tokens)})")


def abbreviate(filled: Filled) -> str:
    """The tokens of a filled pattern: of a long one its ends and what surrounds the mask."""
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


def _zero_shot(report: CheckReport) -> str:
    found = report.zero_shot
    assert found is not None
    rows: list[list[object]] = [
        [f"pattern {number}", figures["accuracy"], figures["centred"]]
        for number, figures in enumerate(found["patterns"], 1)
    ]
    rows.append(["all together", found["together"]["accuracy"], found["together"]["centred"]])
    table = text_table(rows, ["untrained", "accuracy", "centred"])
    return (
        f"{table}\nOn {found['rows']} texts of {found['table']}; always the most frequent label: "
        f"{found['majority']:.3f}. Centred: after taking off each label's mean score."
    )


def _time(report: CheckReport) -> str:
    seconds, sizes = report.seconds, report.training_sets
    assert seconds is not None
    parts = ", ".join(f"{name} {_duration(value)}" for name, value in seconds.items() if name != "total" and value)
    learning = f"\nIts generations learn from {', '.join(map(str, sizes))} texts, at most." if sizes else ""
    return f"A run takes about {_duration(seconds['total'])} here ({parts}).{learning}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
