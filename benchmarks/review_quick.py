"""`review.py` with members that are not fine-tuned, on labeled texts only, so that many choices can be compared.

    python benchmarks/review_quick.py sst2 agnews yelp clinc-domains --draws 10

A member is a logistic regression on what an untrained pattern has at its mask, reduced to 40 dimensions, added to the
score of its words; one more learns from embeddings. That is less than PET, and its figures say only which texts teach
more. Pool and test texts are drawn from the labeled train texts of a set, so that what is chosen by these figures has
seen no test texts. Each strategy chooses texts of the pool; their labels are revealed, and the members learn again.
`random` is the mean of four draws. What the untrained model says about the texts is kept in `--cache`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import click
import common
import numpy as np
from draws import SETS, Draw, codes, read_rows, write
from peers import model_of

from pet.task.task import Task

Array = np.ndarray[Any, Any]
EXAMPLES, ADDED = (10, 32), 40
TEXTS, TESTED, POOL, PATTERNS, RANDOM, DIMENSIONS = 800, 350, 300, 3, 4, 40
STRATEGIES = ("suggest", "random", "disagreement", "unweighted", "entropy")
INTRO = """# Which texts to label next, with members that are not fine-tuned

Produced by `python benchmarks/review_quick.py`, on labeled train texts. Accuracy of the merged labels in percent, from
10 and 32 labels, before and after those of 40 texts of the pool were revealed: those of `pet suggest` (the middle of
each cluster, weighted by the margin of the merged label), random ones, the same clusters weighted by the disagreement
of the members, or not weighted, and the texts with the highest entropy. Differences from random texts are in points,
with the standard error over draws.

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
    """The texts of a set: what the members know of them, and their labels."""

    def __init__(self, read: Members, gold: Array, labels: int):
        from sklearn.decomposition import PCA

        from pet.numerics import log_softmax

        def reduced(features: Array) -> Array:
            return _unit(PCA(DIMENSIONS, random_state=0).fit_transform(features))

        self.gold, self.labels, self.vectors = gold, labels, read.vectors.astype(np.float64)
        self.features, self.scores = [], []
        for features, own in zip(read.features, read.scores, strict=True):
            scores = log_softmax(own)
            scores -= scores.mean(axis=0)  # an untrained pattern prefers some labels
            self.scores.append(0.4 * scores / scores.std())
            self.features.append(reduced(features))
        self.features.append(reduced(self.vectors))
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

            best = minimize(loss, np.zeros(size[0] * size[1]), jac=True, method="L-BFGS-B", options={"maxiter": 25})
            found.append(log_softmax(scores + features @ best.x.reshape(size)))
        return found if len(rows) else [log_softmax(own) for own in self.scores]

    def merged(self, members: Sequence[Array]) -> Array:
        """Return the merged log-probabilities."""
        return np.asarray(sum(weight * own for weight, own in zip(self.weights, members, strict=True)))


def _unit(features: Array) -> Array:
    centered = features - features.mean(axis=0)
    ones = np.ones((len(features), 1))
    return np.concatenate([4 * centered / np.linalg.norm(centered, axis=1, keepdims=True), ones], axis=1)


def chosen(world: World, known: Array, pool: Array, draw: int) -> Iterator[tuple[str, list[Array]]]:
    """Yield the rows that each strategy would label; several draws of random ones."""
    from pet.numerics import softmax
    from pet.review.choose import choose, divergence, margin_doubt

    scores = [own[pool] for own in world.learned(known)]
    merged = softmax(world.merged(scores))
    entropy = -(merged * np.log(np.maximum(merged, 1e-12))).sum(axis=1)
    yield "random", [pool[np.random.default_rng([draw, k]).permutation(len(pool))[:ADDED]] for k in range(RANDOM)]
    yield "entropy", [pool[np.argsort(-entropy, kind="stable")[:ADDED]]]
    disagreement = divergence(scores, world.weights)
    weights = {
        "suggest": margin_doubt(merged),
        "disagreement": disagreement / max(disagreement.max(), 1e-12),
        "unweighted": np.zeros(len(pool)),
    }
    for name, weight in weights.items():
        yield name, [pool[choose(weight, world.vectors[pool], ADDED, draw)]]


def open_world(name: str, model: str, shared: Path, cache: Path) -> World:
    """Return the labeled train texts of a set; what the untrained model says about them is read from the cache."""
    source = SETS[name]
    task = Task.load(source.task)
    rows = read_rows(shared / "data" / source.folder / "train.jsonl", task, labeled=True)
    rows = [rows[place] for place in np.random.default_rng(7).permutation(len(rows))[:TEXTS]]
    gold, kept = codes(rows, task), cache / f"{name}-{model}.npz"
    if not kept.exists():
        with TemporaryDirectory(prefix="pet-review-") as folder:
            write(Path(folder) / "unlabeled.jsonl", rows, task, labeled=False)
            read = read_members(Draw(Path(folder), task, gold), model_of(name, model, shared), "unlabeled")
        cache.mkdir(parents=True, exist_ok=True)
        each = {f"f{k}": own for k, own in enumerate(read.features)} | {
            f"s{k}": own for k, own in enumerate(read.scores)
        }
        np.savez(kept, vectors=read.vectors, **each)  # type: ignore[arg-type]  # allow_pickle is an option, too
    found = np.load(kept)
    patterns = range(min(PATTERNS, len(task.patterns)))
    read = Members(
        [found[f"f{k}"] for k in patterns], [found[f"s{k}"].astype(np.float64) for k in patterns], found["vectors"]
    )
    return World(read, gold, len(task.labels))


def one_line(wanted: Mapping[str, Any], world: World) -> dict[str, Any]:
    """Compare the strategies on one draw, from each number of examples, drawn evenly over the labels."""
    order = np.random.default_rng([wanted["draw"], 5]).permutation(len(world.gold))
    test, pool, rest = order[:TESTED], order[TESTED : TESTED + POOL], order[TESTED + POOL :]
    places = [rest[world.gold[rest] == label] for label in range(world.labels)]
    drawn = [own[turn] for turn in range(max(EXAMPLES)) for own in places if turn < len(own)]

    def accuracy(rows: Array) -> float:
        return float((world.merged(world.learned(rows))[test].argmax(axis=1) == world.gold[test]).mean())

    figures = []
    for examples in EXAMPLES:
        known = np.asarray(drawn[:examples])
        after = {
            strategy: fmean(accuracy(np.concatenate([known, rows])) for rows in picked)
            for strategy, picked in chosen(world, known, pool, wanted["draw"])
        }
        figures.append({"examples": examples, "before": accuracy(known), "after": after})
    return {**wanted, "figures": figures}


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Format one row per data set and number of examples, and their mean."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        for number, examples in enumerate(EXAMPLES):
            groups.setdefault(f"{line['task']}, {examples}", []).append(line["figures"][number])
    groups["mean"] = [figures for line in lines for figures in line["figures"]]
    rows = []
    others = [strategy for strategy in STRATEGIES if strategy != "random"]
    for name, figures in groups.items():
        cells = [
            common.spread([own["before"] for own in figures]),
            common.spread([own["after"]["random"] for own in figures]),
        ]
        for strategy in others:
            gaps = [100 * (own["after"][strategy] - own["after"]["random"]) for own in figures]
            error = float(np.std(gaps, ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")
            cells.append(f"{fmean(gaps):+.1f} ± {error:.1f}")
        rows.append([name, *cells, len(figures)])
    head = ["data, labels", "before", "random", *(f"{strategy} - random" for strategy in others), "draws"]
    return common.markdown(head, rows)


@click.command()
@click.argument("tasks", nargs=-1)
@click.option("--draws", default=10, show_default=True, help="Number of draws of examples, pool and test texts.")
@common.output_option(common.HERE / "results" / "review_quick.jsonl")
@common.shared_option
@common.threads_option
@click.option("--model", default="mini-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Folder to keep features of texts in.")
def main(tasks: tuple[str, ...], draws: int, output: Path, shared: Path, **options: Any) -> None:
    """Make the draws that are missing and print the table. TASKS are names in draws.py."""
    import torch

    torch.set_num_threads(options["threads"])
    done: list[Any] = []
    for task in tasks:
        world = open_world(task, options["model"], shared, options["cache"])
        wanted = [{"task": task, "draw": draw, "model": options["model"]} for draw in range(draws)]
        done = common.make_missing(output, wanted, lambda run: one_line(run, world), lambda lines: INTRO + table(lines))  # noqa: B023
    click.echo(table(done))


if __name__ == "__main__":
    main()
