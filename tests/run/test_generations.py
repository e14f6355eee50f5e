"""iPET as a user runs it: files, reports, hard cases, resuming."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import QUICK, contents, interrupted, pet, refused, same_files, write_inputs, write_rows
from tiny_text import LABELS, SENTENCES, news_rows

from pet import PetClassifier
from pet.ensemble.pseudo_labels import read_pseudo_labels, write_pseudo_labels
from pet.errors import PetError

MEMBERS = ["p1-r1", "p2-r1"]
Finished = tuple[Path, str, str]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight labeled texts, two of each label; a pool of some sixty, gold.jsonl with the labels of 20 of them."""
    folder = write_inputs(tmp_path_factory.mktemp("ipet") / "in")
    rows = news_rows()
    write_rows(folder / "train.jsonl", rows[:8])
    texts = [{"id": f"s{i}", "text": line} for i, line in enumerate(SENTENCES.splitlines())]
    write_rows(folder / "pool.jsonl", [{"id": row["id"], "text": row["text"]} for row in rows[8:28]] + texts)
    write_rows(folder / "gold.jsonl", [{"id": row["id"], "label": row["label"]} for row in rows[8:28]])
    return folder


def options(inputs: Path, model: Path, *parts: str, more: tuple[str, ...] = ()) -> list[str]:
    files = {"train": "train.jsonl", "unlabeled": "pool.jsonl", "test": "test.jsonl", "pool-gold": "gold.jsonl"}
    data = [text for part in parts for text in (f"--{part}", str(inputs / files[part]))]
    sizes = ["--set", "growth=2", "--set", "generations=3", "--set", "first_set=4"]
    paper = ["--set", "selection=draw", "--set", "accept=always", "--set", "vote_share=0.25"]
    run = ["run", str(inputs / "task.yaml"), "--method", "ipet"]
    return [*run, *data, "--model", str(model), *QUICK, *sizes, *paper, *more]


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def finished(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run with a few labels and hidden ones; its folder and what it said."""
    folder = tmp_path_factory.mktemp("few") / "run"
    parts = ("train", "unlabeled", "test", "pool-gold")
    said = pet(*options(inputs, tiny_model, *parts, more=("--baselines",)), "-o", folder)
    return folder, said.stdout, said.stderr


@pytest.fixture(scope="module")
def no_labels(inputs: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("none") / "run"
    pet(*options(inputs, tiny_model, "unlabeled", "test", more=("--shots", "0")), "-q", "-o", folder)
    return folder


# ---- what is there at the end ----------------------------------------------------------------


def test_every_generation_writes_members_examples_and_labels(finished: Finished):
    folder = finished[0]
    assert sorted(p.name for p in folder.glob("g?")) == ["g0", "g1", "g2"]
    assert [p.name for p in (folder / "g0" / "examples").iterdir()] == ["texts.parquet"]
    for generation in ("g1", "g2"):
        chosen = sorted(p.name for p in (folder / generation / "examples").iterdir())
        assert chosen == ["p1-r1.parquet", "p2-r1.parquet"]
    for generation in ("g0", "g1", "g2"):
        assert (folder / generation / "labels.parquet").is_file()
        assert all((folder / generation / name / "model.safetensors").is_file() for name in MEMBERS)


def test_the_output_shows_generations_and_pet_as_a_baseline(finished: Finished):
    _, out, err = finished
    rows = [line.split()[0] for line in out.splitlines()[2:7]]
    assert rows == ["embeddings", "tfidf", "zero-shot", "supervised", "pet"]
    assert "ipet ensemble" in out and "ipet student" in out
    assert "pool accuracy" in out and "test accuracy" in out
    assert "generation 2: " in err and "pseudo-label accuracy" in err


def test_training_sets_grow_in_the_ratio_of_the_labels_without_duplicates(finished: Finished):
    folder = finished[0]
    info = json.loads((folder / "manifest.json").read_text())["stages"]
    for generation, wanted in ((1, [2, 2, 2, 2]), (2, [6, 6, 6, 6])):
        told = info[f"g{generation}/examples"]["info"]
        assert told["wanted"] == wanted
        for name in MEMBERS:
            rows, labels, _ = read_pseudo_labels(folder / f"g{generation}" / "examples" / f"{name}.parquet", LABELS)
            assert len(set(rows.tolist())) == len(rows)
            assert np.bincount(labels, minlength=4).tolist() == told["members"][name]["chosen"]
            available = told["members"][name]["available"]
            assert told["members"][name]["chosen"] == [min(w, a) for w, a in zip(wanted, available, strict=True)]


def test_a_member_learns_only_from_labels_of_other_members(finished: Finished):
    folder = finished[0]
    info = json.loads((folder / "manifest.json").read_text())["stages"]
    for generation in (1, 2):
        for name in MEMBERS:
            (other,) = info[f"g{generation}/examples"]["info"]["members"][name]["voters"]
            assert other != name
            scores = np.load(folder / f"g{generation - 1}" / other / "pool-logits.npy")
            rows, labels, probabilities = read_pseudo_labels(
                folder / f"g{generation}" / "examples" / f"{name}.parquet", LABELS
            )
            assert (scores[rows].argmax(axis=1) == labels).all()
            expected = np.exp(scores[rows]) / np.exp(scores[rows]).sum(axis=1, keepdims=True)
            assert probabilities == pytest.approx(expected, abs=1e-6)


def test_members_learn_from_labeled_and_chosen_texts(finished: Finished):
    folder = finished[0]
    chosen = pq.read_metadata(folder / "g2" / "examples" / "p1-r1.parquet").num_rows
    assert json.loads((folder / "g2" / "p1-r1" / "member.json").read_text())["labeled"] == 8 + chosen


def test_the_student_learns_from_the_last_generation_and_pet_from_the_first(finished: Finished):
    stages = json.loads((finished[0] / "manifest.json").read_text())["stages"]
    assert stages["student"]["info"]["generation"] == 2
    assert stages["baselines/pet/student"]["info"]["generation"] == 0
    assert results(finished[0])["generation"] == 2


def test_generations_csv_has_a_row_for_each_generation_and_label(finished: Finished):
    with (finished[0] / "generations.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["generation"], row["label"]) for row in rows] == [
        (str(g), label) for g in range(3) for label in ("", *LABELS)
    ]
    totals = [row for row in rows if not row["label"]]
    assert totals[0]["changed"] == ""
    assert all(0 <= float(row["changed"]) <= 1 for row in totals[1:])
    assert all(0 <= float(row["pool_accuracy"]) <= 1 for row in totals)
    for generation in range(3):
        shares = [float(r["share"]) for r in rows if r["label"] and r["generation"] == str(generation)]
        assert sum(shares) == pytest.approx(1)


def test_figures_of_a_generation_agree_with_its_files(finished: Finished, inputs: Path):
    folder = finished[0]
    gold = {row["id"]: row["label"] for row in map(json.loads, (inputs / "gold.jsonl").read_text().splitlines())}
    entry = results(folder)["generations"][2]
    now, before = (pq.read_table(folder / g / "labels.parquet").to_pylist() for g in ("g2", "g1"))
    right = [row["label"] == gold[row["id"]] for row in now if row["id"] in gold]
    assert entry["gold"]["accuracy"] == pytest.approx(np.mean(right))
    assert entry["pool"]["agreement"] == pytest.approx(np.mean([row["agreement"] for row in now]))
    changed = [a["label"] != b["label"] for a, b in zip(now, before, strict=True)]
    assert entry["pool"]["changed"] == pytest.approx(np.mean(changed))
    chosen = [pq.read_table(p).to_pylist() for p in sorted((folder / "g2" / "examples").iterdir())]
    right = [row["label"] == gold[row["id"]] for rows in chosen for row in rows if row["id"] in gold]
    assert entry["gold"]["chosen_accuracy"] == pytest.approx(np.mean(right))


def test_the_report_shows_the_generations(finished: Finished):
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="generations">' in page and "<h3>Generation 2</h3>" in page


def test_a_finished_run_labels_new_texts_with_the_last_generation(finished: Finished, inputs: Path, tmp_path: Path):
    pet("label", finished[0], "--input", inputs / "pool.jsonl", "-o", tmp_path / "labels.parquet", "-q")
    now = pq.read_table(tmp_path / "labels.parquet", columns=["id", "label"])
    then = pq.read_table(finished[0] / "g2" / "labels.parquet", columns=["id", "label"])
    kept = dict(zip(*then.to_pydict().values(), strict=True))
    assert {k: v for k, v in zip(*now.to_pydict().values(), strict=True) if k in kept} == kept


# ---- hidden labels ---------------------------------------------------------------------------


def test_pool_gold_changes_only_the_reports(finished: Finished, inputs: Path, tiny_model: Path, tmp_path: Path):
    """The same run with wrong hidden labels, or none, has the same bytes in every file but the reports."""
    expected = contents(finished[0])
    wrong = [json.loads(line) for line in (inputs / "gold.jsonl").read_text().splitlines()]
    for row in wrong:
        row["label"] = LABELS[(LABELS.index(row["label"]) + 1) % 4]
    gold = write_rows(tmp_path / "wrong.jsonl", wrong)
    run = options(inputs, tiny_model, "train", "unlabeled", "test", more=("--baselines", "-q"))
    pet(*run, "--pool-gold", gold, "-o", tmp_path / "wrong")
    pet(*run, "-o", tmp_path / "without")
    told = {"metrics.json", "generations.csv", "report.html"}
    for name in ("wrong", "without"):
        found = contents(tmp_path / name)
        assert sorted(found) == sorted(expected)
        assert {file for file in expected if found[file] != expected[file]} == told
    assert "gold" not in results(tmp_path / "without")["generations"][0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "other", "label": "World"}], "gold.jsonl"),
        ([{"id": "s0", "label": "World", "text": "Another text."}], "id 's0'"),
        ([{"label": "World"}], "id"),
        ([{"id": "s0", "label": "Weather"}], "Weather"),
    ],
)
def test_pool_gold_that_does_not_match_the_pool_is_refused(
    rows, message, inputs: Path, tiny_model: Path, tmp_path: Path
):
    gold = write_rows(tmp_path / "gold.jsonl", rows)
    run = options(inputs, tiny_model, "train", "unlabeled")
    assert message in refused(*run, "--pool-gold", gold, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pool_gold_requires_ipet(inputs: Path, tiny_model: Path, tmp_path: Path):
    run = options(inputs, tiny_model, "train", "unlabeled", "pool-gold")
    run[run.index("ipet")] = "pet"
    assert "--method ipet" in refused(*run, "-o", tmp_path / "run")


# ---- without labels --------------------------------------------------------------------------


def test_without_labels_the_first_generation_is_untrained(no_labels: Path):
    stages = json.loads((no_labels / "manifest.json").read_text())["stages"]
    assert stages["g0/p1-r1"]["info"]["kind"] == "untrained" and "g0/untrained" not in stages
    history = results(no_labels)["generations"]
    assert [entry["trained"] for entry in history] == [False, True, True, True]
    assert [sum(entry.get("wanted", [])) for entry in history] == [0, 4, 8, 16]
    assert history[1]["chosen"] == [1, 1, 1, 1]  # the best of each label, predicted or not
    assert stages["g3/labels"]["info"]["weights"] == [0.5, 0.5]
    assert (no_labels / "student" / "model.safetensors").is_file()


def test_first_training_set_without_labels_has_the_most_probable_texts_of_the_other_pattern(no_labels: Path):
    scores = np.load(no_labels / "g0" / "p2-r1" / "pool-logits.npy").astype(np.float64)
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows, labels, _ = read_pseudo_labels(no_labels / "g1" / "examples" / "p1-r1.parquet", LABELS)
    best = probabilities.argmax(axis=0)
    assert len(set(best.tolist())) == 4  # no text is the best of two labels here
    assert dict(zip(labels.tolist(), rows.tolist(), strict=True)) == dict(enumerate(best.tolist()))


def test_a_run_without_training_file_equals_a_run_with_zero_shots(
    no_labels: Path, inputs: Path, tiny_model: Path, tmp_path: Path
):
    run = options(inputs, tiny_model, "train", "unlabeled", "test", more=("--shots", "0", "-q"))
    pet(*run, "-o", tmp_path / "run")
    assert (tmp_path / "run/g3/labels.parquet").read_bytes() == (no_labels / "g3/labels.parquet").read_bytes()


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("row", [0, 3]),
        ("row", [-1, 2]),
        ("row", ["a", "b"]),
        ("label", ["World", "Nonsense"]),
        ("label", ["World", None]),
        ("probabilities", [[0.5, 0.5], [0.5, float("nan")]]),
        ("probabilities", [[1.0], [0.5, 0.5]]),
        ("probabilities", ["x", "y"]),
        ("labels", [["World"], ["Nonsense"]]),
        ("labels", [["World"], None]),
    ],
)
def test_pseudo_labels_that_are_not_those_of_the_run_are_refused(column: str, values: list[Any], tmp_path: Path):
    path, labels = tmp_path / "p1-r1.parquet", ["World", "Sports"]
    ids, half = pa.array(["a", "b", "c"]), np.full((2, 2), 0.5)
    write_pseudo_labels(path, np.array([0, 2]), np.array([0, 1]), ids, half, labels)
    assert read_pseudo_labels(path, labels, 3)[0].tolist() == [0, 2]
    table = pq.read_table(path).to_pydict() | {column: values}
    pq.write_table(pa.table(table), path)
    with pytest.raises(PetError, match=re.escape(str(path))) as refusal:
        read_pseudo_labels(path, labels, 3)
    assert f"delete {tmp_path}" in str(refusal.value)


# ---- resuming --------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [1, 8, 11, 16])
def test_a_run_interrupted_between_any_stages_resumes_to_the_same_bytes(
    made: int, finished: Finished, inputs: Path, tiny_model: Path, tmp_path: Path
):
    run = options(inputs, tiny_model, "train", "unlabeled", "test", "pool-gold", more=("--baselines", "-q"))
    interrupted(made, *run, "-o", tmp_path / "run")
    pet(*run, "-o", tmp_path / "run")
    same_files(tmp_path / "run", finished[0])


# ---- options beyond the paper ----------------------------------------------------------------


def run_with(inputs: Path, model: Path, folder: Path, *more: str, parts: tuple[str, ...] = ("train", "unlabeled")):
    said = pet(*options(inputs, model, *parts, more=("--set", "generations=2", *more)), "-o", folder)
    return said.stderr


def test_no_example_is_below_the_confidence_floor(inputs: Path, tiny_model: Path, tmp_path: Path):
    said = run_with(inputs, tiny_model, tmp_path / "run", "--set", "confidence_floor=0.3")
    tables = [pq.read_table(path) for path in (tmp_path / "run").glob("g*/examples/*.parquet")]
    assert tables and all(value >= 0.3 for table in tables for value in table["confidence"].to_pylist())
    assert any("generation 1" in line for line in said.splitlines() if line.startswith("warning"))


def test_a_confidence_floor_that_no_text_reaches_adds_none_or_is_refused_without_labels(
    inputs: Path, tiny_model: Path, tmp_path: Path
):
    said = run_with(inputs, tiny_model, tmp_path / "few", "--set", "confidence_floor=1")
    assert any("generation 1" in line for line in said.splitlines() if line.startswith("warning"))
    chosen = [pq.read_metadata(path).num_rows for path in (tmp_path / "few").glob("g*/examples/*.parquet")]
    assert chosen and not any(chosen)  # only the labeled texts are left to learn from
    run = options(inputs, tiny_model, "unlabeled", more=("--set", "confidence_floor=1", "-q"))
    assert "confidence_floor" in refused(*run, "-o", tmp_path / "none")


def test_selection_top_takes_the_most_probable_texts_of_each_label(inputs: Path, tiny_model: Path, tmp_path: Path):
    run_with(inputs, tiny_model, tmp_path / "run", "--set", "selection=top")
    scores = np.load(tmp_path / "run" / "g0" / "p2-r1" / "pool-logits.npy").astype(np.float64)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    rows, labels, _ = read_pseudo_labels(tmp_path / "run" / "g1" / "examples" / "p1-r1.parquet", LABELS)
    assert np.bincount(labels).tolist() == [2, 2, 2, 2]
    for label in range(4):
        worst = probabilities[rows[labels == label], label].min()
        better = set(np.flatnonzero(probabilities[:, label] > worst).tolist())
        assert better <= set(rows.tolist())


def test_soft_targets_change_the_members_and_not_the_examples(
    finished: Finished, inputs: Path, tiny_model: Path, tmp_path: Path
):
    run_with(inputs, tiny_model, tmp_path / "run", "--set", "soft_targets=true")
    for name, same in (("g1/examples/p1-r1.parquet", True), ("g1/p1-r1/model.safetensors", False)):
        assert ((tmp_path / "run" / name).read_bytes() == (finished[0] / name).read_bytes()) is same


def test_without_restart_members_continue_from_the_last_generation(
    finished: Finished, inputs: Path, tiny_model: Path, tmp_path: Path
):
    run_with(inputs, tiny_model, tmp_path / "run", "--set", "restart=false", "--set", "learning_rate=1e-12")
    first, second = ((tmp_path / "run" / g / "p1-r1" / "model.safetensors") for g in ("g0", "g1"))
    weights = [np.frombuffer(p.read_bytes()[-4096:], dtype=np.float32) for p in (first, second)]
    assert weights[0] == pytest.approx(weights[1], abs=1e-6)
    member = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]["g1/p1-r1"]
    other = json.loads((finished[0] / "manifest.json").read_text())["stages"]["g1/p1-r1"]
    assert member["inputs"] != other["inputs"]


def test_calibrated_selection_chooses_texts_of_every_label(inputs: Path, tiny_model: Path, tmp_path: Path):
    run_with(inputs, tiny_model, tmp_path / "run", "--set", "calibrate=true")
    info = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]["g1/examples"]["info"]
    for member in info["members"].values():
        assert min(member["available"]) > 0


def test_a_run_stops_early_and_keeps_the_best_generation(inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch):
    agreements = iter([0.5, 0.8, 0.7, 0.9])
    import pet.run.generations as module

    figures = module.pool_figures

    def scripted(*arguments: Any) -> dict[str, Any]:
        return figures(*arguments) | {"agreement": next(agreements), "shares": [0.25] * 4}

    monkeypatch.setattr(module, "pool_figures", scripted)
    said = run_with(
        inputs, tiny_model, tmp_path / "run",
        *("--set", "generations=4", "--set", "stop_early=true", "--set", "keep_best=true"),
    )  # fmt: skip
    assert any("0.800" in line and "0.700" in line for line in said.splitlines())
    assert not (tmp_path / "run" / "g3").exists()
    assert results(tmp_path / "run")["generation"] == 1
    pet("label", tmp_path / "run", "--input", inputs / "pool.jsonl", "-o", tmp_path / "labels.parquet", "-q")
    # `pet label` uses the generation that was kept: it repeats its probabilities, and not those of the last one.
    pool, kept, last = (
        {row["id"]: row["probabilities"] for row in pq.read_table(path, columns=["id", "probabilities"]).to_pylist()}
        for path in (tmp_path / "labels.parquet", *(tmp_path / "run" / g / "labels.parquet" for g in ("g1", "g2")))
    )
    for name, probabilities in kept.items():
        assert pool[name] == pytest.approx(probabilities, abs=1e-6)
    assert any(pool[name] != pytest.approx(last[name], abs=1e-6) for name in last)


# ---- hard cases ------------------------------------------------------------------------------


def test_a_pool_smaller_than_the_schedule_gives_a_warning(inputs: Path, tiny_model: Path, tmp_path: Path):
    said = run_with(inputs, tiny_model, tmp_path / "run", "--set", "growth=50")
    assert any("generation 1" in line and "'World'" in line for line in said.splitlines())
    for path in (tmp_path / "run" / "g1" / "examples").iterdir():
        rows = pq.read_table(path)["row"].to_pylist()
        assert len(set(rows)) == len(rows) > 50


def test_duplicate_texts_are_chosen_once_and_empty_texts_never(inputs: Path, tiny_model: Path, tmp_path: Path):
    rows = [json.loads(line) for line in (inputs / "pool.jsonl").read_text().splitlines()][:30]
    doubled = [row | {"id": f"{row['id']}-{n}"} for n in range(3) for row in rows]
    pool = write_rows(tmp_path / "pool.jsonl", [*doubled, {"id": "blank", "text": "  "}])
    run = options(inputs, tiny_model, "train", more=("--set", "growth=50", "--set", "generations=2", "-q"))
    pet(*run, "--unlabeled", pool, "-o", tmp_path / "run")
    texts = {row["id"]: row["text"] for row in doubled}
    for path in (tmp_path / "run" / "g1" / "examples").iterdir():
        chosen = [texts[i] for i in pq.read_table(path)["id"].to_pylist()]
        assert len(set(chosen)) == len(chosen) == 30


def test_a_label_that_no_member_predicts_gives_a_warning(inputs: Path, tiny_model: Path, tmp_path: Path):
    """Members that learn three labels only, at a rate at which they forget the fourth."""
    rows = [row for row in news_rows()[:16] if row["label"] != "World"]
    train = write_rows(tmp_path / "train.jsonl", rows)
    more = ("--set", "steps=30", "--set", "learning_rate=0.01", "--set", "ratio=balanced", "--train", str(train))
    said = run_with(inputs, tiny_model, tmp_path / "run", *more, parts=("unlabeled",))
    assert any("'World'" in line for line in said.splitlines() if line.startswith("warning"))
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()


def test_one_pattern_needs_repetitions(inputs: Path, tiny_model: Path, tmp_path: Path):
    text = (inputs / "task.yaml").read_text().splitlines()
    (tmp_path / "task.yaml").write_text("\n".join(text[:-1]) + "\n")
    run = options(inputs, tiny_model, "train", "unlabeled", more=("--set", "generations=2", "-q"))
    run[1] = str(tmp_path / "task.yaml")
    assert "repetitions" in refused(*run, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    pet(*run, "--set", "repetitions=2", "-o", tmp_path / "run")
    info = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]["g1/examples"]["info"]["members"]
    assert {name: member["voters"] for name, member in info.items()} == {"p1-r1": ["p1-r2"], "p1-r2": ["p1-r1"]}


def test_a_missing_pool_and_invalid_settings_are_refused(inputs: Path, tiny_model: Path, tmp_path: Path):
    assert "--unlabeled" in refused(*options(inputs, tiny_model, "train"), "-o", tmp_path / "run")
    run = options(inputs, tiny_model, "train", "unlabeled", more=("--set", "ratio=1,2"))
    assert "ratio" in refused(*run, "-o", tmp_path / "run")
    run = options(inputs, tiny_model, "train", "unlabeled", more=("--set", "keep_best=perhaps"))
    assert "keep_best" in refused(*run, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- the estimator ---------------------------------------------------------------------------


def estimator(model: Path, **settings: Any) -> PetClassifier:
    quick = {"steps": 3, "student_steps": 3, "max_length": 64, "growth": 2, "generations": 2, "first_set": 4}
    quick |= {"accept": "always"}
    return PetClassifier(
        patterns=["{mask}: {text}", "{text} It is {mask}."],
        verbalizer={label: label.lower() for label in LABELS},
        model=str(model),
        method="ipet",
        settings=quick | settings,
        device="cpu",
        precision="fp32",
    )


def test_the_estimator_works_with_and_without_labels(tiny_model: Path):
    rows = news_rows()
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    few = estimator(tiny_model).fit(texts[:8], labels[:8], unlabeled=texts[8:])
    assert few.results_["generation"] == 1 and few.predict(texts[:2]).shape == (2,)
    none = estimator(tiny_model).fit(texts)
    assert none.results_["generation"] == 2 and none.classes_.tolist() == sorted(LABELS)
    assert len(none.soft_labels_.ids) == len(texts)
    same = estimator(tiny_model).fit(None, None, unlabeled=texts)
    assert (same.predict_proba(texts) == none.predict_proba(texts)).all()


def test_the_ipet_estimator_requires_unlabeled_texts(tiny_model: Path):
    texts = [row["text"] for row in news_rows()]
    with pytest.raises(ValueError, match="unlabeled="):
        estimator(tiny_model).fit(None)
    with pytest.raises(ValueError, match=r"X.*y"):
        estimator(tiny_model).fit(texts[:4], unlabeled=texts[4:])
    with pytest.raises(ValueError, match="--unlabeled"):
        estimator(tiny_model).fit(texts[:4], LABELS)
