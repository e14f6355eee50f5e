"""``--track`` with the real libraries, without a network: what arrives, and what does not."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import pet, run_options, write_inputs

from pet.run.trackers import knows_wandb

VARIABLES = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without logins, which is also the working directory."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "")  # so that it is as before afterwards
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def tracked(place: Path, model: Path, tracker: str) -> float:
    """Run once with a tracker; return the accuracy of the student."""
    inputs = write_inputs(place / "in")
    result = pet(*run_options(inputs, model), "--track", tracker, "--json", "-o", place / "run")
    figures = json.loads(result.stdout)  # no tracker prints anything there
    accuracy: float = figures["student"]["accuracy"]
    return accuracy


def secrets(place: Path) -> list[bytes]:
    """What no tracker may get: a text, and the names of files."""
    first = json.loads((place / "in" / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    return [first["text"].encode(), b"train.jsonl", b"task.yaml"]


@pytest.mark.slow
def test_wandb_without_a_login_is_offline_and_gets_no_names_of_files(place: Path, tiny_model: Path) -> None:
    pytest.importorskip("wandb")
    accuracy = tracked(place, tiny_model, "wandb")
    (written,) = (place / "run" / "wandb").rglob("*.wandb")
    content = written.read_bytes()
    assert b"student/accuracy" in content and repr(accuracy).encode()[:6] in content
    assert b"loss/g0/p1-r1" in content and b"student_steps" in content
    everything = b"".join(path.read_bytes() for path in (place / "run" / "wandb").rglob("*") if path.is_file())
    assert [secret for secret in secrets(place) if secret in everything] == []


@pytest.mark.slow
def test_mlflow_gets_settings_and_figures_and_sends_no_telemetry(
    place: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place.as_posix()}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{place.as_posix()}/mlflow.db")
    accuracy = tracked(place, tiny_model, "mlflow")
    (run,) = mlflow.search_runs(experiment_names=["pet"], output_format="list")
    assert run.data.metrics["student/accuracy"] == pytest.approx(accuracy)
    assert run.data.params["student_steps"] == "4" and run.info.run_name == "run"
    assert mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss/g0/p1-r1")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert not any(str(place) in value for value in run.data.params.values())


@pytest.mark.slow
def test_trackio_writes_to_its_folder_on_this_machine(place: Path, tiny_model: Path) -> None:
    pytest.importorskip("trackio")
    accuracy = tracked(place, tiny_model, "trackio")
    (database,) = place.rglob("pet.db")
    with sqlite3.connect(database) as connection:
        rows = [json.loads(row[0]) for row in connection.execute("SELECT metrics FROM metrics ORDER BY step")]
    assert any("loss/g0/p1-r1" in row for row in rows)
    assert [row["student/accuracy"] for row in rows if "student/accuracy" in row] == [pytest.approx(accuracy)]
    content = database.read_bytes()
    assert [secret for secret in secrets(place) if secret in content] == []


def test_a_login_or_a_mode_of_wandb_is_respected(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not knows_wandb()
    (place / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password x\n", encoding="utf-8")
    assert knows_wandb()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not knows_wandb()
    monkeypatch.setenv("WANDB_MODE", "online")
    assert knows_wandb()
