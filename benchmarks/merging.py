"""How members are weighted: what each ingredient of `merge=learned` brings.

    python benchmarks/merging.py agnews:32 sst2:32 yelp:32 --seeds 2

Each run trains the members once: every pattern leaves out a fold of the labeled texts, `embeddings` and `tfidf` are
fitted again without each fold. The same scores are then merged in several ways. With ``--whole``, a second run trains
the patterns on all labeled texts, for the paper's weights. Accuracy, log-likelihood (nats a text) and expected
calibration error are those of labeled texts that were not drawn, never of test texts. So the table can be used to
choose.

Reads the data sets and models in ../shared, which are not part of the project.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import common
import numpy as np
from draws import gold_of

Array = np.ndarray
INTRO = """# Merging

Produced by `python benchmarks/merging.py`. Of each way to merge the same members: accuracy in percent, mean
log-likelihood (nats a text), and expected calibration error in percent, on labeled texts that were not drawn.

"""
WAYS = (
    "patterns, all texts",
    "patterns",
    "embeddings",
    "tfidf",
    "uniform over members",
    "prior weights",
    "learned, temperature 1",
    "learned",
)


def split(data: Path, folder: Path, kept: int) -> dict[str, str]:
    """Split labeled texts: the last `kept` rows, at most 3 of 5, measure; examples are drawn from the others."""
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    cut = max(len(lines) - kept, len(lines) * 2 // 5)
    (folder / "train.jsonl").write_text("".join(lines[:cut]), encoding="utf-8")
    (folder / "test.jsonl").write_text("".join(lines[cut:]), encoding="utf-8")
    return {"train": str(folder / "train.jsonl"), "test": str(folder / "test.jsonl")}


def figures(probabilities: Array, gold: Array) -> dict[str, float]:
    """Return accuracy, log-likelihood and calibration error."""
    from pet.evaluate import evaluate

    labels = [str(number) for number in range(probabilities.shape[1])]
    own = probabilities[np.arange(len(gold)), gold]
    return {
        "accuracy": float((probabilities.argmax(axis=1) == gold).mean()),
        "likelihood": float(np.log(np.maximum(own, 1e-12)).mean()),
        "ece": float(evaluate(probabilities, gold, labels)["ece"]),
    }


def one_run(wanted: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Train the members once or twice, and merge their scores in each way."""
    from pet.task.task import Task

    name, shared = wanted["task"], options["shared"]
    task = Task.load(name)
    with tempfile.TemporaryDirectory(prefix="pet-merging-") as place:
        folder = Path(place)
        files = split(shared / "data" / name, folder, options["test_rows"])
        settings = {
            **files,
            "task": task.to_dict(),
            "model": str(shared / "models" / options["model"]),
            "examples": wanted["examples"],
            "pool_size": options["pool_size"],
            "seed": wanted["seed"],
        }
        changed = {"student_steps": "1", **options["settings"]}
        gold = gold_of(Path(files["test"]), task)
        found = {}
        if options["whole"]:
            found["patterns, all texts"] = _whole(folder / "whole", shared / "data" / name, settings, changed)
        found |= _learned(folder / "learned", shared / "data" / name, settings, changed)
    return {**wanted, "ways": {way: figures(found[way], gold) for way in WAYS if way in found}}


def _whole(folder: Path, data: Path, settings: dict[str, Any], changed: dict[str, str]) -> Array:
    """Probabilities of patterns that are trained on all labeled texts, with the weights of the paper."""
    scores, ensemble, _ = _train(folder, data, settings, changed | {"merge": "weighted"})
    return np.asarray(ensemble.combine(list(scores.values())).probabilities)


def _learned(folder: Path, data: Path, settings: dict[str, Any], changed: dict[str, str]) -> dict[str, Array]:
    """Probabilities of each way to merge members that left out labeled texts."""
    from dataclasses import replace

    from pet.ensemble.combine import Ensemble
    from pet.ensemble.stacking import PRIORS, stack

    scores, learned, kinds = _train(folder, data, settings, changed | {"merge": "learned"})
    names, count = list(scores), len(next(iter(scores.values()))[0])
    groups = {kind: [name for name in names if kinds[name] == kind] for kind in ("pattern", "embeddings", "tfidf")}
    nothing = [np.zeros((0, count)) for _ in names]
    prior = stack([kinds[name] for name in names], nothing, np.zeros(0, dtype=int), PRIORS)
    uniform = Ensemble.of(names, labels=count, scales=learned.scales)
    ensembles = {
        "patterns": uniform.only(groups["pattern"]),
        "embeddings": uniform.only(groups["embeddings"]),
        "tfidf": uniform.only(groups["tfidf"]),
        "uniform over members": uniform,
        "prior weights": replace(uniform, weights=prior.weights, temperature=prior.temperature),
        "learned, temperature 1": replace(learned, temperature=1.0),
        "learned": learned,
    }
    return {
        way: np.asarray(ensemble.combine([scores[name] for name in ensemble.names]).probabilities)
        for way, ensemble in ensembles.items()
    }


def _train(folder: Path, data: Path, settings: dict[str, Any], changed: dict[str, str]) -> Any:
    """Run; return the members' scores of the measuring texts, the ensemble, and the kind of each member."""
    from pet.ensemble.combine import Ensemble
    from pet.store.manifest import read_stages

    folder.mkdir()
    common.run_in(folder, data, 10**6, {**settings, "settings": changed})
    stages = read_stages(folder / "run")
    info = stages["g0/labels"]["info"]
    scores = {name: np.load(folder / "run" / "g0" / name / "test-logits.npy") for name in info["members"]}
    ensemble = Ensemble.from_dict(info, next(iter(scores.values())).shape[1])
    return scores, ensemble, {name: stages[f"g0/{name}"]["info"]["kind"] for name in scores}


def table(lines: list[dict[str, Any]]) -> str:
    """Format one row per data set, number of examples and way, and the mean over all runs, as Markdown."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault(f"{line['task']}, {line['examples']}", []).append(line)
    rows = []
    for name, runs in [*groups.items(), ("mean", lines)]:
        for way in WAYS:
            found = [run["ways"][way] for run in runs if way in run["ways"]]
            if found:
                mean = {key: float(np.mean([figure[key] for figure in found])) for key in found[0]}
                cells = [f"{100 * mean['accuracy']:.1f}", f"{mean['likelihood']:.3f}", f"{100 * mean['ece']:.1f}"]
                rows.append([name, way, *cells, len(found)])
    return common.markdown(["data, examples", "merged", "accuracy", "log-likelihood", "ECE", "runs"], rows)


@click.command()
@common.run_options("merging", seeds=1)
@common.shared_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Name of a model in ../shared/models.")
@click.option("--pool-size", default=500, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=800, show_default=True, help="Labeled texts that measure.")
@click.option("--whole", is_flag=True, help="Also train patterns on all labeled texts.")
def main(wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], **options: Any) -> None:
    """Make the runs that are missing and print the table."""
    options["settings"] = common.setting_pairs(changes)
    same = {key: options[key] for key in ("settings", "model", "pool_size", "whole")}
    runs = [run | same for run in common.wanted_runs(wanted, seeds)]
    done = common.make_missing(output, runs, lambda run: one_run(run, options), lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
