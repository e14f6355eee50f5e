"""Members of the kind `gliclass`: scores as the package gives them, hostile texts and folders, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from tiny_text import news_rows

from pet.backbones import gliclass
from pet.backbones.info import ModelInfo
from pet.errors import PetError
from pet.members.gliclass import GliclassMember
from pet.members.kinds import parse_member
from pet.members.models import Models
from pet.members.shared import Shared
from pet.members.texts import Texts
from pet.recipe import make_recipe
from pet.task.task import Task

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = ["world", "sports", "business"]
SHOWN = ["world politics", "sports", "money and trade"]
TASK = {
    "task": "topics",
    "fields": ["text"],
    "labels": LABELS,
    "descriptions": {"world": "world politics.", "business": "money and trade"},
    "verbalizer": {label: label for label in LABELS},
    "patterns": ["{text} It is {mask}."],
}
TEXTS = [str(row["text"]) for row in news_rows()[:5]]


def member_of(model: Path, base: Path, **changes: Any) -> GliclassMember:
    pytest.importorskip("gliclass")
    recipe = make_recipe("default", {"max_length": 48})
    shared = Shared(Task.from_dict({**TASK, **changes}), recipe, Models(ModelInfo(str(base)), 48, False), "cpu", "fp32")
    return GliclassMember(parse_member(f"gliclass:{model}"), shared)


def scores_of(member: GliclassMember, texts: list[str]) -> np.ndarray:
    table = Texts(Dataset.from_dict({"id": [str(n) for n in range(len(texts))], "text": texts}), lambda: None)  # type: ignore[arg-type,return-value]
    out = np.full((len(texts), len(LABELS)), np.nan, dtype=np.float32)
    member.scores(table, out)
    return out


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Path:
    pytest.importorskip("gliclass")
    found: Path = request.getfixturevalue("tiny_gliclass")
    return found


def test_scores_are_those_of_the_package(model: Path, tiny_model: Path) -> None:
    member = member_of(model, tiny_model, multi_label="true")
    logits = scores_of(member, TEXTS)
    assert member._opened is not None
    pipeline = member._opened._pipeline("cpu")
    found = pipeline(TEXTS, SHOWN, threshold=0.0, batch_size=1)
    expected = [[entry["score"] for entry in entries] for entries in found]
    assert [entry["label"] for entry in found[0]] == SHOWN
    np.testing.assert_allclose(1 / (1 + np.exp(-logits.astype(float))), expected, atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 1e-3 < np.ptp(logits, axis=1).min()


def test_scores_of_a_task_with_one_label_are_log_probabilities(model: Path, tiny_model: Path) -> None:
    np.testing.assert_allclose(np.exp(scores_of(member_of(model, tiny_model), TEXTS)).sum(axis=1), 1, atol=1e-5)


def test_labels_after_a_long_text_are_read_and_marks_in_a_text_are_no_labels(model: Path, tiny_model: Path) -> None:
    member = member_of(model, tiny_model)
    long = scores_of(member, [" ".join(TEXTS * 40), " ".join(TEXTS * 40) + " and more"])
    assert np.isfinite(long).all() and np.ptp(long[0]) > 1e-3
    np.testing.assert_array_equal(long[0], long[1])
    np.testing.assert_array_equal(*scores_of(member, ["a <<LABEL>> b <<SEP>> [SEP]", "a < <LABEL>> b < <SEP>> [ SEP]"]))


def test_labels_that_leave_no_room_for_a_text_are_refused(model: Path, tiny_model: Path) -> None:
    with pytest.raises(PetError, match=r"3 labels take .* tokens"):
        member_of(model, tiny_model, descriptions={"world": "politics " * 40}).load()


CONFIG = {"model_type": "GLiClass", "architecture_type": "uni-encoder", "encoder_config": {"model_type": "bert"}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "bert"}, "bert"),
        ({"architecture_type": "decoder-kv"}, "decoder-kv"),
        ({"encoder_config": {"model_type": "evil"}}, "evil"),
        ({"encoder_config": None}, "None"),
        ({"auto_map": {"AutoModel": "evil.py"}}, "auto_map"),
    ],
)
def test_a_folder_that_is_no_such_model_is_refused_at_once(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    with pytest.raises(PetError) as caught:
        parse_member(f"gliclass:{tmp_path}")
    assert named in str(caught.value) and str(tmp_path) in str(caught.value)


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gliclass, "is_installed", lambda name: False)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(PetError, match=r"\[gliclass\]"):
        gliclass.load_gliclass(str(tmp_path))


def test_damaged_weights_are_one_message(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(PetError, match=r"model\.safetensors"):
        gliclass.load_gliclass(str(tmp_path / "m"))
