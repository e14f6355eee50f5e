"""``--track``: trackers get the settings, losses and figures of a run, and no texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_run import pet, refused, run_options, write_inputs

from pet.progress import Reporter
from pet.run.tracking import Tracking


class Recorder:
    """A tracker that keeps what it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any]]] = []

    def log(self, values: dict[str, Any], step: int) -> None:
        self.rows.append((step, dict(values)))


def test_tensorboard_reads_back_what_a_run_has_logged(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    inputs = write_inputs(tmp_path / "in")
    pet(*run_options(inputs, tiny_model), "--track", "tensorboard", "-q", "-o", tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {"loss/g0/p1-r1", "loss/g0/p2-r1", "loss/student", "data/train"} <= set(tags)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    (accuracy,) = events.Scalars("student/accuracy")
    assert accuracy.value == pytest.approx(metrics["student"]["accuracy"])
    steps = [event.step for tag in ("loss/g0/p1-r1", "loss/g0/p2-r1", "loss/student") for event in events.Scalars(tag)]
    assert steps == sorted(set(steps))
    (written,) = (tmp_path / "run" / "tensorboard").rglob("hparams.yml")
    settings = written.read_text(encoding="utf-8")
    assert "student_steps: 4" in settings or "steps: 4" in settings
    assert str(tmp_path) not in settings  # names of files are nobody's business
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    pet("run", tmp_path / "run" / "config.yaml", "-q")  # a tracker is not a setting of the run
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


def test_a_curve_is_logged_once_whether_it_was_seen_or_not() -> None:
    kept = Recorder()
    reporter = Reporter("quiet")
    tracking = Tracking([kept], reporter)
    reporter.watch = tracking.progress
    with reporter.task("train g0/p1-r1", 2) as bar:
        bar.update(loss=2.0)
        bar.update(loss=None)
        bar.update(loss=1.0)
    weights = [{"name": "p1-r1", "losses": [2.0, 1.0]}, {"name": "p2-r1", "losses": [3.0, None]}]
    results = {"student": {"accuracy": 0.5, "label": "x"}, "generations": [{"texts": 4}]}
    tracking.finish(results, {"weights": weights})
    assert kept.rows == [
        (1, {"loss/g0/p1-r1": 2.0}),
        (2, {"loss/g0/p1-r1": 1.0}),
        (3, {"loss/g0/p2-r1": 3.0}),
        (4, {"generation/texts": 4}),
        (5, {"student/accuracy": 0.5}),
    ]


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Recorder):
        name = "mlflow"

        def log(self, values: dict[str, Any], step: int) -> None:
            raise ConnectionError("no server\nthere")

    kept = Recorder()
    tracking = Tracking([Broken(), kept], Reporter("quiet"))
    for number in range(3):
        tracking.progress("train student", number, {"loss": 1.0})
    assert len(kept.rows) == 3
    assert capsys.readouterr().err.count("--track mlflow") == 1


def test_names_of_values_have_only_characters_that_every_tracker_takes() -> None:
    kept = Recorder()
    Tracking([kept], Reporter("quiet")).finish({"class_ratio": {"pool": {"gut?": 0.5}}}, {})
    assert kept.rows == [(1, {"class_ratio/pool/gut_": 0.5})]


def test_unknown_trackers_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    command = ("run", inputs / "task.yaml", "--train", "missing.jsonl", "-o", tmp_path / "run", "--track", "visdom")
    message = refused(*command)
    assert "visdom" in message and "tensorboard" in message and "missing.jsonl" not in message
