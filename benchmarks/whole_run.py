"""A whole PET run (members, soft labels, student), compared with the same run of the research code.

    python benchmarks/whole_run.py agnews --share 0.05
    python benchmarks/whole_run.py agnews --steps 20 --pool 200 --student-steps 40 --length 64

Both sides have the same texts, patterns, steps, batches and learning rates; each draws its own order and dropout. All
rows of the reference are padded to one length, so that each step and each text takes it the same time. With `--share`
below 1, it therefore does only that share of the steps and texts of one member and of the student, and its time is
extrapolated. Its accuracy can be compared only after a complete run.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import common
import reference
import torch

PATTERNS = 4
REPETITIONS = 2


@dataclass(frozen=True)
class Setup:
    """The work of both sides."""

    task: Any  # with PATTERNS patterns
    train: common.Rows
    pool: common.Rows
    test: common.Rows
    model: Path
    recipe: Any
    rates: tuple[float, float]  # peak learning rates of members and student
    clock: common.Clock

    def gold(self, rows: common.Rows) -> torch.Tensor:
        """Return the positions of the rows' labels."""
        names = [str(label) for label in self.task.labels]
        return torch.tensor([names.index(str(row["label"])) for row in rows])


class Stages:
    """Seconds per stage."""

    def __init__(self, clock: common.Clock):
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock

    @contextmanager
    def count(self, stage: str, times: float = 1.0) -> Iterator[None]:
        """Add the seconds of the block, multiplied by `times`."""
        begun = self._clock()
        yield
        self.seconds[stage] += (self._clock() - begun) * times


def pet_run(setup: Setup, precision: str) -> tuple[float, dict[str, float]]:
    """Measure the seconds of `pet run`, and its accuracies on the test rows."""
    from pet.data.read import read_table
    from pet.inference.ensemble import open_ensemble
    from pet.inference.evaluate_file import evaluate_file
    from pet.inference.options import ComputeOptions
    from pet.progress import Reporter
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings

    with tempfile.TemporaryDirectory(prefix="pet-whole-") as name:
        folder = Path(name)
        for part in ("train", "pool", "test"):
            rows = [{k: v for k, v in row.items() if part != "pool" or k != "label"} for row in getattr(setup, part)]
            (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        settings = RunSettings(
            task=setup.task.to_dict(),
            train=str(folder / "train.jsonl"),
            unlabeled=str(folder / "pool.jsonl"),
            test=None,
            model=str(setup.model),
            device="cpu",
            precision=precision,
            settings={key: str(value) for key, value in setup.recipe.to_dict().items() if value != ""},
        )
        begun = setup.clock()
        run(settings, folder / "run", Reporter("plain"))
        seconds = setup.clock() - begun
        test = read_table(str(folder / "test.jsonl"), setup.task.fields, name="test")
        ensemble = open_ensemble(folder / "run", device="cpu", precision=precision)
        found = torch.from_numpy(ensemble.label(test).probabilities)
        cpu = ComputeOptions(device="cpu")
        student = evaluate_file(str(folder / "run"), str(folder / "test.jsonl"), compute=cpu)["accuracy"]
    return seconds, {"ensemble": accuracy(found, setup.gold(setup.test)), "student": student}


class ReferenceRun:
    """The run of `reference.py`.

    Parameters
    ----------
    setup : the work
    share : share of the steps and texts to do, of one member and of the student; their seconds are extrapolated
    """

    def __init__(self, setup: Setup, share: float):
        from pet.backbones.load import load_tokenizer

        self.setup, self.share = setup, share
        self.tokenizer = load_tokenizer(str(setup.model))
        self.stages = Stages(setup.clock)
        self.length = setup.recipe.encoding.max_length
        self.pool = setup.pool[: self._part(len(setup.pool))]
        self.members = [(p, r) for p in range(PATTERNS) for r in range(REPETITIONS)][: None if share >= 1 else 1]

    def run(self) -> tuple[dict[str, float], dict[str, float] | None]:
        """Return seconds per stage, and accuracies on the test rows if all of the work was done."""
        from pet.backbones.trained import load_masked_lm

        setup, pretrained, whole = self.setup, load_masked_lm(str(self.setup.model)), self.share >= 1
        times = PATTERNS * REPETITIONS / len(self.members)
        label_times = times * len(setup.pool) / len(self.pool)
        weights, pool_scores, test_scores = [], [], []
        for pattern, repetition in self.members:
            words = reference.word_ids(setup.task.patterns[pattern].verbalizer.words, setup.task.labels, self.tokenizer)
            labeled, gold, model = self._fill(pattern, setup.train), setup.gold(setup.train), copy.deepcopy(pretrained)
            torch.manual_seed(100 * pattern + repetition)
            with self.stages.count("weights", times):
                weights.append(accuracy(reference.score(model, labeled, words), gold))
            with self.stages.count("labels", label_times):
                filled = self._fill(pattern, self.pool)
            steps = self._part(setup.recipe.member.steps)
            with self.stages.count("members", times * setup.recipe.member.steps / steps):
                self._train_member(model, labeled, filled, words, steps)
            with self.stages.count("labels", label_times):
                pool_scores.append(reference.score(model, filled, words))
            if whole:
                test_scores.append(reference.score(model, self._fill(pattern, setup.test), words))
        student = self._student(reference.merge(pool_scores, weights))
        seconds = {"all": sum(self.stages.seconds.values()), **self.stages.seconds}
        if not whole:
            return seconds, None
        gold = setup.gold(setup.test)
        return seconds, {
            "ensemble": accuracy(reference.merge(test_scores, weights), gold),
            "student": accuracy(reference.classify(student, self._read(setup.test)), gold),
        }

    def _train_member(self, model: Any, labeled: Any, pool: Any, words: Any, steps: int) -> None:
        settings, gold = self.setup.recipe.member, self.setup.gold(self.setup.train)
        optimizer, order, other = reference.make_optimizer(model), _draws(len(labeled)), _draws(len(pool))
        for step in range(steps):
            reference.set_rate(optimizer, self.setup.rates[0], step, settings.steps)
            rows = [next(order) for _ in range(settings.labeled_batch)]
            hidden = [pool[next(other)] for _ in range(settings.unlabeled_batch)]
            reference.training_step(
                model, optimizer, [labeled[i] for i in rows], gold[rows].tolist(), hidden, words, self.tokenizer,
                alpha=settings.alpha, probability=settings.mlm_probability,
            )  # fmt: skip

    def _student(self, teacher: torch.Tensor) -> Any:
        import transformers

        from pet.backbones.load import load_config, load_model

        setup, settings = self.setup, self.setup.recipe.student
        torch.manual_seed(1)
        kind = transformers.AutoModelForSequenceClassification
        config = load_config(str(setup.model), num_labels=len(setup.task.labels))
        model, _ = load_model(str(setup.model), kind, config=config)
        optimizer = reference.make_optimizer(model)
        with self.stages.count("student", len(setup.pool) / len(self.pool)):
            texts = self._read(self.pool)
        steps, order = self._part(settings.steps), _draws(len(self.pool))
        with self.stages.count("student", settings.steps / steps):
            for step in range(steps):
                reference.set_rate(optimizer, setup.rates[1], step, settings.steps)
                rows = [next(order) for _ in range(settings.batch)]
                batch = [texts[i] for i in rows]
                reference.distillation_step(model, optimizer, batch, teacher[rows], settings.temperature)
        return model

    def _part(self, count: int) -> int:
        """Return the share of a number, but at least 2 of it."""
        return min(count, max(2, round(self.share * count)))

    def _fill(self, pattern: int, rows: common.Rows) -> list[reference.Example]:
        source = self.setup.task.patterns[pattern].template.source
        return [reference.fill(source, row, self.tokenizer, self.length) for row in rows]

    def _read(self, rows: common.Rows) -> list[reference.Example]:
        fields = self.setup.task.fields
        return [reference.read(" ".join(row[f] for f in fields), self.tokenizer, self.length) for row in rows]


def _draws(count: int) -> Iterator[int]:
    """Yield positions forever, in random order; each appears once before any is repeated."""
    while True:
        yield from torch.randperm(count).tolist()


def accuracy(scores: torch.Tensor, gold: torch.Tensor) -> float:
    """Compute the accuracy of scores of shape (rows, L)."""
    return float((scores.argmax(dim=1) == gold).double().mean())


def noise(first: float, second: float, rows: int) -> float:
    """Compute two standard errors of the difference of two accuracies on this many rows."""
    return 2 * math.sqrt((first * (1 - first) + second * (1 - second)) / rows)


@click.command()
@click.argument("name", default="agnews", metavar="TASK")
@click.option("--precision", default="auto", show_default=True, help="Precision of pet; the reference uses float32.")
@click.option("--examples", default=32, show_default=True, help="Labeled texts.")
@click.option("--pool", "pool_size", default=2000, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=500, show_default=True, help="Texts of the test set.")
@click.option("--steps", default=40, show_default=True, help="Steps of each member.")
@click.option("--student-steps", default=200, show_default=True, help="Steps of the student.")
@click.option(
    "--length", default=reference.LENGTH, show_default=True, help="Longest input in tokens; the reference pads to it."
)
@click.option("--share", default=1.0, show_default=True, help="Share of the steps and texts that the reference does.")
@common.options
def main(
    name: str, precision: str, examples: int, pool_size: int, test_rows: int, steps: int, student_steps: int,
    length: int, share: float, model: Path, data: Path, threads: int, clock: str, output: Path, **_: Any,
) -> None:  # fmt: skip
    """Print both times, their ratio, and the accuracies.

    With --share below 1, the time of the reference is extrapolated and it has no accuracies.
    """
    torch.set_num_threads(threads)
    from pet.backbones.info import ModelInfo
    from pet.recipe import learning_rate_for, make_recipe, student_rate_for
    from pet.task.task import Task

    described = Task.load(name).to_dict()
    task = Task.from_dict({**described, "patterns": described["patterns"][:PATTERNS]})
    settings = {
        "repetitions": REPETITIONS, "steps": steps, "student_steps": student_steps, "max_length": length,
        "warmup": reference.WARMUP,
    }  # fmt: skip
    size = ModelInfo(str(model)).parameters
    setup = Setup(
        task=task,
        train=common.read_rows(data, name, "train", examples, task.fields),
        pool=common.read_rows(data, name, "unlabeled", pool_size, task.fields),
        test=common.read_rows(data, name, "test", test_rows, task.fields),
        model=model,
        recipe=make_recipe("default", settings),
        rates=(learning_rate_for(size), student_rate_for(size)),
        clock=common.CLOCKS[clock],
    )
    ours, our_accuracy = pet_run(setup, precision)
    theirs, their_accuracy = ReferenceRun(setup, share).run()
    figures = {
        "task": name, "model": model.name, "precision": precision, **settings, "examples": examples,
        "pool": len(setup.pool), "test": len(setup.test), "share": share,
        "seconds": {"pet": round(ours, 1), "reference": {stage: round(s, 1) for stage, s in theirs.items()}},
        "ratio": round(theirs["all"] / ours, 2),
        "accuracy": {"pet": our_accuracy, "reference": their_accuracy},
    }  # fmt: skip
    common.record(output, "whole_run", threads, clock, figures)
    extrapolated = "" if share >= 1 else f", extrapolated from {100 * share:g}% of its steps and texts"
    click.echo(
        f"{name}: {ours:.0f} s, {theirs['all'] / ours:.1f} times as fast as the reference "
        f"({theirs['all']:.0f} s{extrapolated})"
    )
    for row in our_accuracy:
        theirs_is = None if their_accuracy is None else their_accuracy[row]
        click.echo(comparison(row, our_accuracy[row], theirs_is, len(setup.test)))


def comparison(row: str, ours: float, theirs: float | None, rows: int) -> str:
    """Format two accuracies on the same number of rows; None: unknown."""
    if theirs is None:
        return f"{row}: accuracy {100 * ours:.1f}"
    limit = noise(ours, theirs, rows)
    return (
        f"{row}: accuracy {100 * ours:.1f}, reference {100 * theirs:.1f}: "
        f"{'within' if abs(ours - theirs) <= limit else 'beyond'} two standard errors ({100 * limit:.1f} points)"
    )


if __name__ == "__main__":
    sys.exit(main())
