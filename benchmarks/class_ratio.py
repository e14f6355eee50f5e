"""What the class ratio is worth: balanced examples, unlabeled and test texts in another ratio.

    python benchmarks/class_ratio.py agnews:32 sst2:32 --seeds 3

Each run draws balanced examples, and a pool and test texts in a skewed ratio (55, 25, 15 and 5% for four labels) or
in an even one. It trains all members once. Their merged scores are then corrected to different class ratios: none, an
estimate (``prior=estimated``), that of 100 reviewed texts of the pool (``prior=FILE``), and the true ratio. The table
has the accuracy on the test texts, the paired difference from no correction with a 95% interval (bootstrap over texts
and seeds), and how far the ratio is from the truth (total variation).

Reads the data sets in ../shared, which are not part of the project, with the hidden labels of the unlabeled texts to
draw them in a ratio. Training never reads these labels.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import common
import numpy as np
from draws import paired

Line = dict[str, Any]
SKEW = {2: (0.85, 0.15), 3: (0.6, 0.3, 0.1), 4: (0.55, 0.25, 0.15, 0.05), 5: (0.5, 0.25, 0.15, 0.06, 0.04)}
REVIEWED = 100  # texts of the pool whose labels are counted
INTRO = """# Class ratio

Produced by `python benchmarks/class_ratio.py`. The examples are balanced; the unlabeled and test texts have another
class ratio ("skewed") or the same one ("even"). Accuracy of the merged members on the test texts in percent, mean and
standard deviation over seeds, and the paired difference from no correction with its 95% interval (bootstrap over texts
and seeds). The error of the ratio is its total variation from the truth in percent.

"""


def draw_parts(folder: Path, data: Path, labels: list[str], wanted: Line, options: dict[str, Any]) -> np.ndarray:
    """Write pool and test texts in the wanted ratio; return the true labels of the pool."""
    generator = np.random.default_rng([wanted["seed"], len(labels)])
    shares = np.full(len(labels), 1 / len(labels))
    if wanted["pool"] == "skewed":
        shares = generator.permutation(SKEW[len(labels)])
    hidden = {row["id"]: row["label"] for row in _rows(data / "unlabeled_gold.jsonl")}
    pool = [row | {"label": str(hidden[row["id"]])} for row in _rows(data / "unlabeled.jsonl")]
    drawn = _draw(pool, labels, shares, options["pool_size"], generator)
    test = [row | {"label": str(row["label"])} for row in _rows(data / "test.jsonl")]
    _write(folder / "test.jsonl", _draw(test, labels, shares, options["test_rows"], generator))
    _write(folder / "unlabeled.jsonl", [{key: row[key] for key in row if key != "label"} for row in drawn])
    return np.array([labels.index(row["label"]) for row in drawn])


def _draw(rows: list[Line], labels: list[str], shares: Any, size: int, generator: np.random.Generator) -> list[Line]:
    """Draw rows in a ratio; fewer than wanted if a label has too few."""
    by_label = [[row for row in rows if row["label"] == label] for label in labels]
    size = min(size, *(int(len(own) / share) for own, share in zip(by_label, shares, strict=True)))
    drawn = [
        own[row]
        for own, share in zip(by_label, shares, strict=True)
        for row in generator.permutation(len(own))[: round(size * share)]
    ]
    return [drawn[row] for row in generator.permutation(len(drawn))]


def _rows(file: Path) -> list[Line]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _write(file: Path, rows: list[Line]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def one_run(wanted: Line, options: dict[str, Any]) -> Line:
    """Train all members once; which test texts each correction gets right."""
    from pet.ensemble.class_ratio import ratio_of_counts
    from pet.ensemble.combine import Ensemble
    from pet.run.class_ratio import FILE
    from pet.store.manifest import read_stages
    from pet.task.task import Task

    task = Task.load(wanted["task"])
    labels, data = [str(label) for label in task.labels], options["shared"] / "data" / wanted["task"]
    with tempfile.TemporaryDirectory(prefix="pet-ratio-") as place:
        folder = Path(place)
        gold = draw_parts(folder, data, labels, wanted, options)
        settings = {
            "task": task.to_dict(),
            "model": options["model"],
            "train": str(data / "train.jsonl"),
            "examples": wanted["examples"],
            "seed": wanted["seed"],
            "settings": {"student_steps": 1, "prior": "estimated", **options["settings"]},
        }
        (folder / "work").mkdir()
        _, seconds = common.run_in(folder / "work", folder, options["test_rows"], settings)
        run = folder / "work" / "run"
        merged = Ensemble.from_dict(read_stages(run)["g0/labels"]["info"], len(labels))
        scores = {
            part: [np.load(run / "g0" / name / f"{part}-logits.npy") for name in merged.names]
            for part in ("pool", "test")
        }
        estimate = np.array(json.loads((run / "g0" / FILE).read_text())["shares"])
        tests = np.array([labels.index(row["label"]) for row in _rows(folder / "test.jsonl")])
    plain = replace(merged, bias=np.zeros(len(labels)))
    reviewed = np.random.default_rng(wanted["seed"]).permutation(gold)[:REVIEWED]
    truth = np.bincount(gold, minlength=len(labels)) / len(gold)
    ratios = {
        "estimated": estimate,
        f"{REVIEWED} reviewed": ratio_of_counts(np.bincount(reviewed, minlength=len(labels))).shares,
        "given": truth,
    }
    right = {"none": plain.combine(scores["test"]).label == tests}
    right |= {
        name: plain.corrected(scores["pool"], ratio).combine(scores["test"]).label == tests
        for name, ratio in ratios.items()
    }
    ratios["none"] = np.bincount(plain.combine(scores["pool"]).label, minlength=len(labels)) / len(gold)
    return {
        **wanted,
        "texts": [len(gold), len(tests)],
        "seconds": round(seconds),
        "error": {name: float(np.abs(ratio - truth).sum() / 2) for name, ratio in ratios.items()},
        "right": {name: "".join(map(str, hits.astype(int).tolist())) for name, hits in right.items()},
    }


def table(lines: list[Line]) -> str:
    """Format the accuracies as Markdown."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault((line["task"], line["examples"], line["pool"]), []).append(line)
    rows = []
    for (name, examples, pool), runs in sorted(groups.items()):
        fewest = min(run["texts"][1] for run in runs)
        hits = {
            prior: np.array([[int(hit) for hit in run["right"][prior][:fewest]] for run in runs])
            for prior in runs[0]["right"]
        }
        for prior, found in hits.items():
            mean, low, high = paired(found, hits["none"])
            difference = "" if prior == "none" else f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
            accuracy = common.spread(found.mean(axis=1).tolist())
            error = common.spread([run["error"][prior] for run in runs])
            rows.append([name, examples, pool, prior, accuracy, difference, error, len(runs), fewest])
    head = ["task", "examples", "texts", "prior", "accuracy", "difference", "error of the ratio", "seeds", "test texts"]
    return common.markdown(head, rows)


@click.command()
@common.run_options("class_ratio")
@common.shared_option
@click.option("--model", default="mini-en", show_default=True, help="A model that comes with the package, or a folder.")
@click.option("--pool-size", default=800, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=800, show_default=True, help="Texts of the test set.")
def main(wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], **options: Any) -> None:
    """Make the runs that are missing and print the table."""
    options["settings"] = common.setting_pairs(changes)
    same = {"settings": options["settings"], "model": Path(options["model"]).name, "pool_size": options["pool_size"]}
    runs = [run | same | {"pool": pool} for run in common.wanted_runs(wanted, seeds) for pool in ("skewed", "even")]
    done = common.make_missing(output, runs, lambda run: one_run(run, options), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
