"""Messages and progress of long-running work."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Protocol, TextIO

from pet.terminal import clean, display_width, fit

Mode = Literal["auto", "plain", "quiet"]

Watch = Callable[[str, int, Mapping[str, float | str]], object]  # label, completed units, new figures

NOTEBOOK = "ipykernel"  # the package of a notebook's output streams
_REDRAW_SECONDS = 0.1
_PLAIN_SECONDS = 30.0


class Outlook(Protocol):
    """Tells how far the whole work is, of which a task is a part."""

    def __call__(self, label: str, done: int, seconds: float) -> str:
        """Return what to show beside a running task, given its label, completed units and seconds; it may be empty."""

    def ended(self, label: str, done: int, seconds: float) -> None:
        """Note how long a task took."""


class Reporter:
    """Prints messages and progress to standard error.

    Parameters
    ----------
    mode : {"auto", "plain", "quiet"}
        ``auto``: a live progress line in a terminal, plain lines elsewhere. ``plain``: lines at the
        start of a task, about every 30 seconds, and at its end. ``quiet``: warnings only.
    stream : text stream, optional
        Output stream; default: the current ``sys.stderr``.
    clock : callable
        Monotonic clock, in seconds.
    width : callable, optional
        Returns the width of the terminal in columns.
    """

    def __init__(
        self,
        mode: Mode = "auto",
        stream: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        width: Callable[[], int] | None = None,
    ):
        if mode not in ("auto", "plain", "quiet"):
            raise ValueError(f"unknown mode {mode!r}: choose auto, plain or quiet")
        self.mode = mode
        self.clock = clock
        self.watch: Watch | None = None  # gets the figures of every step, in every mode
        self.outlook: Outlook | None = None  # of the whole work, of which each task is a part
        self._given = stream
        self._said: set[str] | None = None  # warnings so far, if each is printed only once
        self._width = width or (lambda: shutil.get_terminal_size().columns)
        self._tasks: list[Progress] = []
        self._drawn = 0  # width of the live line currently shown

    def info(self, message: str) -> None:
        """Print a message, except in quiet mode."""
        if self.mode != "quiet":
            self._line(message)

    def warn(self, message: str) -> None:
        """Print a warning, in every mode."""
        if self._said is not None:
            if message in self._said:
                return
            self._said.add(message)
        self._line(f"warning: {message}")

    @contextmanager
    def warning_once(self) -> Iterator[None]:
        """Print each warning only once inside the block: its work is repeated."""
        before = self._said
        self._said = set() if before is None else before
        try:
            yield
        finally:
            self._said = before

    def task(self, label: str, total: int | None, unit: str = "step") -> Progress:
        """Start a long-running task.

        Parameters
        ----------
        label : str
            Name of the task.
        total : int or None
            Number of units, if known.
        unit : str
            Name of one unit, singular.

        Returns
        -------
        Progress
            A context manager; call its ``update`` as the work progresses.
        """
        return Progress(self, label, total, unit)

    @property
    def live(self) -> bool:
        """Whether the stream is a terminal, or the output of a notebook, whose last line can be redrawn."""
        if self.mode != "auto" or os.environ.get("TERM") == "dumb":
            return False
        try:
            return self._stream.isatty() or type(self._stream).__module__.partition(".")[0] == NOTEBOOK
        except (AttributeError, ValueError):  # a closed stream, or a minimal stream object
            return False

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._given is None else self._given

    def _line(self, message: str) -> None:
        self._erase()
        self._write("\n".join(clean(line) for line in message.split("\n")) + "\n")
        if self._tasks:
            self._tasks[-1]._draw_again()

    def _draw(self, line: str) -> None:
        # Leave one column free: some terminals wrap as soon as the last column is filled.
        line = fit(clean(line), max(self._width() - 1, 1))
        width = display_width(line)
        self._write("\r" + line + " " * (self._drawn - width))
        self._drawn = width

    def _erase(self) -> None:
        if self._drawn:
            self._write("\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _write(self, text: str) -> None:
        stream = self._stream
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except (OSError, ValueError):
            pass  # losing the terminal must not end hours of work


class Progress:
    """Progress of one task. Create it with `Reporter.task`."""

    def __init__(self, reporter: Reporter, label: str, total: int | None, unit: str):
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0
        self.figures: dict[str, float | str] = {}
        self._reporter = reporter
        self._begun = self._shown = reporter.clock()

    def __enter__(self) -> Progress:
        self._begun = self._shown = self._reporter.clock()
        self._reporter._tasks.append(self)
        if self._reporter.live:
            self._draw_again()
        elif self._reporter.mode != "quiet":
            amount = "" if self.total is None else f": {_amount(self.total, self.unit)}"
            self._reporter._line(f"{self.label}{amount}")
        return self

    def update(self, n: int = 1, **figures: float | str | None) -> None:
        """Report `n` more completed units, and figures to show (``loss=0.12``).

        A figure of None keeps its previous value.
        """
        self.done += n
        new = {name: value for name, value in figures.items() if value is not None}
        self.figures.update(new)
        if new and self._reporter.watch is not None:
            self._reporter.watch(self.label, self.done, new)
        if self._reporter.mode == "quiet":
            return
        now = self._reporter.clock()
        live = self._reporter.live
        if now - self._shown < (_REDRAW_SECONDS if live else _PLAIN_SECONDS):
            return
        self._shown = now
        if live:
            self._reporter._draw(self._status(now))
        else:
            self._reporter._line(self._status(now))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reporter = self._reporter
        reporter._tasks.remove(self)
        if reporter.mode == "quiet":
            return
        seconds = reporter.clock() - self._begun
        if kind is None and reporter.outlook is not None:
            reporter.outlook.ended(self.label, self.done, seconds)
        took = _duration(seconds)
        if kind is None:
            state = f"{_amount(self.done, self.unit)} in {took}"
        else:
            state = f"stopped after {self._how_far()}, {took}"
        reporter._line("  ".join([f"{self.label}: {state}", *self._figures()]))

    def _draw_again(self) -> None:
        if self._reporter.live:
            self._shown = self._reporter.clock()
            self._reporter._draw(self._status(self._shown))

    def _status(self, now: float) -> str:
        parts = [f"{self.label}: {self._how_far()}"]
        passed = now - self._begun
        if self.total and 0 < self.done <= self.total and passed > 0:
            parts[0] += f" ({100 * self.done // self.total}%)"
            parts.append(f"{_duration(passed * (self.total - self.done) / self.done)} left")
        outlook = self._reporter.outlook
        whole = "" if outlook is None else outlook(self.label, self.done, passed)
        return "  ".join([*parts, *self._figures(), *([f"[{whole}]"] if whole else [])])

    def _how_far(self) -> str:
        if self.total is None:
            return _amount(self.done, self.unit)
        return f"{self.done}/{_amount(self.total, self.unit)}"

    def _figures(self) -> list[str]:
        return [
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.figures.items()
        ]


def _amount(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _duration(seconds: float) -> str:
    whole = int(seconds + 0.5)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
