"""The comparison with other methods: draws, methods, and the table."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import click
import draws
import numpy as np
import peers
import peers_table
import pytest
from click.testing import CliRunner
from draws import SETS, Size, make_draw
from peers_methods import METHODS, Run, parse_variant, setfit_python

from pet.backbones.load import load_tokenizer
from pet.task.task import Task


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---- draws -------------------------------------------------------------------------------------


def drawn(folder: Path, seed: int, name: str = "tickets", test: int = 30) -> draws.Draw:
    folder.mkdir()
    return make_draw(SETS[name], Path("unused"), Size(12, 50, test), seed, folder)


def test_a_draw_is_balanced_and_its_unlabeled_texts_have_no_labels(tmp_path: Path):
    draw = drawn(tmp_path / "draw", 0)
    rows = {part: lines_of(draw.folder / f"{part}.jsonl") for part in ("train", "unlabeled", "test")}
    assert {part: len(table) for part, table in rows.items()} == {"train": 12, "unlabeled": 50, "test": 30}
    assert set(Counter(row["label"] for row in rows["train"]).values()) == {2}
    assert all(set(row) == {"id", "text"} for row in rows["unlabeled"])
    assert [draw.task.labels[code] for code in draw.gold] == [row["label"] for row in rows["test"]]


def test_seeds_differ_in_examples_and_unlabeled_texts_but_not_in_test_texts(tmp_path: Path):
    first, again, second = (drawn(tmp_path / str(number), seed) for number, seed in enumerate((0, 0, 1)))
    for part in ("train", "unlabeled", "test"):
        text = [(draw.folder / f"{part}.jsonl").read_text(encoding="utf-8") for draw in (first, again, second)]
        assert text[0] == text[1]
        assert (text[0] == text[2]) == (part == "test")


def test_examples_are_not_among_the_unlabeled_texts(tmp_path: Path):
    rows = [{"text": f"text {number}", "label": "bug" if number % 2 else "login"} for number in range(8)]
    for part, table in {"train": rows, "unlabeled": rows, "test": rows}.items():
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    (tmp_path / "draw").mkdir()
    draw = make_draw(draws.Source(tmp_path, "tickets"), tmp_path, Size(2, 100, 4), 0, tmp_path / "draw")
    train, pool = ({row["text"] for row in lines_of(draw.folder / f"{part}.jsonl")} for part in ("train", "unlabeled"))
    assert len(train) == 2
    assert pool == {row["text"] for row in rows} - train


def test_without_unlabeled_texts_the_rest_of_the_test_file_is_the_pool(tmp_path: Path):
    rows = [{"text": f"text {number}", "label": "bug" if number % 2 else "login"} for number in range(8)]
    for part in ("train", "test"):
        table = [{**row, "text": f"{part} {row['text']}"} for row in rows]
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    (tmp_path / "draw").mkdir()
    draw = make_draw(draws.Source(tmp_path, "tickets"), tmp_path, Size(2, 100, 3), 0, tmp_path / "draw")
    test, pool = ({row["text"] for row in lines_of(draw.folder / f"{part}.jsonl")} for part in ("test", "unlabeled"))
    assert len(test) == 3
    assert test | pool == {f"test {row['text']}" for row in rows}


@pytest.mark.parametrize("name", SETS)
def test_a_data_set_has_a_task_with_patterns(name: str):
    assert len(Task.load(SETS[name].task).patterns) >= 3


@pytest.mark.shared
@pytest.mark.parametrize("name", SETS)
def test_the_rows_of_a_data_set_fit_its_task(name: str, shared_dir: Path, tmp_path: Path):
    draw = make_draw(SETS[name], shared_dir / "data", Size(8, 20, 20), 0, tmp_path)
    assert len(draw.gold) == 20
    assert len(lines_of(tmp_path / "unlabeled.jsonl")) == 20


def test_each_intent_has_a_word_of_its_own_that_is_one_token():
    task, tokenizer = Task.load(SETS["clinc"].task), load_tokenizer("mini-en")
    words = [word for label in task.labels for word in task.patterns[0].verbalizer.words[label]]
    assert len(words) == len(set(words)) == len(task.labels) == 150
    assert [word for word in words if len(tokenizer.tokenize(word)) != 1] == []


# ---- methods -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_quick_methods_are_compared_on_a_sample_and_not_made_again(tmp_path: Path):
    output = tmp_path / "peers.jsonl"
    options = ["--methods", "tfidf,spreading", "--model", "mini-en", "--threads", "1", "--seeds", "1"]
    command = ["tickets:12", *options, "--test-rows", "30", "--pool-size", "40", "-o", str(output)]
    for _ in range(2):
        result = CliRunner().invoke(peers.main, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    lines = lines_of(output)
    assert [line["method"] for line in lines] == ["tfidf", "spreading"]
    for line in lines:
        assert line["cpu"] > 0
        (right,) = line["right"].values()
        assert len(right) == 30 and set(right) <= {"0", "1"}
    assert "label spreading" in output.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["quick", "quick=", "=pet", "quick=pet:steps"])
def test_a_variant_that_cannot_be_read_is_shown_with_an_example(text: str):
    with pytest.raises(click.UsageError, match="NAME=METHOD:KEY=VALUE") as found:
        parse_variant(text)
    assert text in str(found.value)


def test_a_variant_is_a_run_with_other_settings_and_members():
    name, run = parse_variant("mixed=ipet:steps=20,member=embeddings,member=tfidf")
    assert (name, run) == ("mixed", Run("ipet", {"steps": "20"}, ("embeddings", "tfidf")))
    assert peers.described(run) == {"changes": "ipet steps=20 member=embeddings member=tfidf"}


def test_names_that_do_not_exist_are_refused(tmp_path: Path):
    for arguments, name in ((["nothing:32"], "nothing"), (["tickets:12", "--methods", "magic"], "magic")):
        result = CliRunner().invoke(peers.main, [*arguments, "-o", str(tmp_path / "peers.jsonl")])
        assert result.exit_code == 2
        assert name in result.output and ("tickets" in result.output or "setfit" in result.output)


def write_wheel(folder: Path) -> Path:
    """Write a wheel of an empty package `setfit`."""
    wheel = folder / "setfit-9.0-py3-none-any.whl"
    notes = "setfit-9.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("setfit/__init__.py", "")
        archive.writestr(f"{notes}/METADATA", "Metadata-Version: 2.1\nName: setfit\nVersion: 9.0\n")
        archive.writestr(f"{notes}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{notes}/RECORD", "")
    return wheel


@pytest.mark.slow
def test_setfit_is_installed_once_into_an_environment_of_its_own(tmp_path: Path):
    (tmp_path / "wheels").mkdir()
    python = setfit_python(tmp_path, (str(write_wheel(tmp_path / "wheels")),))
    asked = subprocess.run([python, "-c", "import setfit; print(setfit.__file__)"], capture_output=True, text=True)
    assert Path(asked.stdout.strip()).is_relative_to(tmp_path / "setfit")
    assert setfit_python(tmp_path, ("this-package-is-not-needed-now",)) == python


# ---- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["peers_methods", "peers_table", "setfit_train"])
def test_examples_of_the_programs_run(name: str):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


def test_the_error_of_a_mean_is_that_of_a_sample_of_texts():
    flags = np.arange(400) % 2
    estimate = peers_table.bootstrap(flags[None])
    assert estimate.mean == 50
    assert estimate.error == pytest.approx(100 * 0.5 / 20, rel=0.1)
    assert estimate.low < 47 and estimate.high > 53


def test_the_error_includes_the_difference_between_seeds():
    seeds = np.repeat([[0.0], [1.0]], 1000, axis=1)
    assert peers_table.bootstrap(seeds).error == pytest.approx(100 * 0.5 / 2**0.5, rel=0.1)


def result(method: str, seed: int, right: dict[str, str], **more: Any) -> dict[str, Any]:
    same = {"task": "tickets", "examples": 40, "model": "mini-en", "pool": 10, "test": 4, "settings": {}}
    return {**same, "method": method, "seed": seed, "cpu": 2.0, "right": right, **more}


def test_methods_are_compared_with_the_student_on_the_seeds_that_both_have():
    lines = [
        result("pet", 0, {"student": "1100", "ensemble": "1000"}),
        result("pet", 1, {"student": "1100", "ensemble": "1000"}),
        result("tfidf", 0, {"": "1111"}),
        result("tfidf", 5, {"": "0000"}),
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in peers_table.page(lines).splitlines()]
    by_name = {row[2]: row for row in rows if row and row[0] == "tickets"}
    assert by_name["pet student"][3].startswith("50.0") and by_name["pet student"][4] == ""
    assert by_name["pet ensemble"][4].startswith("-25.0")
    assert by_name["TF-IDF + LR"][4].startswith("+50.0")
    assert by_name["TF-IDF + LR"][7] == "2"  # seeds


def test_variants_of_one_name_have_rows_of_their_own():
    lines = [result("quick", 0, {"student": "1111"}, changes=f"pet steps={steps}") for steps in (1, 2)]
    page = peers_table.page(lines)
    assert "quick student (pet steps=1)" in page and "quick student (pet steps=2)" in page


def test_the_weights_of_the_paper_are_a_method():
    assert METHODS["weighted"] == Run("pet", {"merge": "weighted"})
