"""``--track``: send settings, losses and figures of a run to experiment trackers, through those of accelerate."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.progress import Reporter
from pet.run.resolve import ResolvedRun
from pet.run.trackers import tracker_arguments

_ODD = re.compile(r"[^\w./ -]")  # MLflow refuses other characters in names


class Tracking:
    """Logs to some trackers. Steps are the updates of all members and of the student, one after the other.

    Parameters
    ----------
    trackers : of accelerate, started
    reporter : warns if one fails
    """

    def __init__(self, trackers: Sequence[Any], reporter: Reporter):
        self._trackers = list(trackers)
        self._reporter = reporter
        self._step = 0
        self._live: set[str] = set()  # curves that were logged while they were drawn

    def progress(self, label: str, done: int, figures: Mapping[str, float | str]) -> None:
        """Log the figures of a step of training; `pet.progress.Reporter.watch` receives this method."""
        numbers = {f"{name}/{label.removeprefix('train ')}": value for name, value in figures.items()}
        self._live |= numbers.keys()
        self._log(numbers)

    def finish(self, results: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
        """Log the figures of generations, members and results, and the curves of members that workers have trained."""
        generation = results.get("generation", 0)
        curves = {"student": shown.get("student_losses") or []}
        curves |= {f"g{generation}/{row['name']}": row.get("losses") or [] for row in shown.get("weights") or ()}
        for name, losses in curves.items():
            if f"loss/{name}" not in self._live:
                for loss in losses:
                    self._log({f"loss/{name}": loss})
        for row in results.get("generations") or ():
            self._log({f"generation/{name}": value for name, value in row.items()})
        kept = ("ensemble", "student", "members", "baselines", "estimate", "data", "class_ratio")
        self._log(dict(flat({name: results[name] for name in kept if name in results})))

    def _log(self, values: Mapping[str, Any]) -> None:
        """Log the values that are numbers."""
        numbers = {
            _ODD.sub("_", name): value
            for name, value in values.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        }
        if not numbers:
            return
        self._step += 1
        self._each(lambda tracker: tracker.log(numbers, step=self._step))

    def end(self) -> None:
        """Finish all trackers."""
        self._each(lambda tracker: tracker.finish())

    def _each(self, do: Callable[[Any], object]) -> None:
        """Call a function for each tracker. One that fails is left out from now on: a run does not depend on it."""
        for tracker in list(self._trackers):
            try:
                with redirect_stdout(sys.stderr):  # trackio prints
                    do(tracker)
            except Exception as error:  # its library, its server, the network
                if isinstance(error, MemoryError):
                    raise
                self._trackers.remove(tracker)
                self._reporter.warn(f"--track {tracker.name}: stopped logging ({_reason(error)})")


def flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings with their path, such as ``student/accuracy``.

    Examples
    --------
    >>> dict(flat({"student": {"accuracy": 0.5, "interval": [0.4, 0.6]}, "seed": 1}))
    {'student/accuracy': 0.5, 'seed': 1}
    """
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from flat(value, f"{prefix}/{name}" if prefix else str(name))
    elif values is None or isinstance(values, (str, int, float)):
        yield prefix, values


@contextmanager
def tracking(names: Sequence[str], folder: Path, run: ResolvedRun, reporter: Reporter) -> Iterator[Tracking | None]:
    """Start trackers for a run; None without any. Nothing is imported or sent then.

    Texts, names of data files and label words are not sent: only settings, names of labels, and numbers.

    Parameters
    ----------
    names : some of `pet.extras.TRACKERS`, which `check_trackers` has seen
    folder : of the run; TensorBoard's files go to ``tensorboard`` in it
    run : for its settings
    reporter : whose progress is logged

    Raises
    ------
    PetError
        If a tracker cannot start. One that fails later is left out, with a warning.
    """
    if not names:
        yield None
        return
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # accelerate's log messages require it
    trackers: list[Any] = []
    try:
        for name in dict.fromkeys(names):
            with redirect_stdout(sys.stderr):
                positional, named = tracker_arguments(name, folder)
                tracker = LOGGER_TYPE_TO_CLASS[name](*positional, **named)
                tracker.main_process_only = False  # only the leading process gets here
                _start(tracker, name, _settings(run))
            trackers.append(tracker)
            if named.get("mode") == "offline":
                place = folder / "wandb"
                reporter.info(f"wandb: not logged in, so it logs offline, to {place}; `wandb sync` sends it")
        made = Tracking(trackers, reporter)
        reporter.watch = made.progress
        yield made
    finally:
        reporter.watch = None
        Tracking(trackers, reporter).end()


def _start(tracker: Any, name: str, settings: Mapping[str, Any]) -> None:
    """Start a tracker and log the settings. Raises PetError if it cannot, such as without its server."""
    try:
        tracker.start()
        tracker.store_init_configuration(settings)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        raise PetError(
            f"--track {name}: cannot start ({_reason(error)}); check its login and its address, or leave it out"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _settings(run: ResolvedRun) -> dict[str, Any]:
    """Return the settings of a run as plain values, without paths and texts."""
    settings = run.settings
    given = {name: getattr(settings, name) for name in ("method", "seed", "shots", "examples", "recipe")}
    about = {"task": run.task.name, "labels": len(run.task.labels), "patterns": len(run.task.patterns)}
    model = {"model": Path(settings.model).name}
    values = dict(flat({**about, **model, **given, **run.recipe.to_dict()}))
    return {name: "none" if value is None else value for name, value in values.items()}
