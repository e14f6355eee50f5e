"""iPET compared with PET on real data: accuracy of the students, and accuracy of each generation's labels.

    python benchmarks/ipet.py agnews:0 agnews:10 sst2:32 --seeds 3

Reads the data sets and models in ../shared, which are not part of the project. TASK:0 is a run without labeled texts;
with labeled texts, a run of PET on the same texts follows. Each line of the output file is one run; runs that are
already in the file are skipped. The tables are also written as Markdown next to the output file. The true labels of the
pool are given with --pool-gold; training never reads them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click
import common
from draws import SETS, read_rows, test_numbers, write

from pet.recipe import make_recipe

if TYPE_CHECKING:
    from pet.task.task import Task

Line = dict[str, Any]
INTRO = """# Accuracy: iPET and PET

Produced by `python benchmarks/ipet.py`. Every run is a line of the JSON lines file next to this one, with its settings.
Accuracy in percent, mean and standard deviation over seeds. "One pattern" is the mean over the untrained patterns,
"zero-shot" is their ensemble. Rows with the selections "draw" and "top" were made before generations had to be
accepted. "iPET - PET" is the difference of the students in points, where both have been run, and "generation used" the
generation that the student learned from, by seed. "balanced" test texts have as many of each label, as the pool does.

"""
FACTS = ["seeds", "minutes", "pool", "test", "model", "selection", "settings"]
PET, IPET = ["PET ensemble", "PET student"], ["iPET ensemble", "iPET student"]
COLUMNS = ["one pattern", "zero-shot", "supervised", *PET, *IPET]
SAME = (
    "task",
    "examples",
    "seed",
    "balanced",
    "model",
    "selection",
    "pool",
    "settings",
)  # in a run of iPET and the one of PET


def one_run(wanted: Line, options: dict[str, Any]) -> Line:
    """Run iPET with its baselines, or PET."""
    from pet.run.resolve import Given
    from pet.task.task import Task

    name, examples, method = wanted["task"], wanted["examples"], wanted["method"]
    data, model = options["shared"] / "data" / name, options["shared"] / "models" / options["model"]
    task = Task.load(name)
    settings = {
        "task": task.to_dict(),
        "model": str(model) if model.is_dir() else options["model"],
        "method": method,
        "examples": examples or None,
        "pool_size": options["pool_size"],
        "seed": wanted["seed"],
        "settings": options["settings"],
        "baselines": method == "ipet",
        **({} if examples else {"train": None}),
    }
    given = Given(pool_gold=str(data / "unlabeled_gold.jsonl")) if method == "ipet" else None
    with tempfile.TemporaryDirectory(prefix="pet-ipet-") as folder:
        if wanted.get("balanced"):
            settings["test"] = str(_balanced_test(Path(folder), data, task, options["test_rows"]))
        result, seconds = common.run_in(Path(folder), data, options["test_rows"], settings, given=given)
    sizes = {part: result["data"][part] for part in ("pool", "test")}
    line = {**wanted, **sizes, "seconds": round(seconds), "cores": os.cpu_count(), "accuracy": _accuracies(result)}
    if method == "ipet":
        line["generation"] = result["generation"]
        line["generations"] = [_generation(entry) for entry in result["generations"]]
    return line


def _balanced_test(folder: Path, data: Path, task: Task, most: int) -> Path:
    """Write as many test texts of each label; return the file."""
    rows = read_rows(data / "test.jsonl", task, labeled=True)
    chosen = [rows[number] for number in test_numbers(SETS[data.name], rows, task, most)]
    write(folder / "balanced.jsonl", chosen, task, labeled=True)
    return folder / "balanced.jsonl"


def _accuracies(result: dict[str, Any]) -> dict[str, float]:
    """Return the columns of the table that a run has."""
    own = [result["ensemble"]["accuracy"], result["student"]["accuracy"]]
    if "generations" not in result:
        return dict(zip(PET, own, strict=True))
    baselines = result["baselines"]
    found = {
        "one pattern": fmean(m["accuracy"] for m in baselines["zero-shot"]["members"].values()),
        "zero-shot": baselines["zero-shot"]["ensemble"]["accuracy"],
    }
    if "supervised" in baselines:
        found["supervised"] = baselines["supervised"]["student"]["accuracy"]
    return found | dict(zip(IPET, own, strict=True))


def _generation(entry: dict[str, Any]) -> Line:
    from pet.report.generations import training_texts

    return {
        "texts": training_texts(entry) if entry["trained"] else 0,
        "agreement": entry["pool"]["agreement"],
        "confidence": entry["pool"]["confidence"],
        "pool": entry["gold"]["accuracy"],
        "chosen": entry["gold"].get("chosen_accuracy"),
        "test": entry["test"]["accuracy"],
        "accepted": entry["accepted"],
    }


def table(lines: Sequence[Line]) -> str:
    """Format the accuracies, and a second table with the generations, as Markdown."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    pet = {_key(line): line["accuracy"] for line in lines if line["method"] == "pet"}
    for line in lines:
        if line["method"] == "pet":
            continue
        settings = " ".join(f"{key}={value}" for key, value in line["settings"].items())
        test = f"{line['test']}{' balanced' if line.get('balanced') else ''}"
        group = line["task"], line["examples"], line["model"], _selection(line), line["pool"], test
        groups.setdefault((*group, settings), []).append(line)
    rows, generations = [], []
    for (name, examples, model, selection, pool, test, settings), runs in sorted(groups.items()):
        accuracies = [run["accuracy"] | pet.get(_key(run), {}) for run in runs]
        cells = {column: _spread([found[column] for found in accuracies if column in found]) for column in COLUMNS}
        minutes = f"{fmean(run['seconds'] for run in runs) / 60:.1f}"
        facts = [str(len(runs)), minutes, str(pool), test, model, selection, settings]
        gain = _spread([found[IPET[1]] - found[PET[1]] for found in accuracies if PET[1] in found])
        rows.append([name, str(examples), *cells.values(), gain, _used(runs), *facts])
        for number in range(min(len(run["generations"]) for run in runs)):
            entries = [run["generations"][number] for run in runs]
            right = [entry["chosen"] for entry in entries if entry["chosen"] is not None]
            chosen = common.spread(right) if right else "-"
            figures = [common.spread([e[key] for e in entries]) for key in ("pool", "test", "agreement", "confidence")]
            texts = f"{fmean(e['texts'] for e in entries):.0f}"
            accepted = f"{sum(e.get('accepted', True) for e in entries)} of {len(entries)}"
            generations.append(
                [name, str(examples), str(number), texts, chosen, *figures, accepted, model, selection, settings]
            )
    header = ["task", "examples", "generation", "texts per member", "pseudo-label accuracy", "pool accuracy"]
    header += ["test accuracy", "agreement", "confidence", "accepted", "model", "selection", "settings"]
    first = common.markdown(["task", "examples", *COLUMNS, "iPET - PET", "generation used", *FACTS], rows)
    return f"{first}\n## Generations\n\n{common.markdown(header, generations)}"


def _key(line: Line) -> tuple[str, ...]:
    return tuple(str(line.get(name)) for name in SAME)


def _spread(shares: Sequence[float]) -> str:
    return common.spread(shares) if shares else "-"


def _selection(line: Line) -> str:
    """Return how a run selected texts; old lines say so only if it was not the default of then."""
    return str(line.get("selection") or line["settings"].get("choice", "draw"))


def _used(runs: Sequence[Line]) -> str:
    """Return the generations that the students learned from, by seed."""
    return ", ".join(str(run.get("generation", len(run["generations"]) - 1)) for run in runs)


@click.command()
@common.run_options("ipet")
@common.shared_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--pool-size", default=2000, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=500, show_default=True, help="Texts of the test set.")
def main(wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], **options: Any) -> None:
    """Make the runs that are missing and print the tables."""
    options["settings"] = common.setting_pairs(changes)
    selection = make_recipe("default", options["settings"]).ipet.selection
    same = {"model": Path(options["model"]).name, "selection": selection, "settings": options["settings"]}
    runs: list[Line] = []
    for run in common.wanted_runs(wanted, seeds):
        about = run | same | ({"balanced": True} if SETS[run["task"]].balanced else {})
        runs += [{**about, "method": method} for method in (("ipet", "pet") if run["examples"] else ("ipet",))]
    done = common.make_missing(output, runs, lambda run: one_run(run, options), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
