"""Which texts to label next: `pet suggest` against random texts and the least certain ones, with labels that are known.

    python benchmarks/review.py agnews:32 sst2:32 --seeds 3 --model mini-en

A run is trained on the examples. Each strategy chooses texts of its pool; their hidden labels are revealed and added to
the examples, and a second run is trained. All strategies start from the same run. The accuracy is that of the merged
labels on test texts. `entropy` takes the texts with the highest entropy of the merged probabilities.

TASK:0 starts without labels, from untrained patterns. Reads the data sets and models in ../shared; the hidden labels
are used only to play the person who labels.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np
from draws import SETS, Draw, Size, make_draw
from peers import model_of

if TYPE_CHECKING:
    from pet.review.finished import FinishedRun

STRATEGIES = ("suggest", "random", "entropy")
INTRO = """# Which texts to label next

Produced by `python benchmarks/review.py`. Accuracy of the merged labels in percent, before and after the hidden labels
of some texts were revealed. "suggest - random" is paired over seeds, with its standard error over seeds.

"""


def chosen(run: FinishedRun, strategy: str, count: int, seed: int) -> set[str]:
    """Return the ids of the texts that a strategy would label."""
    from pet.review.suggest import suggest

    ids = list(run.texts("pool")["id"])
    if strategy == "suggest":
        return {suggestion.id for suggestion in suggest(run, count, seed)}
    if strategy == "random":
        return {ids[row] for row in np.random.default_rng([seed, 3]).permutation(len(ids))[:count]}
    return {ids[row] for row in np.argsort(-run.pool.entropy, kind="stable")[:count]}


def one_line(wanted: Mapping[str, Any], shared: Path) -> dict[str, Any]:
    """Train, let each strategy choose, reveal the labels, and train again."""
    from pet.review.finished import open_finished

    source = SETS[wanted["task"]]
    with tempfile.TemporaryDirectory(prefix="pet-review-") as place:
        folder = Path(place)
        size = Size(max(1, wanted["examples"]), wanted["pool"], wanted["test"])
        draw = make_draw(source, shared / "data", size, wanted["seed"], folder)
        gold = hidden_labels(source.folder, draw, shared)
        options = {
            "task": draw.task.to_dict(),
            "model": model_of(wanted["task"], wanted["model"], shared),
            "seed": wanted["seed"],
            "settings": {"student_steps": "1", **wanted["settings"]},
        }
        before = _trained(
            folder, "before", draw, options if wanted["examples"] else options | {"method": "zero-shot", "train": None}
        )
        run = open_finished(folder / "before" / "run")
        after = {}
        for strategy in STRATEGIES:
            picked = chosen(run, strategy, wanted["labels"], wanted["seed"])
            known = _reveal(folder / strategy, draw, picked, gold, keep=bool(wanted["examples"]))
            after[strategy] = _trained(folder, strategy, known, options)
    return {**wanted, "before": before, "after": after}


def hidden_labels(name: Path, draw: Draw, shared: Path) -> dict[str, str]:
    """Return id -> label of the pool, found by text in the data set's own hidden labels."""
    from draws import key

    place = shared / "data" / name
    with (place / "unlabeled.jsonl").open(encoding="utf-8") as texts, (place / "unlabeled_gold.jsonl").open() as labels:
        pairs = zip(map(json.loads, texts), map(json.loads, labels), strict=True)
        known = {key(row, draw.task): str(gold["label"]) for row, gold in pairs}
    with (draw.folder / "unlabeled.jsonl").open(encoding="utf-8") as lines:
        return {row["id"]: known[key(row, draw.task)] for row in map(json.loads, lines)}


def _reveal(folder: Path, draw: Draw, picked: set[str], gold: Mapping[str, str], *, keep: bool) -> Draw:
    """Move the picked texts with their labels from the pool to the examples."""
    folder.mkdir()
    pool = [json.loads(line) for line in (draw.folder / "unlabeled.jsonl").open(encoding="utf-8")]
    examples = [json.loads(line) for line in (draw.folder / "train.jsonl").open(encoding="utf-8")] if keep else []
    examples += [row | {"label": gold[row["id"]]} for row in pool if row["id"] in picked]
    for name, rows in (("train", examples), ("unlabeled", [row for row in pool if row["id"] not in picked])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shutil.copy(draw.folder / "test.jsonl", folder)
    return Draw(folder, draw.task, draw.gold, draw.seed)


def _trained(folder: Path, name: str, draw: Draw, options: dict[str, Any]) -> float:
    """Run, and return the accuracy of the merged labels."""
    from pet.progress import Reporter

    place = folder / name
    place.mkdir(exist_ok=True)
    results, _ = common.run_in(place, draw.folder, len(draw.gold), options, reporter=Reporter("quiet"))
    return float(results["ensemble"]["accuracy"])


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Format one row per data set and number of examples, and their mean."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        groups.setdefault(f"{line['task']}, {line['examples']} + {line['labels']}, {line['model']}", []).append(line)
    rows = []
    for name, runs in [*groups.items(), ("mean", list(lines))]:
        cells = [common.spread([run["before"] for run in runs])]
        cells += [common.spread([run["after"][strategy] for run in runs]) for strategy in STRATEGIES]
        gaps = [100 * (run["after"]["suggest"] - run["after"]["random"]) for run in runs]
        error = float(np.std(gaps, ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else float("nan")
        rows.append([name, *cells, f"{fmean(gaps):+.1f} ± {error:.1f}", len(runs)])
    return common.markdown(["data, labels", "before", *STRATEGIES, "suggest - random", "runs"], rows)


@click.command()
@common.run_options("review")
@common.shared_option
@common.threads_option
@click.option("--model", default="mini-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--labels", default=40, show_default=True, help="Texts to label.")
@click.option("--pool-size", default=1000, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=1000, show_default=True, help="Texts of the test set.")
def main(
    wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], shared: Path, **options: Any
) -> None:
    """Make the runs that are missing and print the table. TASK is one of the names in draws.py."""
    import torch

    torch.set_num_threads(options["threads"])
    same = {"model": options["model"], "labels": options["labels"], "pool": options["pool_size"]}
    same |= {"test": options["test_rows"], "settings": common.setting_pairs(changes)}
    runs = [run | same for run in common.wanted_runs(wanted, seeds)]
    done = common.make_missing(output, runs, lambda run: one_line(run, shared), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
