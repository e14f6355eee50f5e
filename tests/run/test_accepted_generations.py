"""iPET with its default selection: what is chosen, which generation is used, and resuming."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_run import QUICK, interrupted, pet, refused, same_files, write_inputs, write_rows
from tiny_text import LABELS, SENTENCES, news_rows

from pet.ensemble.pseudo_labels import read_pseudo_labels
from pet.ipet.acceptance import Decision
from pet.numerics import log_softmax
from pet.recipe import make_recipe
from pet.run import acceptance


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labeled texts, two of each label, and a pool of some sixty."""
    folder = write_inputs(tmp_path_factory.mktemp("ranked") / "in")
    rows = news_rows()
    write_rows(folder / "train.jsonl", rows[:8])
    texts = [{"id": f"s{i}", "text": line} for i, line in enumerate(SENTENCES.splitlines())]
    write_rows(folder / "pool.jsonl", [{"id": row["id"], "text": row["text"]} for row in rows[8:28]] + texts)
    return folder


def options(inputs: Path, model: Path, *more: str, labeled: bool = True) -> list[str]:
    data = ["--unlabeled", str(inputs / "pool.jsonl"), "--test", str(inputs / "test.jsonl")]
    data += ["--train", str(inputs / "train.jsonl")] if labeled else []
    sizes = ["--set", "growth=2", "--set", "first_set=4", "--set", "generations=2"]
    run = ["run", str(inputs / "task.yaml"), "--method", "ipet", *data, "--model", str(model)]
    return [*run, *QUICK, *sizes, *more]


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def trusted() -> Iterator[None]:
    """Trust the classifier on embeddings, although tiny models know nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acceptance, "TRUST", -1.0)
        yield


@pytest.fixture(scope="module")
def finished(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "run"
    pet(*options(inputs, tiny_model), "-q", "-o", folder)
    return folder


def test_at_most_a_share_of_the_pool_is_chosen_each_text_once_with_a_label_of_the_others(finished: Path):
    wanted = json.loads((finished / "manifest.json").read_text())["stages"]["g1/examples"]["info"]["wanted"]
    assert sum(wanted) == 8
    for name, other in (("p1-r1", "p2-r1"), ("p2-r1", "p1-r1")):
        rows, labels, _ = read_pseudo_labels(finished / "g1" / "examples" / f"{name}.parquet", LABELS)
        assert len(set(rows.tolist())) == len(rows) and 0 < len(rows) <= 8
        scores = np.load(finished / "g0" / other / "pool-logits.npy")
        assert (scores[rows].argmax(axis=1) == labels).all()


def test_the_decision_is_in_the_metrics_the_csv_and_the_report(finished: Path):
    found = results(finished)
    first, second = found["generations"]
    assert first["accepted"] is True and "evidence" not in first and "ended" not in first
    names = [item["name"] for item in second["evidence"]]
    assert acceptance.CLASSIFIER in names
    assert found["generation"] == (1 if second["accepted"] else 0)
    with (finished / "generations.csv").open(encoding="utf-8", newline="") as file:
        totals = [row for row in csv.DictReader(file) if not row["label"]]
    assert [row["accepted"] for row in totals] == ["yes", "yes" if second["accepted"] else "no"]
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert ("Accepted: " if second["accepted"] else "Not accepted: ") in page


@pytest.mark.parametrize(("accepted", "used"), [(True, 1), (False, 0)])
def test_a_rejected_generation_ends_the_run_with_the_one_before(
    accepted: bool, used: int, inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    decision = Decision(accepted, "because of this")
    monkeypatch.setattr(acceptance, "decide", lambda *_: decision)
    said = pet(*options(inputs, tiny_model, "--set", "generations=3"), "-o", tmp_path / "run").stderr
    found = results(tmp_path / "run")
    assert len(found["generations"]) == (3 if accepted else 2)
    assert found["generation"] == (2 if accepted else 0)
    lines = [line for line in said.splitlines() if "because of this" in line]
    assert len(lines) == (0 if accepted else 1)
    if not accepted:
        assert "generation 1" in lines[0] and "generation 0" in lines[0]
        stages = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]
        assert stages["student"]["info"]["generation"] == used


def test_a_run_ends_if_nothing_can_judge_the_next_generation(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(acceptance, "TRUST", 1.01)
    monkeypatch.setattr("pet.run.held_out.FEWEST_TEXTS", 8)  # members leave out texts, which are not enough
    more = ("--set", "merge=learned", "--set", "quick_members=false")
    said = pet(*options(inputs, tiny_model, *more), "-o", tmp_path / "run").stderr
    found = results(tmp_path / "run")
    assert found["generation"] == 0 and len(found["generations"]) == 1
    assert "accept=always" in found["generations"][0]["ended"] and "accept=always" in said
    assert not (tmp_path / "run" / "g1").exists()
    assert "The last generation: " in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_without_labels_the_first_trained_generation_is_used_and_the_next_one_is_judged(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pet.ipet.acceptance.DRIFT", 1.0)
    pet(*options(inputs, tiny_model, labeled=False), "-q", "-o", tmp_path / "run")
    untrained, first, second = results(tmp_path / "run")["generations"]
    assert not untrained["trained"] and first["trained"]
    assert first["accepted"] and first["evidence"] == []  # every trained generation is better than none
    assert [item["name"] for item in second["evidence"]] == [acceptance.CLASSIFIER]


def test_without_an_accepted_generation_keep_best_keeps_the_untrained_patterns(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(acceptance, "decide", lambda *_: Decision(False, "because of this"))
    pet(*options(inputs, tiny_model, "--set", "keep_best=true", labeled=False), "-q", "-o", tmp_path / "run")
    assert results(tmp_path / "run")["generation"] == 0


def test_without_labels_a_run_can_end_with_the_untrained_patterns(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They are the members of generation 0: no classifiers on embeddings or words, and every pattern once."""
    monkeypatch.setattr(acceptance, "decide", lambda *_: Decision(False, "because of this"))
    more = ("--set", "quick_members=true", "--set", "repetitions=2")
    pet(*options(inputs, tiny_model, *more, labeled=False), "-q", "-o", tmp_path / "run")
    found = results(tmp_path / "run")
    assert found["generation"] == 0 and [*found["members"]] == ["p1-r1", "p2-r1"]
    assert 0 <= found["ensemble"]["accuracy"] <= 1 and "predicted" in found["class_ratio"]


def test_labeled_texts_that_members_left_out_are_evidence(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pet.run.held_out.FEWEST_TEXTS", 8)
    more = ("--set", "merge=learned", "--set", "quick_members=false", "-q")
    pet(*options(inputs, tiny_model, *more), "-o", tmp_path / "run")
    found = {item["name"]: item for item in results(tmp_path / "run")["generations"][1]["evidence"]}
    gold = [LABELS.index(json.loads(line)["label"]) for line in (inputs / "train.jsonl").read_text().splitlines()]
    for generation, figure in ((0, "before"), (1, "after")):
        stages = tmp_path / "run" / f"g{generation}"
        scores = np.stack([np.load(stages / name / "train-logits.npy") for name in ("p1-r1", "p2-r1")])
        known = np.flatnonzero(~np.isnan(scores).any(axis=2).all(axis=0))
        each = [log_softmax(2.0**power * scores)[:, known, np.array(gold)[known]] for power in range(-3, 4)]
        best = np.nanmean(each, axis=1).mean(axis=1).max()
        assert found[acceptance.LABELED][figure] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize(
    ("texts", "merge", "cure"),
    [
        (8, "uniform", "give at least 24 labeled texts and use --set merge=learned, or use --set accept=always"),
        (8, "learned", "give at least 24 labeled texts, or use --set accept=always"),
        (30, "uniform", "use --set merge=learned, or use --set accept=always"),
        (0, "uniform", "give at least 24 labeled texts and use --set merge=learned, or use --set accept=always"),
        (30, "learned", ""),
    ],
)
def test_several_labels_per_text_need_labeled_texts_that_members_leave_out(texts: int, merge: str, cure: str):
    context: Any = SimpleNamespace(
        task=SimpleNamespace(multi_label=True),
        recipe=make_recipe("default", {"merge": merge}),
        settings=SimpleNamespace(trains_members=True),
        has=lambda part: texts > 0,
        texts=lambda part: type(
            "Labeled", (), {"labels": np.eye(2)[np.arange(texts) % 2], "__len__": lambda _: texts}
        )(),
    )
    plan: Any = SimpleNamespace(labeled=texts > 0)
    members: Any = [SimpleNamespace(generation=1, spec=SimpleNamespace(kind="pattern"))]
    said = acceptance.Acceptance(context, plan, view=Any).cannot_judge(members)
    assert said.partition("; ")[2] == cure and bool(said) == bool(cure)


def test_a_generation_that_is_only_less_sure_of_the_same_labels_is_no_better(monkeypatch: pytest.MonkeyPatch):
    gold, sure = np.array([0, 1, 1, 0]), np.array([[3.0, 0.0], [0.0, 2.0], [np.nan, np.nan], [0.0, 1.0]])
    context: Any = SimpleNamespace(texts=lambda part: SimpleNamespace(labels=gold))
    judge = acceptance.Acceptance(context, plan=Any, view=Any)
    monkeypatch.setattr(judge, "_judges", lambda members: members)
    monkeypatch.setattr(acceptance, "member_scores", lambda context, members, part: members)
    found = [judge._left_out([factor * sure]) for factor in (4.0, 1.0)]
    np.testing.assert_allclose(found[0], found[1])
    assert np.isnan(found[0]).tolist() == [False, False, True, False]


@pytest.mark.parametrize("made", [7, 12])
def test_an_interrupted_run_resumes_to_the_same_bytes(
    made: int, finished: Path, inputs: Path, tiny_model: Path, tmp_path: Path
):
    run = (*options(inputs, tiny_model), "-q", "-o", tmp_path / "run")
    interrupted(made, *run)
    pet(*run)
    same_files(tmp_path / "run", finished)


def test_a_pool_without_a_text_that_is_sure_enough_is_one_message(inputs: Path, tiny_model: Path, tmp_path: Path):
    write_rows(tmp_path / "one.jsonl", news_rows()[:1])
    run = ["run", inputs / "task.yaml", "--method", "ipet", "--unlabeled", tmp_path / "one.jsonl", *QUICK]
    sizes = ["--set", "generations=2", "--set", "quick_members=false", "--set", "confidence_floor=0.99"]
    assert "give more texts" in refused(*run, *sizes, "--model", tiny_model, "-q", "-o", tmp_path / "run")
