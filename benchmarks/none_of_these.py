"""Texts that fit no label: which figure of a model tells them from the others.

    python benchmarks/none_of_these.py --domains 10

Each run takes one domain of CLINC150 as a task of 15 labels, with some labeled texts each. A member is trained with the
first pattern, and logistic regression is fitted to embeddings. The area under the ROC curve says how often a text of a
label scores higher than one of no label: requests to no domain at all (``outside``), and requests to the other nine.

Reads the data sets and models in ../shared, which are not part of the project.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.members.shared import Shared
    from pet.task.task import Task

Array = np.ndarray
INTRO = """# Texts that fit no label

Produced by `python benchmarks/none_of_these.py`. Area under the ROC curve, in percent: how often a text of one of 15
labels scores higher than a text of none. Each of {runs} runs has one domain of CLINC150 as its task, with {shots}
labeled texts for each label, `minilm-mlm-en`, and one pattern.

"""


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def task_of(labels: list[str]) -> Task:
    """Return CLINC150's task with some of the labels and the first pattern."""
    from pet.task.task import Task

    pattern = Task.load(common.HERE / "clinc.yaml").patterns[0]
    words = {label: list(pattern.verbalizer.words[label]) for label in labels}
    values = {"task": "clinc", "fields": ["text"], "labels": labels, "verbalizer": words}
    return Task.from_dict(values | {"patterns": [pattern.template.source]})


def table_of(texts: list[str], most: int, generator: np.random.Generator) -> Dataset:
    """Return at most this many of the texts."""
    from datasets import Dataset

    chosen = generator.permutation(len(texts))[:most]
    return Dataset.from_dict({"id": list(map(str, chosen)), "text": [texts[i] for i in chosen]})


def figures(shared: Shared, train: Dataset, gold: Array, tables: dict[str, Dataset], seed: int) -> Any:
    """Return each figure of each table; the higher, the better a text fits the labels."""
    from pet.embeddings.logistic import fit_logistic
    from pet.members.scoring import mass_rows, score_rows
    from pet.members.texts import Texts
    from pet.members.training import ClozeData, train_member
    from pet.numerics import log_softmax

    (pvp,) = shared.pvps
    vectors = {name: shared.vectors(Texts(table)) for name, table in tables.items()}
    known = shared.vectors(Texts(train))
    regression, _ = fit_logistic(known, gold, len(shared.task.labels), seed)
    lm = shared.models.untrained()
    options: dict[str, Any] = {"max_tokens": 8192}

    def of_model(function: Any, table: Dataset) -> Array:
        return np.asarray(
            function(lm, shared.tokenizer, pvp, shared.plan.tokenize(table), shared.accelerator, **options)
        )

    found: dict[str, dict[str, Array]] = {name: {} for name in tables}
    for name, table in tables.items():
        found[name]["mass, untrained"] = of_model(mass_rows, table)
    data = ClozeData(shared.plan.tokenize(train), gold, None)
    train_member(lm, pvp, data, shared.recipe, seed, shared.accelerator)
    for name, table in tables.items():
        scores = of_model(score_rows, table)
        regressed = regression.log_probabilities(vectors[name])
        own, unit = log_softmax(scores.astype(np.float64)), unit_rows(vectors[name])
        merged = log_softmax((own + regressed) / 2)
        found[name] |= {
            "mass": of_model(mass_rows, table),
            "probability": own.max(axis=1),
            "energy": np.logaddexp.reduce(scores, axis=1),
            "probability, embeddings": regressed.max(axis=1),
            "probability, both": merged.max(axis=1),
            "nearest text": (unit @ unit_rows(known).T).max(axis=1),
            "nearest label": (unit @ unit_rows(centers(known, gold)).T).max(axis=1),
        }
    return found


def unit_rows(vectors: Array) -> Array:
    """Return rows of length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def centers(vectors: Array, gold: Array) -> Array:
    """Return the mean vector of each label."""
    return np.stack([unit_rows(vectors)[gold == label].mean(axis=0) for label in range(int(gold.max()) + 1)])


def one_run(run: dict[str, Any], shared_folder: Path) -> dict[str, Any]:
    """Return the area under the curve of each figure, for one domain."""
    from datasets import Dataset
    from sklearn.metrics import roc_auc_score

    from pet.backbones.info import ModelInfo
    from pet.members.models import Models
    from pet.members.shared import Shared
    from pet.recipe import fit_to_data, make_recipe

    data = shared_folder / "data" / "clinc"
    labeled, test = rows_of(data / "train.jsonl"), rows_of(data / "test.jsonl")
    domain = sorted({row["domain"] for row in labeled})[run["domain"]]
    task = task_of(sorted({row["label"] for row in labeled if row["domain"] == domain}))
    generator = np.random.default_rng(run["seed"])
    own = [row for row in labeled if row["domain"] == domain]
    few = [row for label in task.labels for row in [r for r in own if r["label"] == label][: run["shots"]]]
    gold = np.asarray([task.labels.index(row["label"]) for row in few])
    train = Dataset.from_dict({"id": list(map(str, range(len(few)))), "text": [row["text"] for row in few]})
    tables = {
        "in": table_of([row["text"] for row in test if row["domain"] == domain], run["texts"], generator),
        "outside": table_of([row["text"] for row in rows_of(data / "outside.jsonl")], run["texts"], generator),
        "other domains": table_of([r["text"] for r in test if r["domain"] != domain], run["texts"], generator),
    }
    given = {"max_length": 64, "learning_rate": 5e-5, "unlabeled_batch": 0}
    recipe = fit_to_data(make_recipe("default", given), [], len(few), len(task.labels))
    info = ModelInfo(str(shared_folder / "models" / "minilm-mlm-en"))
    shared = Shared(task, recipe, Models(info, 64, shared=False), "cpu", "fp32", seed=run["seed"])
    found = figures(shared, train, gold, tables, run["seed"])
    areas = {}
    for other in ("outside", "other domains"):
        fits = np.repeat([1, 0], [len(tables["in"]), len(tables[other])])
        areas[other] = {
            name: float(roc_auc_score(fits, np.concatenate([values, found[other][name]])))
            for name, values in found["in"].items()
        }
    return {**run, "name": domain, "areas": areas}


def page(lines: list[dict[str, Any]]) -> str:
    """Format the mean over all runs as Markdown, the best figure first."""
    names = lines[0]["areas"]["outside"]
    mean = {
        name: [100 * float(np.mean([line["areas"][other][name] for line in lines])) for other in lines[0]["areas"]]
        for name in names
    }
    worst = {name: 100 * min(line["areas"]["outside"][name] for line in lines) for name in names}
    rows = [
        [name, *(f"{value:.1f}" for value in values), f"{worst[name]:.1f}"]
        for name, values in sorted(mean.items(), key=lambda item: -item[1][0])
    ]
    intro = INTRO.format(runs=len(lines), shots=lines[0]["shots"])
    return intro + common.markdown(["figure", "outside", "other domains", "outside, worst domain"], rows)


@click.command()
@common.output_option(common.HERE / "results" / "none_of_these.jsonl")
@common.shared_option
@click.option("--domains", default=10, show_default=True, help="Number of domains.")
@click.option("--seeds", default=1, show_default=True, help="Runs of each domain.")
@click.option("--shots", default=5, show_default=True, help="Labeled texts of each label.")
@click.option("--texts", default=200, show_default=True, help="Test texts of each kind.")
def main(output: Path, shared: Path, domains: int, seeds: int, shots: int, texts: int) -> None:
    """Make the runs that are missing and print the table."""
    runs = [
        {"domain": domain, "seed": seed, "shots": shots, "texts": texts}
        for seed in range(seeds)
        for domain in range(domains)
    ]
    click.echo(page(common.make_missing(output, runs, lambda run: one_run(run, shared), page)))


if __name__ == "__main__":
    main()
