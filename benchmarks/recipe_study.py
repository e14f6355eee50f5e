"""Search for a better recipe: a study with Optuna (Tree-structured Parzen estimator, pruning by the median).

    python benchmarks/recipe_study.py --part members --trials 40
    python benchmarks/recipe_study.py --part student --trials 40

A trial trains with one recipe on every cell (a data set, a number of labeled texts, a seed) and gets the mean
difference from the recipe to beat in the same cells. Trials that are worse than the median so far are stopped.
Accuracy is that of labeled training texts that were not drawn, never of test texts.

Recipes of members cost at most as much as the one to beat: with up to 32 labeled texts a member sees as many texts,
labeled and unlabeled ones together, or two thirds of them (`budget`), and at most 2.7 times as many with 200. The first
trial is the recipe to beat: for members the one of the paper's losses, 8 labeled and 4 unlabeled texts in 40 updates.

Trials are lines of the output file, and the same command goes on with them. Requires `pip install optuna`. Reads the
data sets and models in ../shared.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np
from draws import SETS, Draw, Size, codes, key, make_draw, read_rows, write
from peers import model_of
from peers_methods import Setting, opened

if TYPE_CHECKING:
    import optuna

INTRO = """# A study of the recipe

Produced by `python benchmarks/recipe_study.py`. Accuracy in percent on labeled texts that were not drawn, as the
difference from the recipe to beat (first trial of each part), whose accuracy is in the first row of a part. Trials
without a mean were not tried on all cells.

"""
Figures = dict[str, float]  # cell -> accuracy
# Cells in the order in which a trial sees them: cheap ones that differ in kind first.
CELLS = {
    "members": (
        *("sst2:32:0", "agnews:32:0", "tickets:40:0", "yelp:32:0", "sst2:8:1", "sst2:200:1", "agnews:200:1"),
        *("sst2:32:1", "agnews:32:1", "tickets:40:1", "yelp:32:1", "sst2:8:0", "mnli:32:0"),
    ),
    "student": (
        *("sst2:32:0", "agnews:32:0", "tickets:40:0", "yelp:32:0", "sst2:32:1", "agnews:32:1"),
        *("sst2:32:2", "agnews:32:2", "tickets:40:1", "yelp:32:1", "sst2:32:3"),
    ),
}
BUDGET = 40 * (8 + 4)  # texts that the recipe to beat shows a member, labeled and unlabeled
PATTERNS = 2  # trained in each cell
POOL = {"members": 400, "student": 600}


def member_recipe(trial: optuna.Trial) -> dict[str, Any]:
    """Return the settings of members that a trial tries; ``power`` and ``budget`` are those of the updates."""
    labeled = trial.suggest_categorical("labeled_batch", [4, 8, 16])
    unlabeled = trial.suggest_categorical("unlabeled_batch", [0, 2, 4])
    return {
        "labeled_batch": labeled,
        "unlabeled_batch": unlabeled,
        "learning_rate": trial.suggest_float("learning_rate", 2e-5, 3e-4, log=True),
        "alpha": trial.suggest_float("alpha", 1e-5, 1e-2, log=True),
        "budget": trial.suggest_categorical("budget", [0.67, 1.0]),
        "power": trial.suggest_float("power", 0.2, 0.54),
        "warmup": trial.suggest_float("warmup", 0.0, 0.4),
    }


def student_recipe(trial: optuna.Trial) -> dict[str, Any]:
    """Return the settings of students that a trial tries, with as many texts as the recipe to beat or half of them."""
    batch = trial.suggest_categorical("student_batch", [8, 16, 32])
    return {
        "student_batch": batch,
        "student_learning_rate": trial.suggest_float("student_learning_rate", 2e-5, 4e-4, log=True),
        "temperature": trial.suggest_float("temperature", 1.0, 4.0),
        "gold_weight": trial.suggest_float("gold_weight", 0.0, 0.5),
        "budget": trial.suggest_categorical("budget", [0.5, 1.0]),
        "warmup": trial.suggest_float("warmup", 0.0, 0.4),
    }


_MEMBER = {
    **{"labeled_batch": 8, "unlabeled_batch": 4, "learning_rate": 5e-5, "alpha": 1e-4},
    **{"budget": 1.0, "power": 0.5, "warmup": 0.1},
}
_STUDENT = {
    **{"student_batch": 16, "student_learning_rate": 1e-4, "temperature": 2.0, "gold_weight": 0.0},
    **{"budget": 1.0, "warmup": 0.1},
}
# The first trials: the recipe to beat, and recipes that differ from it in little.
FIRST: dict[str, list[dict[str, Any]]] = {
    "members": [
        _MEMBER,
        _MEMBER | {"unlabeled_batch": 0},
        _MEMBER | {"learning_rate": 1e-4},
        _MEMBER | {"unlabeled_batch": 0, "learning_rate": 1e-4},
        _MEMBER | {"unlabeled_batch": 0, "budget": 0.67},
        _MEMBER | {"unlabeled_batch": 0, "learning_rate": 1e-4, "budget": 0.67},
    ],
    "student": [
        _STUDENT,
        _STUDENT | {"budget": 0.5},
        _STUDENT | {"budget": 0.5, "student_learning_rate": 2e-4},
        _STUDENT | {"gold_weight": 0.2},
        _STUDENT | {"temperature": 1.0},
    ],
}


def member_settings(values: Mapping[str, Any], texts: int) -> dict[str, str]:
    """Return settings of a run from those of a trial: as many updates as the budget allows."""
    budget = BUDGET * values["budget"] * max(1.0, texts / 32) ** values["power"]
    steps = max(1, round(budget / (values["labeled_batch"] + values["unlabeled_batch"])))
    kept = {name: str(value) for name, value in values.items() if name not in ("power", "budget")}
    return {**kept, "steps": str(steps)}


def student_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """Return settings of a run from those of a trial."""
    steps = round(200 * values["budget"] * 16 / values["student_batch"])
    return {**{name: str(value) for name, value in values.items() if name != "budget"}, "student_steps": str(steps)}


def drawn(cell: str, sizes: Size, shared: Path, folder: Path) -> Draw:
    """Draw the texts of a cell; those that measure are labeled training texts that were not drawn."""
    name, examples, seed = cell.split(":")
    source = SETS[name]
    draw = make_draw(source, shared / "data", Size(int(examples), sizes.pool, 1), int(seed), folder)
    with (folder / "train.jsonl").open(encoding="utf-8") as lines:
        taken = {key(json.loads(line), draw.task) for line in lines}
    rows = read_rows(shared / "data" / source.folder / "train.jsonl", draw.task, labeled=True)
    rest = [row for row in rows if key(row, draw.task) not in taken]
    if not rest:  # the sample has no other labeled texts: its test texts are not used for anything else here
        rest = read_rows(shared / "data" / source.folder / f"{source.test}.jsonl", draw.task, labeled=True)
    order = np.random.default_rng([draw.seed, 7]).permutation(len(rest))[: sizes.test]
    chosen = [rest[row] for row in order]
    write(folder / "test.jsonl", chosen, draw.task, labeled=True)
    return Draw(folder, draw.task, codes(chosen, draw.task), draw.seed)


def members_accuracy(draw: Draw, setting: Setting) -> float:
    """Return the mean accuracy of single members, each trained with another pattern."""
    from pet.members.kinds import fit_scorer, make_scorer
    from pet.members.seam import MemberData
    from pet.members.spec import pattern_spec

    run, texts = opened(draw, setting)
    labels = texts["train"].labels
    data = MemberData([(texts["train"], np.arange(len(labels)))], labels, texts["pool"])
    found = []
    for position in range(PATTERNS):
        spec = pattern_spec("pattern", position, 0)
        scorer = make_scorer(spec, run.shared, draw.seed + position)
        with tempfile.TemporaryDirectory(prefix="pet-study-") as folder:
            fit_scorer(spec, scorer, data, Path(folder))
            scores = np.empty((len(draw.gold), len(draw.task.labels)), np.float32)
            scorer.scores(texts["test"], scores)
        found.append(float((scores.argmax(axis=1) == draw.gold).mean()))
    return fmean(found)


def student_accuracy(teacher: Path, draw: Draw, setting: Setting) -> float:
    """Return the accuracy of a student of a finished run's soft labels."""
    from pet.ensemble.soft_labels import read_probabilities
    from pet.student.classifier import new_classifier
    from pet.student.distill import Distillation, fit_classifier
    from pet.student.start import fit_output_layer, read_mask_first, take_encoder
    from pet.training.loop import Schedule

    run, texts = opened(draw, setting)
    shared, recipe = run.shared, run.recipe
    pool, length = texts["pool"].table, recipe.encoding.max_length
    soft = read_probabilities(teacher / "g0" / "labels.parquet")
    classifier = new_classifier(shared.head_model, shared.text_input, draw.task.labels, length, seed=draw.seed)
    take_encoder(classifier, shared.models.member(teacher / "g0" / "p1-r1").model)
    shared.models.forget()
    read_mask_first(classifier, pool)
    tokens = recipe.inference.tokens
    fit_output_layer(classifier, pool, soft, shared.accelerator, seed=draw.seed, max_tokens=tokens)
    schedule = Schedule.of(recipe.optimizer, recipe.student, recipe.student.learning_rate)
    student = recipe.student
    how = Distillation(schedule, student.batch, student.temperature, student.gold_weight, draw.seed)
    gold = (texts["train"].table, texts["train"].labels)
    fit_classifier(classifier, pool, soft, how, shared.accelerator, gold=gold)
    scores = classifier.scores(texts["test"].table, shared.accelerator, max_tokens=tokens)
    return float((scores.argmax(axis=1) == draw.gold).mean())


class Study:
    """A part of the study: its trials so far, and how to make more."""

    def __init__(self, part: str, output: Path, measure: Callable[[str, Mapping[str, Any]], float]):
        import optuna

        self.part, self.output, self.measure = part, output, measure
        self.suggest = member_recipe if part == "members" else student_recipe
        lines = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
        self.lines = [line for line in lines if line["part"] == part]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=len(self.lines), n_startup_trials=8),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
        )
        for line in self.lines:
            self.study.add_trial(self._known(line))
        for values in FIRST[part][len(self.lines) :]:
            self.study.enqueue_trial(values)

    def _known(self, line: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
        """Return a trial of the output file."""
        import optuna

        sketch = optuna.trial.FixedTrial(line["values"])
        self.suggest(sketch)  # type: ignore[arg-type]  # suggests like a trial, to learn the distributions
        means = running_means(line["cells"], self.base or line["cells"])
        done = line["mean"] is not None
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE if done else optuna.trial.TrialState.PRUNED,
            params=line["values"],
            distributions=sketch.distributions,
            intermediate_values=dict(enumerate(means)),
            value=line["mean"] if done else means[-1],
        )

    @property
    def base(self) -> Figures:
        """Accuracy of the recipe to beat; empty before the first trial."""
        return self.lines[0]["cells"] if self.lines else {}

    def go_on(self, trials: int) -> None:
        """Make trials until there are so many."""
        while len(self.lines) < trials:
            self.study.optimize(self._trial, n_trials=1)

    def _trial(self, trial: optuna.Trial) -> float:
        """Try one recipe, and write its line."""
        import optuna

        values, cells, begun = self.suggest(trial), dict[str, float](), time.process_time()
        pruned = False
        for number, cell in enumerate(CELLS[self.part]):
            cells[cell] = self.measure(cell, values)
            trial.report(running_means(cells, self.base or cells)[-1], number)
            if pruned := trial.should_prune():
                break
        mean = running_means(cells, self.base or cells)[-1]
        cpu = round(time.process_time() - begun)
        line = {"part": self.part, "values": trial.params, "cells": cells, "mean": None if pruned else mean, "cpu": cpu}
        with self.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.lines.append(line)
        click.echo(json.dumps(line), err=True)
        if pruned:
            raise optuna.TrialPruned
        return mean


def running_means(cells: Figures, base: Figures) -> list[float]:
    """Return the mean difference from the recipe to beat after each cell.

    >>> running_means({"a": 0.5, "b": 1.0}, {"a": 0.5, "b": 0.75})
    [0.0, 0.125]
    """
    gaps = [accuracy - base[cell] for cell, accuracy in cells.items()]
    return [fmean(gaps[: number + 1]) for number in range(len(gaps))]


def table(lines: list[dict[str, Any]]) -> str:
    """Format the trials of each part, best first after the recipe to beat."""
    pages = []
    for part, cells in CELLS.items():
        trials = [line for line in lines if line["part"] == part]
        if not trials:
            continue
        base, *others = trials
        others.sort(key=lambda line: -9.0 if line["mean"] is None else line["mean"], reverse=True)
        names = list(base["values"])
        rows = [[*map(_short, base["values"].values()), "", *(f"{100 * base['cells'][cell]:.1f}" for cell in cells)]]
        for line in others:
            gaps = [_gap(line["cells"].get(cell), base["cells"][cell]) for cell in cells]
            mean = "" if line["mean"] is None else f"{100 * line['mean']:+.1f}"
            rows.append([*(_short(line["values"][name]) for name in names), mean, *gaps])
        pages.append(f"## {part.capitalize()}\n\n{common.markdown([*names, 'mean', *cells], rows)}")
    return "\n".join(pages)


def _short(value: float) -> str:
    return f"{value:.2g}"


def _gap(accuracy: float | None, base: float) -> str:
    return "" if accuracy is None else f"{100 * (accuracy - base):+.1f}"


@click.command()
@click.option("--part", type=click.Choice(list(CELLS)), default="members", show_default=True, help="What to study.")
@click.option("--trials", default=40, show_default=True, help="Trials, with those of the output file.")
@common.shared_option
@common.threads_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--pool-size", type=int, help="Unlabeled texts.  [default: 400 for members, 600 for students]")
@click.option("--test-rows", default=400, show_default=True, help="Labeled texts that measure.")
@common.output_option(common.HERE / "results" / "recipe_study.jsonl")
def main(part: str, trials: int, shared: Path, threads: int, output: Path, **options: Any) -> None:
    """Make the trials that are missing, and write the table."""
    import torch

    torch.set_num_threads(threads)
    sizes = Size(0, options["pool_size"] or POOL[part], options["test_rows"])
    with tempfile.TemporaryDirectory(prefix="pet-study-") as place:
        draws = {}
        for cell in CELLS[part]:
            folder = Path(place, cell.replace(":", "-"))
            folder.mkdir()
            draws[cell] = drawn(cell, sizes, shared, folder)

        def setting(cell: str, changes: Mapping[str, str]) -> Setting:
            model = model_of(cell.split(":")[0], options["model"], shared)
            return Setting(model, {"max_length": "64", **changes}, Path(place), (), 0, threads)

        def measure(cell: str, values: Mapping[str, Any]) -> float:
            texts, draw = int(cell.split(":")[1]), draws[cell]
            if part == "members":
                return members_accuracy(draw, setting(cell, member_settings(values, texts)))
            return student_accuracy(_teacher(draw, setting(cell, {})), draw, setting(cell, student_settings(values)))

        Study(part, output, measure).go_on(trials)
    page = table([json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()])
    output.with_suffix(".md").write_text(INTRO + page, encoding="utf-8")
    click.echo(page)


def _teacher(draw: Draw, setting: Setting) -> Path:
    """Return the folder of a finished run on a draw, without a student worth its name; it is made once."""
    folder = draw.folder / "teacher"
    if not folder.exists():
        options = {"task": draw.task.to_dict(), "model": setting.model, "seed": draw.seed}
        options["settings"] = {**setting.settings, "student_steps": "1"}
        folder.mkdir()
        common.run_in(folder, draw.folder, len(draw.gold), options)
    return folder / "run"


if __name__ == "__main__":
    main()
