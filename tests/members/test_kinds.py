"""The seam: every kind of member is made, fitted, saved, opened, and scores alike."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from fake_server import FakeServer, fake_server, knowing
from tiny_text import LABELS, news_rows

from pet.backbones.info import ModelInfo
from pet.errors import Notice, PetError
from pet.members.kinds import KINDS, NAMED, NOTE, fit_scorer, make_scorer, open_scorer, parse_member, read_spec
from pet.members.models import Models
from pet.members.seam import MemberData
from pet.members.shared import Shared
from pet.members.spec import MemberSpec, pattern_spec
from pet.members.texts import Texts
from pet.recipe import make_recipe
from pet.student.classifier import new_classifier
from pet.task.task import Task
from pet.teachers.access import Access

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = news_rows()
SETTINGS = {
    "teacher_examples": 0,
    "teacher_calibrate": False,
    "steps": 2,
    "supervised_steps": 2,
    "labeled_batch": 2,
    "unlabeled_batch": 1,
    "max_length": 48,
}
TASK = {
    "task": "topics",
    "fields": ["text"],
    "labels": list(LABELS),
    "verbalizer": {label: label.lower() for label in LABELS},
    "patterns": ["{mask}: {text}", "{text} It is {mask}."],
}


def _texts(shared: Shared, start: int, stop: int) -> Texts:
    rows = ROWS[start:stop]
    columns = {name: [row[name] for row in rows] for name in ("id", "text")}
    columns["label"] = [LABELS.index(row["label"]) for row in rows]  # type: ignore[misc]
    return Texts(Dataset.from_dict(columns), lambda: shared.plan)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with fake_server(knowing({label.lower(): label for label in LABELS})) as running:
        yield running


@pytest.fixture(scope="module")
def shared_of(tiny_model: Path, server: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Shared]:
    cache = str(tmp_path_factory.mktemp("cache"))

    def make(**settings: Any) -> Shared:
        recipe = make_recipe("default", SETTINGS | {"learning_rate": 1e-3, "student_learning_rate": 1e-3} | settings)
        models = Models(ModelInfo(str(tiny_model)), 48, shared=not recipe.tuning.trains_backbone)
        shared = Shared(Task.from_dict(TASK), recipe, models, device="cpu", precision="fp32")
        shared.access = Access(frozenset([server.address]), cache=cache)
        return shared

    return make


@pytest.fixture(scope="module")
def nli_model(tiny_model: Path, shared_of: Callable[..., Shared], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model of natural-language inference."""
    folder, labels = tmp_path_factory.mktemp("nli"), ("entailment", "neutral", "contradiction")
    new_classifier(str(tiny_model), shared_of().text_input, labels, 48, seed=0).save(folder)
    (folder / "pet.json").unlink()
    return folder


@pytest.fixture
def spec_of(
    tmp_path: Path, server: FakeServer, nli_model: Path, request: pytest.FixtureRequest
) -> Callable[[str], MemberSpec]:
    def spec(kind: str) -> MemberSpec:
        if kind == "openai":
            pytest.importorskip("httpx2")
            return parse_member(f"openai:{server.address}")
        if kind == "external":
            lines = [json.dumps({"id": row["id"], "label": row["label"]}) + "\n" for row in ROWS]
            (tmp_path / "votes.jsonl").write_text("".join(lines))
            return parse_member(f"external:{tmp_path / 'votes.jsonl'}")
        if kind == "rules":
            lines = [json.dumps({"word": row["text"].split()[-1], "label": row["label"]}) + "\n" for row in ROWS]
            (tmp_path / "words.jsonl").write_text("".join(lines))
            return parse_member(f"rules:{tmp_path / 'words.jsonl'}")
        if kind == "gliclass":
            pytest.importorskip("gliclass")
            return parse_member(f"gliclass:{request.getfixturevalue('tiny_gliclass')}")
        if kind == "nli":
            return parse_member(f"nli:{nli_model}")
        return parse_member(kind) if kind in NAMED else pattern_spec(kind, 1, 0)

    return spec


@pytest.fixture
def fitted(
    shared_of: Callable[..., Shared], spec_of: Callable[[str], MemberSpec], tmp_path: Path
) -> Callable[..., Any]:
    def fit(kind: str, **settings: Any) -> tuple[Shared, MemberSpec, Path]:
        shared, spec = shared_of(**settings), spec_of(kind)
        folder = tmp_path / "g0" / spec.name
        folder.mkdir(parents=True)
        train, pool = _texts(shared, 0, 8), _texts(shared, 8, 20)
        data = MemberData([(train, np.arange(8))], train.labels, pool)
        fit_scorer(spec, make_scorer(spec, shared, seed=3), data, folder)
        return shared, spec, folder

    return fit


def _scored(shared: Shared, folder: Path) -> np.ndarray:
    texts = _texts(shared, 20, 30)
    out = np.full((10, len(LABELS)), 99, dtype=np.float32)
    seen: list[int] = []
    open_scorer(folder, shared).scores(texts, out, seen.append)
    assert sum(seen) == 10
    return out


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_an_opened_member_scores_every_text_and_repeats_its_scores(fitted: Callable[..., Any], kind: str) -> None:
    shared, spec, folder = fitted(kind)
    assert read_spec(folder) == spec
    assert open_scorer(folder, shared).name == spec.name
    first = _scored(shared, folder)
    assert np.isfinite(first).all() and (first != 99).all()
    np.testing.assert_array_equal(_scored(shared, folder), first)


@every_kind
def test_scores_are_the_same_in_another_process(
    fitted: Callable[..., Any], shared_of: Callable[..., Shared], kind: str
) -> None:
    shared, _, folder = fitted(kind)
    np.testing.assert_array_equal(_scored(shared_of(), folder), _scored(shared, folder))


@every_kind
def test_a_member_in_memory_needs_no_folder_and_can_be_pickled(fitted: Callable[..., Any], kind: str) -> None:
    shared, _, folder = fitted(kind)
    expected = _scored(shared, folder)
    assert shared.models.keep([folder])
    scorer = open_scorer(folder, shared)
    scorer.load()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink()
    again = pickle.loads(pickle.dumps(scorer))
    out = np.empty_like(expected)
    again.scores(_texts(shared, 20, 30), out)
    np.testing.assert_array_equal(out, expected)


@every_kind
def test_only_kinds_that_train_depend_on_the_labels(
    shared_of: Callable[..., Shared], spec_of: Callable[[str], MemberSpec], tmp_path: Path, kind: str
) -> None:
    scores = []
    for shift in (0, 1):
        shared, spec = shared_of(), spec_of(kind)
        train = _texts(shared, 0, 8)
        data = MemberData([(train, np.arange(8))], (train.labels + shift) % len(LABELS), None)
        folder = tmp_path / str(shift) / spec.name
        folder.mkdir(parents=True)
        fit_scorer(spec, make_scorer(spec, shared, seed=3), data, folder)
        scores.append(_scored(shared, folder))
    assert np.array_equal(*scores) is not KINDS[kind].trains


def test_a_teacher_says_how_many_texts_its_budget_is_enough_for(
    shared_of: Callable[..., Shared], spec_of: Callable[[str], MemberSpec], tmp_path: Path
) -> None:
    shared, spec = shared_of(), spec_of("openai")
    shared.access = replace(shared.access, cache=str(tmp_path / "empty"), max_calls=1 + 8 * 2 + 3 * 2)
    train, pool = _texts(shared, 0, 8), _texts(shared, 8, 20)
    data = MemberData([(train, np.arange(8))], train.labels, pool, known=(train, pool))
    with pytest.warns(Notice, match=r"--max-calls 23 .* 3 of 12 texts"):
        fit_scorer(spec, make_scorer(spec, shared), data, tmp_path)


@pytest.mark.parametrize("tuning", ["bitfit", "prompt", "prefix"])
def test_members_that_share_a_model_do_not_change_each_others_scores(fitted: Callable[..., Any], tuning: str) -> None:
    shared, _, folder = fitted("pattern", tuning=tuning, learning_rate=1e-2)
    alone = _scored(shared, folder)
    untrained = make_scorer(pattern_spec("untrained", 0, 0), shared)
    untrained.scores(_texts(shared, 20, 30), np.empty((10, len(LABELS)), dtype=np.float32))
    np.testing.assert_array_equal(_scored(shared, folder), alone)


def test_soft_labels_train_a_head_and_a_pattern(shared_of: Callable[..., Shared], tmp_path: Path) -> None:
    for spec in (parse_member("head"), pattern_spec("pattern", 0, 0)):
        shared = shared_of()
        train = _texts(shared, 0, 8)
        soft = np.full((8, len(LABELS)), 0.25, dtype=np.float32)
        (tmp_path / spec.name).mkdir()
        data = MemberData([(train, np.arange(8))], soft, None)
        report = fit_scorer(spec, make_scorer(spec, shared), data, tmp_path / spec.name)
        assert report.labeled == 8 and np.isfinite(report.losses).all()


def test_a_member_of_an_old_run_is_recognized_by_its_name(fitted: Callable[..., Any]) -> None:
    shared, _, folder = fitted("pattern")
    expected = _scored(shared, folder)
    note = json.loads((folder / NOTE).read_text())
    old = {key: note[key] for key in ("pattern", "verbalizer", "losses", "labeled")}
    (folder / NOTE).write_text(json.dumps(old))
    place = folder.rename(folder.with_name("p1-r0"))  # the second pattern, counted from 0
    assert read_spec(place).pattern == 1
    np.testing.assert_array_equal(_scored(shared, place), expected)


@pytest.mark.parametrize("options", [{}, {"pattern": 0}, {"pattern": 3, "repetition": 1}, {"pattern": "1"}])
def test_a_member_whose_pattern_is_not_in_the_task_is_refused(fitted: Callable[..., Any], options: Any) -> None:
    shared, _, folder = fitted("pattern")
    note = json.loads((folder / NOTE).read_text())
    (folder / NOTE).write_text(json.dumps(note | {"options": options}))
    with pytest.raises(PetError, match=r"p2-r1.*pattern"):
        _scored(shared, folder)


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"kind": "nobody", "name": "x", "options": {}}', '{"kind": 1}'])
def test_a_folder_without_a_member_is_refused(tmp_path: Path, note: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / NOTE).write_text(note)
    with pytest.raises(PetError, match=NOTE):
        read_spec(tmp_path / "x")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        *[
            ("hed", "head"),
            ("foo:x", "unknown kind 'foo'; known: embeddings"),
            ("external", "external:"),
            ("head:x", "head"),
            ("external:nowhere.csv", "nowhere.csv"),
        ],
        *[("", ""), ("Labels=head", "another name"), ("examples.x=tfidf", "another name")],  # a run has such files
    ],
)
def test_an_invalid_member_is_refused_with_the_cure(text: str, named: str) -> None:
    with pytest.raises(PetError) as caught:
        parse_member(text)
    assert named in str(caught.value)
