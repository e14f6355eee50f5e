"""`review.py` with members that are not fine-tuned, so that many choices can be compared in minutes.

    python benchmarks/review_quick.py agnews sst2 yelp tickets --seeds 3

A member is a logistic regression on what an untrained pattern has at its mask, added to the score of its words; one
more learns from embeddings. That is less than PET, and its figures say only which texts teach more. Each strategy
chooses texts of the pool; their hidden labels are revealed, and the members learn again. `random` is the mean of ten
draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import click
import common
import numpy as np
from draws import SETS, Draw, Size, make_draw
from peers import model_of
from review import STRATEGIES, hidden_labels

Array = np.ndarray[Any, Any]
EXAMPLES, ADDED = (0, 10, 32), (10, 20, 40)
PATTERNS, RANDOM = 3, 10
INTRO = """# Which texts to label next, with members that are not fine-tuned

Produced by `python benchmarks/review_quick.py`. Accuracy of the merged labels in percent, before and after the hidden
labels of 40 texts of the pool were revealed, and the differences from random texts after 10, 20 and 40 labels, in
points, with the standard error over draws.

"""


@dataclass
class Members:
    """What the members know of some texts: features, and scores that need no labels, for each member."""

    features: list[Array]
    scores: list[Array]
    vectors: Array


def read_members(draw: Draw, model: str, part: str) -> Members:
    """Let the untrained model read the texts of a part of a draw, once for each pattern and once without."""
    import torch
    from datasets import load_dataset

    from pet.embeddings.encoder import open_encoder
    from pet.members.scoring import _Batches, _for_each_batch
    from pet.student.classifier import TextInput
    from pet.training.device import make_accelerator
    from pet.training.losses import label_scores

    task = draw.task
    table = load_dataset("json", data_files=str(draw.folder / f"{part}.jsonl"), split="train")
    accelerator, found = make_accelerator("cpu", "fp32"), Members([], [], np.zeros(0))
    for number in range(min(PATTERNS, len(task.patterns))):
        first = common.FirstPattern(task.with_patterns([number + 1]), model)
        lm: Any = first.open()
        pvp = first.pvp
        words, labels = torch.from_numpy(pvp.words), torch.from_numpy(pvp.word_to_label)

        def both(batch: Any) -> Any:
            features = lm.features(batch, batch["rows"], batch["positions"])  # noqa: B023
            scores = label_scores(lm.project(features, words), labels)  # noqa: B023
            return torch.cat([scores, features], dim=1)

        out = np.empty((len(table), len(task.labels) + lm.model.config.hidden_size), dtype=np.float32)
        tokens = first.tokenize(table)
        _for_each_batch(both, lm, first.tokenizer, pvp, tokens, accelerator, _Batches(8192, out, lambda rows: None))
        found.scores.append(out[:, : len(task.labels)].astype(np.float64))
        found.features.append(out[:, len(task.labels) :].astype(np.float64))
    encoder = open_encoder(model, TextInput(task.fields, task.input), 160)
    found.vectors = np.asarray(encoder.embed(table, accelerator))
    return found


class World:
    """All texts of a draw in one table: examples, pool, test texts."""

    def __init__(self, parts: Sequence[Members], gold: Array, labels: int):
        from pet.numerics import log_softmax

        self.gold, self.labels = gold, labels
        self.vectors = np.concatenate([part.vectors for part in parts]).astype(np.float64)
        self.features, self.scores = [], []
        for number in range(len(parts[0].scores)):
            scores = log_softmax(np.concatenate([part.scores[number] for part in parts]))
            scores -= scores.mean(axis=0)  # an untrained pattern prefers some labels
            self.scores.append(1.5 * scores / scores.std())
            self.features.append(_unit(np.concatenate([part.features[number] for part in parts])))
        self.features.append(_unit(self.vectors))
        self.scores.append(np.zeros_like(self.scores[0]))
        patterns = len(self.scores) - 1
        self.weights = np.asarray([0.6 / patterns] * patterns + [0.4])

    def learned(self, rows: Array) -> list[Array]:
        """Return the log-probabilities of each member that learns from these texts."""
        from scipy.optimize import minimize

        from pet.numerics import log_softmax

        found, goal = [], np.eye(self.labels)[self.gold[rows]]
        for features, scores in zip(self.features, self.scores, strict=True):
            own, start = features[rows], scores[rows]
            size = features.shape[1], self.labels

            def loss(flat: Array) -> tuple[float, Array]:
                weight = flat.reshape(size)  # noqa: B023
                logs = log_softmax(start + own @ weight)  # noqa: B023
                slope = own.T @ (np.exp(logs) - goal) + weight  # noqa: B023
                return float(-(goal * logs).sum() + 0.5 * (weight**2).sum()), slope.ravel()

            best = minimize(loss, np.zeros(size[0] * size[1]), jac=True, method="L-BFGS-B", options={"maxiter": 30})
            found.append(log_softmax(scores + features @ best.x.reshape(size)))
        return found if len(rows) else [log_softmax(own) for own in self.scores]

    def merged(self, members: Sequence[Array]) -> Array:
        """Return the merged log-probabilities."""
        return np.asarray(sum(weight * own for weight, own in zip(self.weights, members, strict=True)))


def _unit(features: Array) -> Array:
    centered = features - features.mean(axis=0)
    ones = np.ones((len(features), 1))
    return np.concatenate([4 * centered / np.linalg.norm(centered, axis=1, keepdims=True), ones], axis=1)


def chosen(world: World, known: Array, pool: Array, strategy: str, count: int, seed: int) -> list[Array]:
    """Return the rows that a strategy would label; several draws if it is a matter of chance."""
    from pet.numerics import softmax
    from pet.review.choose import choose, margin_doubt

    if strategy == "random":
        dice = np.random.default_rng([seed, count])
        return [pool[dice.permutation(len(pool))[:count]] for _ in range(RANDOM)]
    scores = [own[pool] for own in world.learned(known)]
    merged = softmax(world.merged(scores))
    if strategy == "entropy":
        entropy = -(merged * np.log(np.maximum(merged, 1e-12))).sum(axis=1)
        return [pool[np.argsort(-entropy, kind="stable")[:count]]]
    doubt = margin_doubt(merged) if len(known) else np.zeros(len(pool))
    return [pool[choose(doubt, world.vectors[pool], count, seed)]]


def one_line(wanted: Mapping[str, Any], shared: Path, tested: dict[str, Members]) -> dict[str, Any]:
    """Compare the strategies on one draw, from each number of examples."""
    source = SETS[wanted["task"]]
    model = model_of(wanted["task"], wanted["model"], shared)
    with TemporaryDirectory(prefix="pet-review-") as folder:
        size = Size(max(EXAMPLES), wanted["pool"], wanted["test"])
        draw = make_draw(source, shared / "data", size, wanted["seed"], Path(folder))
        places = {label: number for number, label in enumerate(draw.task.labels)}
        hidden = [places[label] for label in hidden_labels(source.folder, draw, shared).values()]
        train = [places[row["label"]] for row in _rows(draw, "train")]
        parts = [read_members(draw, model, part) for part in ("train", "unlabeled")]
        if wanted["task"] not in tested:  # the test texts are the same for all seeds
            tested[wanted["task"]] = read_members(draw, model, "test")
        gold = np.concatenate([train, hidden, draw.gold]).astype(np.int64)
        world = World([*parts, tested[wanted["task"]]], gold, len(places))
    pool = len(train) + np.arange(len(hidden))
    test = np.arange(len(train) + len(hidden), len(gold))

    def accuracy(rows: Array) -> float:
        return float((world.merged(world.learned(rows))[test].argmax(axis=1) == gold[test]).mean())

    figures = []
    for examples in EXAMPLES:
        known = np.arange(len(train))[:examples]
        after = {
            strategy: [
                fmean(
                    accuracy(np.concatenate([known, rows]))
                    for rows in chosen(world, known, pool, strategy, count, wanted["seed"])
                )
                for count in ADDED
            ]
            for strategy in STRATEGIES
        }
        figures.append({"examples": examples, "before": accuracy(known), "after": after})
    return {**wanted, "figures": figures}


def _rows(draw: Draw, part: str) -> common.Rows:
    import json

    return [json.loads(line) for line in (draw.folder / f"{part}.jsonl").open(encoding="utf-8")]


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Format one row per data set and number of examples, and their mean."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        for number, examples in enumerate(EXAMPLES):
            groups.setdefault(f"{line['task']}, {examples}", []).append(line["figures"][number])
    groups["mean"] = [figures for line in lines for figures in line["figures"]]
    rows = []
    for name, figures in groups.items():
        cells = [common.spread([own["before"] for own in figures])]
        cells += [common.spread([own["after"][strategy][-1] for own in figures]) for strategy in STRATEGIES]
        for strategy in ("suggest", "entropy"):
            for place in range(len(ADDED)):
                gaps = [100 * (own["after"][strategy][place] - own["after"]["random"][place]) for own in figures]
                error = float(np.std(gaps, ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")
                cells.append(f"{fmean(gaps):+.1f} ± {error:.1f}")
        rows.append([name, *cells, len(figures)])
    head = ["data, labels", "before", *STRATEGIES]
    head += [f"{strategy} +{count}" for strategy in ("suggest", "entropy") for count in ADDED]
    return common.markdown([*head, "draws"], rows)


@click.command()
@click.argument("tasks", nargs=-1)
@click.option("--seeds", default=3, show_default=True, help="Number of seeds.")
@common.output_option(common.HERE / "results" / "review_quick.jsonl")
@common.shared_option
@common.threads_option
@click.option("--model", default="mini-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--pool-size", default=300, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=500, show_default=True, help="Texts of the test set.")
def main(tasks: tuple[str, ...], seeds: int, output: Path, shared: Path, **options: Any) -> None:
    """Make the draws that are missing and print the table. TASKS are names in draws.py."""
    import torch

    torch.set_num_threads(options["threads"])
    same = {"model": options["model"], "pool": options["pool_size"], "test": options["test_rows"]}
    wanted = [{"task": task, "seed": seed, **same} for task in tasks for seed in range(seeds)]
    tested: dict[str, Members] = {}
    done = common.make_missing(
        output, wanted, lambda run: one_line(run, shared, tested), lambda lines: INTRO + table(lines)
    )
    click.echo(table(done))


if __name__ == "__main__":
    main()
