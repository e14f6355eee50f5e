"""A whole PET run (members, soft labels, student) against the same run of the research code's kind.

    python benchmarks/whole_run.py agnews --share 0.05
    python benchmarks/whole_run.py agnews --steps 20 --pool 200 --student-steps 40 --length 64

Both sides have the same texts, patterns, steps, batches and rates; each draws its own order and dropout. An
update and a text cost `reference.py` the same time throughout, because all rows are padded to one length. So with
`--share` below 1 it makes only that share of the updates and texts of one member and of the student, and its time
is multiplied up; its accuracy can only be compared after a complete run.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import tempfile
from collections import Counter
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
class RunContext:
    """What both sides do."""

    task: Any  # of PATTERNS patterns
    train: list[dict[str, Any]]
    pool: list[dict[str, Any]]
    test: list[dict[str, Any]]
    model: Path
    recipe: Any
    rates: tuple[float, float]  # peaks of members and of the student
    clock: common.Clock

    def gold(self, rows: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Positions of the rows' labels."""
        names = [str(label) for label in self.task.labels]
        return torch.tensor([names.index(str(row["label"])) for row in rows])


class Stages:
    """Seconds of each stage."""

    def __init__(self, clock: common.Clock):
        self.seconds: Counter[str] = Counter()
        self._clock = clock

    @contextmanager
    def count(self, stage: str, times: float = 1.0) -> Iterator[None]:
        """Add what the block takes, times what it stands for."""
        begun = self._clock()
        yield
        self.seconds[stage] += (self._clock() - begun) * times


def pet_run(context: RunContext, precision: str) -> tuple[float, dict[str, float]]:
    """Seconds, and accuracies on the test rows, of `pet run`."""
    from pet.data.read import read_table
    from pet.ensemble.combine import merge_scores
    from pet.inference.ensemble import open_ensemble
    from pet.inference.evaluate_file import evaluate_file
    from pet.inference.options import ComputeOptions
    from pet.progress import Reporter
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings
    from pet.training.device import make_accelerator

    with tempfile.TemporaryDirectory(prefix="pet-whole-") as name:
        folder = Path(name)
        for part in ("train", "pool", "test"):
            rows = [{k: v for k, v in row.items() if part != "pool" or k != "label"} for row in getattr(context, part)]
            (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        settings = RunSettings(
            task=context.task.to_dict(),
            train=str(folder / "train.jsonl"),
            unlabeled=str(folder / "pool.jsonl"),
            test=None,
            model=str(context.model),
            device="cpu",
            precision=precision,
            settings={key: str(value) for key, value in context.recipe.to_dict().items() if value != ""},
        )
        begun = context.clock()
        run(settings, folder / "run", Reporter("plain"))
        seconds = context.clock() - begun
        test = read_table(str(folder / "test.jsonl"), context.task.fields, name="test")
        ensemble = open_ensemble(folder / "run")
        scores = ensemble.score(test, make_accelerator("cpu", precision))
        found = torch.from_numpy(merge_scores(scores, ensemble.weights))
        cpu = ComputeOptions(device="cpu")
        student = evaluate_file(str(folder / "run"), str(folder / "test.jsonl"), compute=cpu)["accuracy"]
    return seconds, {"ensemble": accuracy(found, context.gold(context.test)), "student": student}


def reference_run(context: RunContext, share: float) -> tuple[dict[str, float], dict[str, float] | None]:
    """The same of `reference.py`; no accuracies when it did a share only."""
    from pet.backbones.load import load_masked_lm, load_tokenizer

    tokenizer, pretrained = load_tokenizer(str(context.model)), load_masked_lm(str(context.model))
    stages, whole = Stages(context.clock), share >= 1
    length = context.recipe.encoding.max_length
    pool = context.pool[: _part(len(context.pool), share)]
    members = [(p, r) for p in range(PATTERNS) for r in range(REPETITIONS)][: None if whole else 1]
    times = PATTERNS * REPETITIONS / len(members)
    weights, pool_scores, test_scores = [], [], []
    for pattern, repetition in members:
        wanted = context.task.patterns[pattern]
        words = [[reference.word_id(w, tokenizer) for w in wanted.verbalizer.words[x]] for x in context.task.labels]

        def fill(rows: Sequence[dict[str, Any]], source: str = wanted.template.source) -> list[Any]:
            return [reference.fill(source, row, tokenizer, length) for row in rows]

        labeled, gold, model = fill(context.train), context.gold(context.train), copy.deepcopy(pretrained)
        torch.manual_seed(100 * pattern + repetition)
        with stages.count("weights", times):
            weights.append(accuracy(reference.score(model, labeled, words), gold))
        with stages.count("labels", times * len(context.pool) / len(pool)):
            filled = fill(pool)
        _train_member(context, model, labeled, gold, filled, words, tokenizer, stages, share, times)
        with stages.count("labels", times * len(context.pool) / len(pool)):
            pool_scores.append(reference.score(model, filled, words))
        if whole:
            test_scores.append(reference.score(model, fill(context.test), words))
    student = _student(context, reference.merge(pool_scores, weights), pool, tokenizer, stages, share)
    seconds = {"all": sum(stages.seconds.values()), **stages.seconds}
    if not whole:
        return seconds, None
    gold = context.gold(context.test)
    texts = [reference.read(_text(context, row), tokenizer, length) for row in context.test]
    return seconds, {
        "ensemble": accuracy(reference.merge(test_scores, weights), gold),
        "student": accuracy(reference.classify(student, texts), gold),
    }


def _train_member(
    context: RunContext, model: Any, labeled: Any, gold: Any, pool: Any, words: Any, tokenizer: Any, stages: Stages,
    share: float, times: float,
) -> None:  # fmt: skip
    recipe, optimizer = context.recipe, reference.make_optimizer(model)
    steps, order, other = _part(recipe.member.steps, share), _draws(len(labeled)), _draws(len(pool))
    with stages.count("members", times * recipe.member.steps / steps):
        for step in range(steps):
            reference.set_rate(optimizer, context.rates[0], step, recipe.member.steps)
            rows = [next(order) for _ in range(recipe.member.labeled_batch)]
            hidden = [pool[next(other)] for _ in range(recipe.member.unlabeled_batch)]
            reference.training_step(
                model, optimizer, [labeled[i] for i in rows], gold[rows].tolist(), hidden, words, tokenizer,
                alpha=recipe.member.alpha, probability=recipe.member.mlm_probability,
            )  # fmt: skip


def _student(
    context: RunContext, teacher: torch.Tensor, pool: Any, tokenizer: Any, stages: Stages, share: float
) -> Any:
    import transformers

    from pet.backbones.load import load_model

    recipe, kind = context.recipe, transformers.AutoModelForSequenceClassification
    torch.manual_seed(1)
    model, _ = load_model(str(context.model), kind, num_labels=len(context.task.labels))
    optimizer = reference.make_optimizer(model)
    with stages.count("student", len(context.pool) / len(pool)):
        texts = [reference.read(_text(context, row), tokenizer, recipe.encoding.max_length) for row in pool]
    steps, order = _part(recipe.student.steps, share), _draws(len(pool))
    with stages.count("student", recipe.student.steps / steps):
        for step in range(steps):
            reference.set_rate(optimizer, context.rates[1], step, recipe.student.steps)
            rows = [next(order) for _ in range(recipe.student.batch)]
            reference.distillation_step(
                model, optimizer, [texts[i] for i in rows], teacher[rows], recipe.student.temperature
            )
    return model


def _part(count: int, share: float) -> int:
    return min(count, max(2, round(share * count)))


def _draws(count: int) -> Iterator[int]:
    """Positions without end, each once before any comes again."""
    while True:
        yield from torch.randperm(count).tolist()


def _text(context: RunContext, row: dict[str, Any]) -> str:
    return " ".join(row[field] for field in context.task.fields)


def accuracy(scores: torch.Tensor, gold: torch.Tensor) -> float:
    """Share of the rows whose best label is the gold one."""
    return float((scores.argmax(dim=1) == gold).double().mean())


def noise(first: float, second: float, rows: int) -> float:
    """Two standard errors of the difference of two accuracies on so many rows."""
    return 2 * math.sqrt((first * (1 - first) + second * (1 - second)) / rows)


@click.command()
@click.argument("name", default="agnews")
@click.option("--precision", default="auto", show_default=True, help="of pet; the reference computes in float32")
@click.option("--examples", default=32, show_default=True)
@click.option("--pool", "pool_size", default=2000, show_default=True)
@click.option("--test-rows", default=500, show_default=True)
@click.option("--steps", default=40, show_default=True, help="updates of a member")
@click.option("--student-steps", default=200, show_default=True)
@click.option("--length", default=reference.LENGTH, show_default=True, help="tokens that the reference pads to")
@click.option("--share", default=1.0, show_default=True, help="of the reference's updates and texts; see the top")
@common.options
def main(
    name: str, precision: str, examples: int, pool_size: int, test_rows: int, steps: int, student_steps: int,
    length: int, share: float, model: Path, data: Path, threads: int, clock: str, output: Path, **_: Any,
) -> None:  # fmt: skip
    """Print both times, their ratio, and the accuracies."""
    torch.set_num_threads(threads)
    from pet.backbones.meta import count_parameters

    from pet.recipe import learning_rate_for, make_recipe, student_rate_for
    from pet.task.task import Task

    described = Task.load(name).to_dict()
    task = Task.from_dict({**described, "patterns": described["patterns"][:PATTERNS]})
    settings = {
        "repetitions": REPETITIONS, "steps": steps, "student_steps": student_steps, "max_length": length,
        "warmup": reference.WARMUP,
    }  # fmt: skip
    size = count_parameters(str(model))
    context = RunContext(
        task, *(common.read_rows(data, name, part, count, task.fields) for part, count in
                (("train", examples), ("unlabeled", pool_size), ("test", test_rows))),
        model, make_recipe("default", settings), (learning_rate_for(size), student_rate_for(size)),
        common.CLOCKS[clock],
    )  # fmt: skip
    ours, our_accuracy = pet_run(context, precision)
    theirs, their_accuracy = reference_run(context, share)
    figures = {
        "task": name, "model": model.name, "precision": precision, **settings, "examples": examples,
        "pool": len(context.pool), "test": len(context.test), "share": share,
        "seconds": {"pet": round(ours, 1), "reference": {stage: round(s, 1) for stage, s in theirs.items()}},
        "ratio": round(theirs["all"] / ours, 2),
        "accuracy": {"pet": our_accuracy, "reference": their_accuracy},
    }  # fmt: skip
    common.record(output, "whole_run", threads, clock, figures)
    extrapolated = "" if share >= 1 else f" (from {100 * share:g} % of its updates and texts)"
    click.echo(
        f"{name}: {ours:.0f} s, {figures['ratio']:.1f} times as fast as the reference's {theirs['all']:.0f} s"
        f"{extrapolated}"
    )
    for row, ours_is in our_accuracy.items():
        if their_accuracy is None:
            click.echo(f"{row}: accuracy {100 * ours_is:.1f}")
            continue
        theirs_is = their_accuracy[row]
        limit, apart = noise(ours_is, theirs_is, len(context.test)), abs(ours_is - theirs_is)
        click.echo(
            f"{row}: accuracy {100 * ours_is:.1f}, the reference's {100 * theirs_is:.1f}: "
            f"{'within' if apart <= limit else 'beyond'} two standard errors ({100 * limit:.1f} points)"
        )


if __name__ == "__main__":
    sys.exit(main())
