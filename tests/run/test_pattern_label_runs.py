"""Runs whose members also learn from texts that untrained patterns label."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import contents, pet, run_options, write_inputs

from pet.errors import PetError
from pet.members import pattern_labels
from pet.run.pattern_labels import read_pattern_labels

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = ["--set", "student_steps=1", "--set", "steps=2"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in")


def seen(run: Path) -> list[int]:
    """Return the number of texts that each pattern learned from."""
    return [json.loads((run / "g0" / name / "member.json").read_text())["labeled"] for name in ("p1-r1", "p2-r1")]


def test_members_learn_from_both_and_a_resumed_run_is_the_same(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern_labels, "know_enough", lambda *_: True)
    run, options = tmp_path / "run", [*run_options(inputs, tiny_model, parts=["train", "unlabeled"]), *FEW]
    pet(*options, "-o", run)
    table, pool = (pq.read_table(run / "g0" / name) for name in ("examples/texts.parquet", "labels.parquet"))
    assert 0 < table.num_rows <= 0.4 * pool.num_rows
    assert min(seen(run)) > table.num_rows
    before = contents(run)
    (run / "g0" / "p2-r1" / "model.safetensors").unlink()
    pet(*options, "-o", run)
    assert contents(run) == before


def test_bad_patterns_label_nothing_and_the_setting_turns_it_off(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern_labels, "know_enough", lambda *_: False)
    options = [*run_options(inputs, tiny_model, parts=["train", "unlabeled"]), *FEW]
    said = pet(*options, "-o", tmp_path / "bad").stderr
    assert "members learn from labeled texts only" in said
    pet(*options, "--set", "pattern_labels=0", "-o", tmp_path / "off")
    assert not (tmp_path / "off" / "g0" / "examples").exists()
    assert seen(tmp_path / "bad") == seen(tmp_path / "off")


@pytest.mark.parametrize("columns", [{"row": [5], "label": ["a"]}, {"row": [0], "label": ["z"]}, {"row": [0]}])
def test_a_file_with_other_texts_or_labels_is_named(columns: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "g0" / "examples" / "texts.parquet"
    path.parent.mkdir(parents=True)
    context: Any = SimpleNamespace(
        directory=SimpleNamespace(path=tmp_path), task=SimpleNamespace(labels=["a", "b"]), texts=lambda part: range(5)
    )
    sure = {"probabilities": [[0.1, 0.9], [0.8, 0.2]]}
    pq.write_table(pa.table({"row": [4, 0], "label": ["b", "a"], **sure}), path)
    assert [part.tolist() for part in read_pattern_labels(context)] == [[4, 0], [1, 0]]
    pq.write_table(pa.table({**columns, "probabilities": sure["probabilities"][:1]}), path)
    with pytest.raises(PetError, match=r"texts\.parquet.*--from"):
        read_pattern_labels(context)
