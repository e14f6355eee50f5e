"""`pet run --draws`: the spread over draws of the examples, apart from the spread over seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import pet, refused, run_options, write_inputs

from pet.cli.run import summary
from pet.evaluate import evaluate
from pet.progress import Reporter
from pet.report.tables import level_lines
from pet.run import seeds as seeds_module
from pet.run.inputs import load_data
from pet.run.load_run import read_settings
from pet.run.seeds import run_seeds
from pet.run.settings import RunSettings
from pet.statistics import spread_of_draws
from pet.task.task import Task


def test_spread_by_hand() -> None:
    """Means .81, .71, .61 with variance .01; within draws a variance of .0002, of which the means have half."""
    draws, seeds = spread_of_draws([[0.80, 0.82], [0.70, 0.72], [0.60, 0.62]])
    assert draws == pytest.approx((0.01 - 0.0001) ** 0.5)
    assert seeds == pytest.approx(0.0002**0.5)
    assert spread_of_draws([[0.8], [0.6]]) == (pytest.approx(0.02**0.5), None)
    assert spread_of_draws([[0.1, 0.9], [0.9, 0.1]])[0] == 0


def test_runs_are_named_after_draw_and_seed_and_their_spreads_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RunSettings] = []

    def fake(settings: RunSettings, folder: Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        made.append(settings)
        assert settings.draw is not None
        accuracy = 0.7 + settings.draw / 10 + settings.seed / 100
        figures = evaluate(np.eye(2)[[0, 1]], np.array([0, 1]), ["a", "b"])
        return {"method": "pet", "data": {"train": 4}, "student": figures | {"accuracy": accuracy}}

    monkeypatch.setattr(seeds_module, "run", fake)
    settings = RunSettings(task={"task": "t"}, train="a", unlabeled="b", test="c", model="m", examples=4)
    results = run_seeds(settings, [0, 1], tmp_path, Reporter("quiet"), draws=2)
    assert list(results["runs"]) == ["draw-0-seed-0", "draw-0-seed-1", "draw-1-seed-0", "draw-1-seed-1"]
    assert [(each.draw, each.seed) for each in made] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    spread = results["spread"]["pet student"]["accuracy"]
    assert spread["seeds"] == pytest.approx(0.01 / 2**0.5)
    assert spread["draws"] > 0.06
    page = (tmp_path / "report.html").read_text()
    assert 'href="draw-1-seed-0/report.html"' in page and "points over draws" in page
    assert json.loads((tmp_path / "metrics.json").read_text())["spread"] == results["spread"]


def test_the_summary_names_the_run_of_each_table_of_generations(tmp_path: Path) -> None:
    names = ["draw-0-seed-0", "draw-0-seed-1", "draw-1-seed-0"]
    pool = {"rows": 4, "shares": [0.5, 0.5], "confidence": 0.9, "agreement": 1.0, "changed": None}
    generation = {"generation": 0, "trained": True, "labeled": 4, "pool": pool, "accepted": True}
    result = {"method": "ipet", "data": {"train": 4}, "generations": [generation]}
    settings = RunSettings(task={"task": "t"}, train="a", unlabeled="b", test=None, model="m", method="ipet")
    said = summary({"runs": dict.fromkeys(names, result)}, tmp_path, settings)
    assert [line for line in said.splitlines() if line.startswith("Generations")] == [
        f"Generations of {name}:" for name in names
    ]


def test_the_summary_tells_all_runs_apart(tmp_path: Path) -> None:
    """Figures of single runs are named, and those of levels are means with their spread."""
    estimate = {"accuracy": 0.8, "low": 0.7, "high": 0.9, "judged": 0, "wrong": 0, "disagreement": 0.1}
    runs = {
        name: {"method": "pet", "data": {"train": 4}, "advice": [advice], "estimate": estimate | {"accuracy": accuracy}}
        for name, advice, accuracy in (("0", "first", 0.8), ("1", "second", 0.6))
    }
    settings = RunSettings(task={"task": "t"}, train="a", unlabeled="b", test=None, model="m")
    said = summary({"runs": runs}, tmp_path, settings)
    assert "note: seed-0: first" in said and "note: seed-1: second" in said
    assert "seed-0: About 80%" in said and "seed-1: About 60%" in said
    levels = [{"levels": [{"labels": 2, "accuracy": share, "macro_f1": share / 2}]} for share in (0.25, 0.75)]
    assert level_lines({"student": levels}) == [
        "student: Level 1, 2 parents of labels: accuracy 0.500 ± 0.354, macro F1 0.250 ± 0.177"
    ]


def test_a_folder_with_a_run_for_each_draw_names_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "many" / "draw-0-seed-1").mkdir(parents=True)
    for arguments in (["suggest", tmp_path / "many"], ["run", tmp_path / "many" / "config.yaml", "-o", tmp_path / "x"]):
        assert "such as" in (message := refused(*arguments)) and "draw-0-seed-1" in message


def test_the_draw_decides_the_examples_and_the_seed_the_training(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    task = Task.load(inputs / "task.yaml")

    def texts(**given: int) -> list[str]:
        settings = RunSettings(
            task=task.to_dict(), train=str(inputs / "train.jsonl"), unlabeled=None, test=None, model="m", examples=4,
            **given,
        )  # fmt: skip
        train = load_data(settings, task, Reporter("quiet")).train
        assert train is not None
        return list(train["text"])

    assert texts(seed=0, draw=1) == texts(seed=5, draw=1) == texts(seed=1) != texts(seed=0)


def test_draws_require_a_number_of_examples(tmp_path: Path, tiny_model: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    options = run_options(inputs, tiny_model)
    assert "--examples" in refused(*options, "--draws", "2", "-o", tmp_path / "run")
    assert "--draws is 0" in refused(*options, "--examples", "4", "--draws", "0", "-o", tmp_path / "run")


@pytest.mark.slow
def test_real_runs_of_two_draws(tmp_path: Path, tiny_model: Path) -> None:
    inputs = write_inputs(tmp_path / "in")
    place = tmp_path / "runs"
    said = pet(*run_options(inputs, tiny_model), "--examples", "8", "--draws", "2", "-q", "-o", place).stdout
    assert "over draws of the examples" in said
    assert read_settings(place / "draw-1-seed-0").draw == 1
