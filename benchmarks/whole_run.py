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
from collections.abc import Iterator, Sequence
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
    train: list[dict[str, Any]]
    pool: list[dict[str, Any]]
    test: list[dict[str, Any]]
    model: Path
    recipe: Any
    rates: tuple[float, float]  # peak learning rates of members and student
    clock: common.Clock

    def gold(self, rows: Sequence[dict[str, Any]]) -> torch.Tensor:
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


def reference_run(setup: Setup, share: float) -> tuple[dict[str, float], dict[str, float] | None]:
    """Do the same with `reference.py`. Without accuracies if only a share of the work is done."""
    from pet.backbones.load import load_masked_lm, load_tokenizer

    tokenizer, pretrained = load_tokenizer(str(setup.model)), load_masked_lm(str(setup.model))
    stages, whole = Stages(setup.clock), share >= 1
    length = setup.recipe.encoding.max_length
    pool = setup.pool[: _part(len(setup.pool), share)]
    members = [(p, r) for p in range(PATTERNS) for r in range(REPETITIONS)][: None if whole else 1]
    times = PATTERNS * REPETITIONS / len(members)
    weights, pool_scores, test_scores = [], [], []
    for pattern, repetition in members:
        wanted = setup.task.patterns[pattern]
        words = reference.word_ids(wanted.verbalizer.words, setup.task.labels, tokenizer)

        def fill(rows: Sequence[dict[str, Any]], source: str = wanted.template.source) -> list[Any]:
            return [reference.fill(source, row, tokenizer, length) for row in rows]

        labeled, gold, model = fill(setup.train), setup.gold(setup.train), copy.deepcopy(pretrained)
        torch.manual_seed(100 * pattern + repetition)
        with stages.count("weights", times):
            weights.append(accuracy(reference.score(model, labeled, words), gold))
        with stages.count("labels", times * len(setup.pool) / len(pool)):
            filled = fill(pool)
        _train_member(setup, model, labeled, gold, filled, words, tokenizer, stages, share, times)
        with stages.count("labels", times * len(setup.pool) / len(pool)):
            pool_scores.append(reference.score(model, filled, words))
        if whole:
            test_scores.append(reference.score(model, fill(setup.test), words))
    student = _student(setup, reference.merge(pool_scores, weights), pool, tokenizer, stages, share)
    seconds = {"all": sum(stages.seconds.values()), **stages.seconds}
    if not whole:
        return seconds, None
    gold = setup.gold(setup.test)
    texts = [reference.read(_text(setup, row), tokenizer, length) for row in setup.test]
    return seconds, {
        "ensemble": accuracy(reference.merge(test_scores, weights), gold),
        "student": accuracy(reference.classify(student, texts), gold),
    }


def _train_member(
    setup: Setup, model: Any, labeled: Any, gold: Any, pool: Any, words: Any, tokenizer: Any, stages: Stages,
    share: float, times: float,
) -> None:  # fmt: skip
    recipe, optimizer = setup.recipe, reference.make_optimizer(model)
    steps, order, other = _part(recipe.member.steps, share), _draws(len(labeled)), _draws(len(pool))
    with stages.count("members", times * recipe.member.steps / steps):
        for step in range(steps):
            reference.set_rate(optimizer, setup.rates[0], step, recipe.member.steps)
            rows = [next(order) for _ in range(recipe.member.labeled_batch)]
            hidden = [pool[next(other)] for _ in range(recipe.member.unlabeled_batch)]
            reference.training_step(
                model, optimizer, [labeled[i] for i in rows], gold[rows].tolist(), hidden, words, tokenizer,
                alpha=recipe.member.alpha, probability=recipe.member.mlm_probability,
            )  # fmt: skip


def _student(setup: Setup, teacher: torch.Tensor, pool: Any, tokenizer: Any, stages: Stages, share: float) -> Any:
    import transformers

    from pet.backbones.load import load_model

    recipe, kind = setup.recipe, transformers.AutoModelForSequenceClassification
    torch.manual_seed(1)
    model, _ = load_model(str(setup.model), kind, num_labels=len(setup.task.labels))
    optimizer = reference.make_optimizer(model)
    with stages.count("student", len(setup.pool) / len(pool)):
        texts = [reference.read(_text(setup, row), tokenizer, recipe.encoding.max_length) for row in pool]
    steps, order = _part(recipe.student.steps, share), _draws(len(pool))
    with stages.count("student", recipe.student.steps / steps):
        for step in range(steps):
            reference.set_rate(optimizer, setup.rates[1], step, recipe.student.steps)
            rows = [next(order) for _ in range(recipe.student.batch)]
            reference.distillation_step(
                model, optimizer, [texts[i] for i in rows], teacher[rows], recipe.student.temperature
            )
    return model


def _part(count: int, share: float) -> int:
    return min(count, max(2, round(share * count)))


def _draws(count: int) -> Iterator[int]:
    """Yield positions forever, in random order; each appears once before any is repeated."""
    while True:
        yield from torch.randperm(count).tolist()


def _text(setup: Setup, row: dict[str, Any]) -> str:
    return " ".join(row[field] for field in setup.task.fields)


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
    theirs, their_accuracy = reference_run(setup, share)
    figures = {
        "task": name, "model": model.name, "precision": precision, **settings, "examples": examples,
        "pool": len(setup.pool), "test": len(setup.test), "share": share,
        "seconds": {"pet": round(ours, 1), "reference": {stage: round(s, 1) for stage, s in theirs.items()}},
        "ratio": round(theirs["all"] / ours, 2),
        "accuracy": {"pet": our_accuracy, "reference": their_accuracy},
    }  # fmt: skip
    common.record(output, "whole_run", threads, clock, figures)
    extrapolated = "" if share >= 1 else f", extrapolated from {100 * share:g} % of its steps and texts"
    click.echo(
        f"{name}: {ours:.0f} s, {theirs['all'] / ours:.1f} times as fast as the reference "
        f"({theirs['all']:.0f} s{extrapolated})"
    )
    for row, ours_is in our_accuracy.items():
        if their_accuracy is None:
            click.echo(f"{row}: accuracy {100 * ours_is:.1f}")
            continue
        theirs_is = their_accuracy[row]
        limit, apart = noise(ours_is, theirs_is, len(setup.test)), abs(ours_is - theirs_is)
        click.echo(
            f"{row}: accuracy {100 * ours_is:.1f}, reference {100 * theirs_is:.1f}: "
            f"{'within' if apart <= limit else 'beyond'} two standard errors ({100 * limit:.1f} points)"
        )


if __name__ == "__main__":
    sys.exit(main())
