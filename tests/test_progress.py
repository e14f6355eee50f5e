"""Progress output."""

from __future__ import annotations

import ast
import io
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet.progress import Reporter
from pet.terminal import clean, display_width, fit, json_visible, pad, visible


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(text: str) -> list[str]:
    """The lines that a terminal shows after all the carriage returns."""
    lines = []
    for line in text.split("\n"):
        shown: list[str] = []
        for piece in line.split("\r"):
            shown[: len(piece)] = piece
        lines.append("".join(shown).rstrip())
    return lines


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def make(stream: io.StringIO, mode: str = "auto", width: int = 80) -> tuple[Reporter, Clock]:
    clock = Clock()
    return Reporter(mode, stream, clock=clock, width=lambda: width), clock  # type: ignore[arg-type]


def test_repeated_work_prints_each_warning_once():
    stream = io.StringIO()
    reporter, _ = make(stream, "quiet")
    with reporter.warning_once():
        for seed in range(3):
            reporter.warn("the same")
            reporter.warn(f"only {seed}")
    reporter.warn("the same")
    said = ["the same", "only 0", "only 1", "only 2", "the same"]
    assert stream.getvalue().splitlines() == [f"warning: {message}" for message in said]


def test_without_a_terminal_progress_is_plain_lines():
    stream = io.StringIO()
    reporter, clock = make(stream)
    with reporter.task("g0/p1-r1", 100) as task:
        for _ in range(100):
            clock.now += 1
            task.update(loss=0.123456, rows=3)
            task.update(0, loss=None)
    assert stream.getvalue().splitlines() == [
        "g0/p1-r1: 100 steps",
        "g0/p1-r1: 30/100 steps (30%)  1:10 left  loss 0.1235  rows 3",
        "g0/p1-r1: 60/100 steps (60%)  0:40 left  loss 0.1235  rows 3",
        "g0/p1-r1: 90/100 steps (90%)  0:10 left  loss 0.1235  rows 3",
        "g0/p1-r1: 100 steps in 1:40  loss 0.1235  rows 3",
    ]


def test_plain_mode_and_dumb_terminals_get_plain_lines(monkeypatch: pytest.MonkeyPatch):
    for mode, term in (("plain", "xterm"), ("auto", "dumb")):
        monkeypatch.setenv("TERM", term)
        stream = Terminal()
        reporter, _ = make(stream, mode)
        with reporter.task("a", 1, "text") as task:
            task.update()
        assert stream.getvalue() == "a: 1 text\na: 1 text in 0:00\n"


def test_a_terminal_gets_one_live_line():
    stream = Terminal()
    reporter, clock = make(stream)
    with reporter.task("label", 4, "text") as task:
        clock.now += 3600
        task.update(1, loss=10.5)
        assert screen(stream.getvalue()) == ["label: 1/4 texts (25%)  3:00:00 left  loss 10.5"]
        clock.now += 1
        task.update(3, loss=1.0)
        assert screen(stream.getvalue()) == ["label: 4/4 texts (100%)  0:00 left  loss 1"]
    assert screen(stream.getvalue()) == ["label: 4 texts in 1:00:01  loss 1", ""]


def test_the_live_line_is_redrawn_at_most_ten_times_a_second():
    stream = Terminal()
    reporter, clock = make(stream)
    with reporter.task("a", 1000) as task:
        for _ in range(1000):
            clock.now += 0.001
            task.update()
        assert 8 <= stream.getvalue().count("\r") <= 11


def test_messages_do_not_mix_with_the_live_line():
    stream = Terminal()
    reporter, clock = make(stream)
    with reporter.task("outer task", 2):
        clock.now += 1
        reporter.info("hello")
        reporter.warn("careful\nplease")
        with reporter.task("inner", 5) as inner:
            clock.now += 1
            inner.update(2)
            assert screen(stream.getvalue())[-1] == "inner: 2/5 steps (40%)  0:02 left"
        assert screen(stream.getvalue())[-1] == "outer task: 0/2 steps"
    assert screen(stream.getvalue()) == [
        "hello",
        "warning: careful",
        "please",
        "inner: 2 steps in 0:01",
        "outer task: 0 steps in 0:02",
        "",
    ]


@pytest.mark.parametrize("width", [1, 2, 5, 20, 40])
def test_the_live_line_is_never_wider_than_the_terminal(width: int):
    stream = Terminal()
    reporter, clock = make(stream, width=width)
    with reporter.task("情感分类 with a long name", 10) as task:
        for _ in range(10):
            clock.now += 1
            task.update(loss=0.5)
        drawn = stream.getvalue()
    assert "\n" not in drawn
    assert all(display_width(piece) <= max(width - 1, 1) for piece in drawn.split("\r"))


def test_quiet_mode_prints_warnings_only():
    for stream in (io.StringIO(), Terminal()):
        reporter, clock = make(stream, "quiet")
        with reporter.task("a", 2) as task:
            clock.now += 100
            task.update()
            reporter.info("hidden")
            reporter.warn("shown")
        assert stream.getvalue() == "warning: shown\n"


def test_a_failed_task_reports_its_progress():
    stream = io.StringIO()
    reporter, clock = make(stream)
    with pytest.raises(KeyboardInterrupt), reporter.task("a", 5) as task:
        clock.now += 61
        task.update(3)
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines()[-1] == "a: stopped after 3/5 steps, 1:01"
    reporter.info("next")
    assert stream.getvalue().endswith("\nnext\n")


def test_unknown_and_zero_totals_are_allowed():
    stream = io.StringIO()
    reporter, clock = make(stream)
    for total in (None, 0):
        with reporter.task("read", total, "row") as task:
            clock.now += 40
            task.update(7)
    assert stream.getvalue().splitlines() == [
        "read",
        "read: 7 rows",
        "read: 7 rows in 0:40",
        "read: 0 rows",
        "read: 7/0 rows",
        "read: 7 rows in 0:40",
    ]


def test_control_characters_do_not_reach_the_terminal():
    stream = Terminal()
    reporter, _ = make(stream)
    reporter.warn("label \x1b[31mred\x07\u202e")
    with reporter.task("a\x1b]0;title\x07\r", 1):
        pass
    assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f\u202e]", stream.getvalue())


def test_unencodable_characters_and_closed_streams_are_tolerated():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    Reporter("auto", stream).info("± 情")
    assert raw.getvalue() == b"\\xb1 \\u60c5\n"
    closed = io.StringIO()
    closed.close()
    reporter = Reporter("auto", closed)
    with reporter.task("a", 1) as task:
        task.update()
    assert task.done == 1


def test_the_current_standard_error_is_used(monkeypatch: pytest.MonkeyPatch):
    reporter = Reporter()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    reporter.info("here")
    assert stream.getvalue() == "here\n"


def test_an_unknown_mode_is_rejected():
    with pytest.raises(ValueError, match="loud"):
        Reporter("loud")  # type: ignore[arg-type]


def test_display_width_and_fit_count_wide_and_combining_characters():
    assert display_width("abc") == 3
    assert display_width("情感") == 4
    assert display_width("e\u0301") == 1
    assert fit("abcdef", 6) == "abcdef"
    assert fit("abcdefg", 6) == "abc..."
    assert fit("情感分类", 6) == "情..."
    assert [fit("abcdef", n) for n in range(4)] == ["", ".", "..", "..."]
    assert pad("情", 4) == "情  "
    assert pad("1", 3, right=True) == "  1"
    assert clean("a\tb\nc\x1b\u2028") == "a b c\\x1b "


HIDDEN = [
    "\x00",
    "\x1b",
    "\x7f",
    "\x9b",
    "\u200b",
    "\u200f",
    "\u2028",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\ud800",
    "\U000e0041",
]


@pytest.mark.parametrize("character", HIDDEN, ids=ascii)
def test_characters_that_cannot_be_seen_are_shown_as_escapes(character: str):
    shown = visible(f"a{character}b")
    assert shown.isascii() and shown.isprintable() and shown[0] + shown[-1] == "ab"
    assert ast.literal_eval(f"'{shown}'") == f"a{character}b"


def test_letters_marks_and_line_breaks_of_our_own_stay():
    text = "é 情 עברית\n\tא\u0301 👍🏽"
    assert visible(text) == text


@given(st.text(st.characters()))
def test_json_with_escapes_means_the_same_and_is_harmless(text: str):
    document = json_visible(json.dumps({text: text}, ensure_ascii=False, indent=2))
    assert json.loads(document) == {text: text}
    assert visible(document) == document
