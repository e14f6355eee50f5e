"""Which texts to label next: `pet suggest` against random texts and the least certain ones, with labels that are known.

    python benchmarks/review.py agnews:32 sst2:32 --seeds 3 --labels 40 --set max_length=64

A run is trained on the examples. Each strategy chooses texts of its pool; their hidden labels are revealed and added to
the examples, and members are trained on all of them. The accuracy is that of the merged labels on test texts. `entropy`
takes the texts with the highest entropy of the merged probabilities.

Each line is one strategy on one draw, so lines that exist are not made again, and runs with other `--labels` or
`--strategies` add to the page and its plot. `--keep` is a folder for the first runs, from which all strategies start.

TASK:0 starts without labels, from untrained patterns. Reads the data sets and models in ../shared; the hidden labels
are used only to play the person who labels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np
from draws import SETS, Draw, Size, make_draw
from peers import model_of
from review_plot import plot

if TYPE_CHECKING:
    from pet.review.finished import FinishedRun

BEFORE, STRATEGIES = "before", ("suggest", "random", "entropy")
COMPARED = ("suggest", "random")  # a draw counts if it has these
INTRO = """# Which texts to label next

Produced by `python benchmarks/review.py`. Accuracy of the merged labels in percent, before and after the hidden labels
of some texts were revealed. Differences from random texts are paired over draws, in points, with their standard error.

![Accuracy by number of labels](review.svg)

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


class Simulation:
    """Draws, their first runs, and the runs after a strategy has chosen.

    Parameters
    ----------
    shared : folder with `data` and `models`
    keep : folder of the first runs
    settings, patterns : of all runs; `patterns` is how many patterns of each task are used
    """

    def __init__(self, shared: Path, keep: Path, settings: Mapping[str, str], patterns: int):
        self.shared, self.keep, self.settings, self.patterns = shared, keep, settings, patterns
        self._draw: tuple[Path, Draw, dict[str, str]] | None = None  # the last one

    def one_line(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Let a strategy choose, reveal the labels, train, and return the accuracy; or that of the first run."""
        from pet.review.finished import open_finished

        examples, place = wanted["examples"], self.keep / f"{wanted['task']}-{wanted['examples']}-{wanted['seed']}"
        draw, gold = self._make_draw(wanted, place)
        options = {
            "task": draw.task.with_patterns(range(1, min(self.patterns, len(draw.task.patterns)) + 1)).to_dict(),
            "model": model_of(wanted["task"], wanted["model"], self.shared),
            "seed": wanted["seed"],
            "settings": {"student_steps": "1", **self.settings},
            "estimate": False,
        }
        first = options if examples else options | {"method": "zero-shot", "train": None}
        if wanted["strategy"] == BEFORE or not (place / "run" / "metrics.json").exists():
            accuracy = _trained(place, first)
        if wanted["strategy"] != BEFORE:
            picked = chosen(open_finished(place / "run"), wanted["strategy"], wanted["labels"], wanted["seed"])
            with TemporaryDirectory(prefix="pet-review-") as folder:
                _reveal(place, Path(folder), picked, gold, keep=bool(examples))
                accuracy = _trained(Path(folder), options | {"unlabeled": None})  # the merged labels do without
        return {**wanted, "accuracy": accuracy}

    def _make_draw(self, wanted: Mapping[str, Any], place: Path) -> tuple[Draw, dict[str, str]]:
        """Return the draw of a line, and the hidden labels of its pool."""
        if self._draw is None or self._draw[0] != place:
            source = SETS[wanted["task"]]
            place.mkdir(parents=True, exist_ok=True)
            size = Size(max(1, wanted["examples"]), wanted["pool"], wanted["test"])
            draw = make_draw(source, self.shared / "data", size, wanted["seed"], place)
            self._draw = place, draw, hidden_labels(source.folder, draw, self.shared)
        return self._draw[1:]


def hidden_labels(name: Path, draw: Draw, shared: Path) -> dict[str, str]:
    """Return id -> label of the pool, found by text in the data set's own hidden labels."""
    from draws import key

    place = shared / "data" / name
    with (place / "unlabeled.jsonl").open(encoding="utf-8") as texts, (place / "unlabeled_gold.jsonl").open() as labels:
        pairs = zip(map(json.loads, texts), map(json.loads, labels), strict=True)
        known = {key(row, draw.task): str(gold["label"]) for row, gold in pairs}
    with (draw.folder / "unlabeled.jsonl").open(encoding="utf-8") as lines:
        return {row["id"]: known[key(row, draw.task)] for row in map(json.loads, lines)}


def _reveal(place: Path, folder: Path, picked: set[str], gold: Mapping[str, str], *, keep: bool) -> None:
    """Write the examples, with the picked texts and their labels, and the test texts."""
    pool = [json.loads(line) for line in (place / "unlabeled.jsonl").open(encoding="utf-8")]
    examples = [json.loads(line) for line in (place / "train.jsonl").open(encoding="utf-8")] if keep else []
    examples += [row | {"label": gold[row["id"]]} for row in pool if row["id"] in picked]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples), encoding="utf-8")
    shutil.copy(place / "test.jsonl", folder)


def _trained(place: Path, options: dict[str, Any]) -> float:
    """Run, and return the accuracy of the merged labels."""
    from pet.progress import Reporter
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings

    files = {name: str(place / f"{name}.jsonl") for name in ("train", "unlabeled", "test")}
    results = run(RunSettings(**{**files, **options}), place / "run", Reporter("quiet"))
    return float(results["ensemble"]["accuracy"])


# ---- the page ----------------------------------------------------------------------------------


def groups(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[int, dict[tuple[str, int], float]]]]:
    """Yield the name of each data set and number of examples, and its draws: (strategy, labels) -> accuracy."""
    found: dict[str, dict[int, dict[tuple[str, int], float]]] = {}
    for line in lines:
        name = f"{line['task']}, {line['examples']}"
        cell = found.setdefault(name, {}).setdefault(line["seed"], {})
        cell[line["strategy"], line["labels"]] = line["accuracy"]
    yield from found.items()


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Format one row per data set, number of examples and number of labels, and their mean."""
    named, rows = dict(groups(lines)), []
    added = sorted({line["labels"] for line in lines if line["strategy"] != BEFORE})
    for count in added:
        every: list[dict[tuple[str, int], float]] = []
        by_examples: dict[str, list[dict[tuple[str, int], float]]] = {}
        for name, draws in named.items():
            own = [draw for draw in draws.values() if all((strategy, count) in draw for strategy in COMPARED)]
            if own:
                rows.append(_row(f"{name} + {count}", own, count))
            every += own
            by_examples.setdefault(name.rpartition(", ")[2], []).extend(own)
        rows += [
            _row(f"mean, {examples} + {count}", own, count)
            for examples, own in by_examples.items()
            if own and len(own) < len(every)
        ]
        if every:
            rows.append(_row(f"mean + {count}", every, count))
    head = ["data, examples + labels", BEFORE, *STRATEGIES, "suggest - random", "entropy - random", "draws"]
    return common.markdown(head, rows)


def _row(name: str, draws: Sequence[Mapping[tuple[str, int], float]], count: int) -> list[object]:
    cells = [common.spread([draw[BEFORE, 0] for draw in draws])]
    for strategy in STRATEGIES:
        values = [draw[strategy, count] for draw in draws if (strategy, count) in draw]
        some = "" if len(values) == len(draws) else f" (of {len(values)})"
        cells.append(f"{common.spread(values)}{some}" if values else "–")
    for strategy in ("suggest", "entropy"):
        gaps = [100 * (draw[strategy, count] - draw["random", count]) for draw in draws if (strategy, count) in draw]
        error = f" ± {np.std(gaps, ddof=1) / len(gaps) ** 0.5:.1f}" if len(gaps) > 1 else ""
        cells.append(f"{fmean(gaps):+.1f}{error}" if gaps else "–")
    return [name, *cells, len(draws)]


def curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[tuple[int, float, float]]]]:
    """Return for each data set and strategy: labels given, mean accuracy, and its standard error.

    A point is the mean of the draws that have the strategies of `COMPARED` there.
    """
    found: dict[str, dict[str, list[tuple[int, float, float]]]] = {}
    for name, draws in groups(lines):
        for count in sorted({count for draw in draws.values() for _, count in draw if count}):
            own = [draw for draw in draws.values() if all((strategy, count) in draw for strategy in COMPARED)]
            for strategy in STRATEGIES:
                if not own or not all((strategy, count) in draw for draw in own):
                    continue
                curve = found.setdefault(name, {}).setdefault(strategy, [])
                if not curve:
                    curve.append(_point(0, [draw[BEFORE, 0] for draw in own]))
                curve.append(_point(count, [draw[strategy, count] for draw in own]))
    return found


def _point(count: int, values: Sequence[float]) -> tuple[int, float, float]:
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    return count, fmean(values), error


@click.command()
@common.run_options("review")
@common.shared_option
@common.threads_option
@click.option("--model", default="mini-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--labels", default="40", show_default=True, help="Texts to label, such as 20,40.")
@click.option("--strategies", default=",".join(STRATEGIES), show_default=True, help="Strategies to make lines of.")
@click.option("--pool-size", default=1000, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=1000, show_default=True, help="Texts of the test set.")
@click.option("--patterns", default=4, show_default=True, help="Patterns of each task, at most.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder of the first runs; default: a temporary one.")
def main(
    wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], shared: Path, **options: Any
) -> None:
    """Make the runs that are missing and print the table. TASK is one of the names in draws.py."""
    import torch

    torch.set_num_threads(options["threads"])
    settings = common.setting_pairs(changes)
    same = {"model": options["model"], "pool": options["pool_size"], "test": options["test_rows"]}
    same |= {"patterns": options["patterns"], "settings": settings}
    strategies = [(BEFORE, 0)]
    strategies += [
        (name, int(count)) for count in options["labels"].split(",") for name in options["strategies"].split(",")
    ]
    runs = [
        run | same | {"strategy": strategy, "labels": count}
        for run in common.wanted_runs(wanted, seeds)
        for strategy, count in strategies
    ]
    with TemporaryDirectory(prefix="pet-review-") as folder:
        simulation = Simulation(shared, options["keep"] or Path(folder), settings, options["patterns"])
        done = common.make_missing(output, runs, simulation.one_line, lambda lines: INTRO + table(lines))
    output.with_suffix(".svg").write_text(plot(curves(done)), encoding="utf-8")
    click.echo(table(done))


if __name__ == "__main__":
    main()
