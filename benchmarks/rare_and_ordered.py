"""Options for labels in an order and for rare labels, with and without, on the same draws.

    python benchmarks/rare_and_ordered.py --threads 1

Ordered labels: five stars of `yelp`, students with and without `student_loss=ordinal` from the same members. Rare
labels: a draw of `agnews` with 24, 12, 4 and 2 texts of its labels, members with and without `class_weight=balanced`
and `balanced_batches=true`. Figures are from labeled texts of the training set that were not drawn. Lines that exist
are not made again.

Reads the data sets and models in ../shared, which are not part of the project.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import common
import numpy as np

EXAMPLES, COUNTS = 50, (24, 12, 4, 2)  # of yelp; of each label of agnews
PATTERNS = [1, 2]
SETTINGS = {"repetitions": "1", "max_length": "64", "student_steps": "100"}
PARTS = {
    "ordered": {"student_loss=kl": {}, "student_loss=ordinal": {"student_loss": "ordinal"}},
    "rare": {
        "neither": {},
        "class_weight=balanced": {"class_weight": "balanced"},
        "balanced_batches=true": {"balanced_batches": "true"},
    },
}
INTRO = """# Labels in an order, and rare labels

Produced by `python benchmarks/rare_and_ordered.py`: `minilm-mlm-en`, two patterns with one member each, 64 tokens, a
pool of {pool} texts, and {rows} labeled texts of the training set that were not drawn; 100 updates of the student.

"""


def files_of(part: str, seed: int, data: Path, wanted: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Draw labeled texts, and write them, the pool and the texts to test on."""
    name = "yelp" if part == "ordered" else "agnews"
    lines = (data / name / "train.jsonl").read_text(encoding="utf-8").splitlines()
    order = np.random.default_rng(seed).permutation(len(lines))
    rows = [json.loads(lines[place]) for place in order]
    if part == "ordered":
        train, rest = rows[:EXAMPLES], rows[EXAMPLES:]
    else:
        names = sorted({row["label"] for row in rows})
        quota = dict(zip(np.roll(names, seed).tolist(), COUNTS, strict=True))
        train, rest = [], []
        for row in rows:
            taken = quota[row["label"]] > 0
            quota[row["label"]] -= taken
            (train if taken else rest).append(row)
    for file, kept in (("train", train), ("test", rest[: wanted["rows"]])):
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    common.first_rows(data / name / "unlabeled.jsonl", wanted["pool"], folder / "unlabeled.jsonl")
    return {file: str(folder / f"{file}.jsonl") for file in ("train", "unlabeled", "test")}


def figures_of(metrics: Mapping[str, Any], rare: list[str]) -> dict[str, float]:
    """Return the figures that the tables show."""
    names = [name for name in ("accuracy", "macro_f1", "qwk", "mae") if name in metrics]
    recall = [metrics["per_class"][label]["recall"] for label in rare]
    return {name: metrics[name] for name in names} | ({"rare": float(np.mean(recall))} if rare else {})


def measure(wanted: Mapping[str, Any], shared: Path, model: str) -> dict[str, Any]:
    """Run all options of a part on one draw."""
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings
    from pet.task.task import Task

    part, found, begun = wanted["part"], {}, time.process_time()
    task = Task.load("yelp" if part == "ordered" else "agnews").with_patterns(PATTERNS)
    mapping = task.to_dict() | ({"ordered": "true", "metrics": ["accuracy", "qwk", "mae"]} if part == "ordered" else {})
    with tempfile.TemporaryDirectory(prefix="pet-rare-") as place:
        folder, first = Path(place), None
        files = files_of(part, wanted["seed"], shared / "data", wanted, folder)
        drawn = [json.loads(line)["label"] for line in Path(files["train"]).read_text().splitlines()]
        counts = {label: drawn.count(label) for label in task.labels}
        rare = [] if part == "ordered" else [label for label, count in counts.items() if count <= COUNTS[2]]
        for name, changes in PARTS[part].items():
            settings = RunSettings(
                task=mapping, train=files["train"], unlabeled=files["unlabeled"], test=files["test"],
                model=str(shared / "models" / model), settings=SETTINGS | changes,
                seed=wanted["seed"], device="cpu", reuse=first if part == "ordered" else None,
            )  # fmt: skip
            output = folder / name.replace("=", "-")
            results = run(settings, output)
            found[name] = {result: figures_of(results[result], rare) for result in ("ensemble", "student")}
            first = first or str(output)
    return {**wanted, "found": found, "counts": counts, "cpu": round(time.process_time() - begun)}


def page(lines: list[Any]) -> str:
    """Return the results as a Markdown page."""
    if not lines:
        return ""
    parts = [INTRO.format(pool=lines[0]["pool"], rows=lines[0]["rows"])]
    names = {"accuracy": "accuracy", "macro_f1": "macro F1", "qwk": "quadratic kappa", "mae": "mean distance",
             "rare": "recall of the two rare labels"}  # fmt: skip
    for part, title in (("ordered", "Five stars"), ("rare", "24, 12, 4 and 2 texts of four topics")):
        mine = [line for line in lines if line["part"] == part]
        if not mine:
            continue
        columns = [name for name in names if name in mine[0]["found"][next(iter(PARTS[part]))]["student"]]
        rows = []
        for option in PARTS[part]:
            for result in ("ensemble", "student"):
                if part == "ordered" and result == "ensemble" and option != next(iter(PARTS[part])):
                    continue  # the same members
                figures = [line["found"][option][result] for line in mine]
                label = f"{result}, {option}" if part == "rare" or result == "student" else result
                values = [float(np.mean([one[name] for one in figures])) for name in columns]
                rows.append([label, *(f"{value:.3f}" for value in values)])
        drawn = f"{len(mine)} draw" + "s" * (len(mine) > 1)
        filled = common.markdown(["", *(names[name] for name in columns)], rows)
        parts.append(f"## {title}: means over {drawn}\n\n{filled}")
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--seeds", default=1, show_default=True, help="Number of draws.")
@click.option("--rows", default=300, show_default=True, help="Texts to test on.")
@click.option("--pool", default=300, show_default=True, help="Unlabeled texts.")
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models.")
@common.output_option(common.HERE / "results" / "rare_and_ordered.jsonl")
@common.shared_option
@common.threads_option
def main(
    parts: tuple[str, ...], seeds: int, rows: int, pool: int, model: str, output: Path, shared: Path, threads: int
) -> None:
    """Measure PARTS; both by default."""
    import torch

    torch.set_num_threads(threads)
    runs = [
        {"part": part, "seed": seed, "rows": rows, "pool": pool} for seed in range(seeds) for part in parts or PARTS
    ]
    done = common.make_missing(output, runs, lambda wanted: measure(wanted, shared, model), page)
    click.echo(page(done))


if __name__ == "__main__":
    main()
