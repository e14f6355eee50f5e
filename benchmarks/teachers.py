"""What a small language model on a server adds to an ensemble: SmolLM2-135M-Instruct on llama.cpp, one thread.

    OMP_NUM_THREADS=1 python benchmarks/teachers.py agnews:32 sst2:32

Starts the server (`llm_server.py`), and runs PET with the teacher. The ensemble is then merged with and without it;
weights are learned anew from the labeled texts each time. The table has the accuracy on test texts of the teacher alone
and of both ensembles, the paired difference with its 95% interval (bootstrap over texts and seeds), the teacher's
share of the weights, and its calls and time.

Reads the data sets and models in ../shared, which are not part of the project.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import common
import llm_server
import numpy as np
from draws import as_text, codes, draw_files, gold_of, grouped_hits, paired

INTRO = """# Teachers

Produced by `python benchmarks/teachers.py`: SmolLM2-135M-Instruct (4 bits) on llama.cpp as a member, with one thread.
Accuracy in percent on test texts. The difference is that of the ensemble with the teacher from the one without it, on
the same texts, with its 95% interval. Seconds are those of a call on a busy machine.

"""


def merged(run: Path, specs: dict[str, Any], names: list[str], gold: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Return the labels of the test texts by some members of a run, and the share of each kind in the weights."""
    from pet.ensemble.combine import Ensemble
    from pet.ensemble.scale import Scale
    from pet.ensemble.stacking import PRIORS, stack
    from pet.members.spec import MemberSpec
    from pet.run.weights import weight_group

    groups = [weight_group(MemberSpec.from_dict(specs[name])) for name in names]
    priors = {group: PRIORS[specs[name]["kind"]] for group, name in zip(groups, names, strict=True)}
    scores = {part: [np.load(run / "g0" / name / f"{part}-logits.npy") for name in names] for part in ("train", "test")}
    stacked = stack(groups, scores["train"], gold, priors)
    scales = [Scale(specs[name]["scale"]) for name in names]
    labels = scores["test"][0].shape[1]
    ensemble = Ensemble.of(names, labels=labels, weights=stacked.weights, scales=scales, rule="learned")
    return ensemble.combine(scores["test"]).label, dict(stacked.kinds)


def one_run(wanted: dict[str, Any], options: dict[str, Any], address: str) -> dict[str, Any]:
    """Train all members and ask the teacher once; which test texts the ensembles get right."""
    from pet.task.task import Task

    name, shared = wanted["task"], options["shared"]
    with tempfile.TemporaryDirectory(prefix="pet-teachers-") as place:
        folder = Path(place)
        task = Task.load(name).with_patterns(range(1, options["patterns"] + 1))
        gold = codes(draw_files(folder, shared / "data" / name, task, wanted, options["test_rows"])["train"], task)
        settings = {
            "task": task.to_dict(),
            "model": str(shared / "models" / options["model"]),
            "pool_size": options["pool_size"],
            "seed": wanted["seed"],
            "settings": options["settings"],
            "members": (f"teacher=openai:{address}",),
        }
        (folder / "work").mkdir()
        start = time.perf_counter()
        common.run_in(folder / "work", folder, options["test_rows"], settings)
        run = folder / "work" / "run"
        specs = {path.parent.name: json.loads(path.read_text()) for path in (run / "g0").glob("*/member.json")}
        truth = gold_of(folder / "test.jsonl", task)
        others = [name for name in specs if name != "teacher"]
        teacher = np.load(run / "g0" / "teacher" / "test-logits.npy")
        with_it, shares = merged(run, specs, [*others, "teacher"], gold)
        without, _ = merged(run, specs, others, gold)
    said = {"teacher alone": np.nan_to_num(teacher).argmax(axis=1), "without": without, "with": with_it}
    return {
        **wanted,
        "seconds": round(time.perf_counter() - start),
        "answers": specs["teacher"]["answers"],
        "judged": f"{specs['teacher']['right']} of {specs['teacher']['judged']}",
        "share": round(shares["openai:teacher"], 3),
        "right": {what: as_text(labels == truth) for what, labels in said.items()},
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Format one row per task and number of examples as Markdown."""
    rows = []
    for (name, examples), (runs, hits) in grouped_hits(lines).items():
        mean, low, high = paired(hits["with"], hits["without"])
        accuracy = [common.spread(found.mean(axis=1).tolist()) for found in hits.values()]
        share = np.mean([run["share"] for run in runs])
        difference = f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
        judged = ", ".join(run["judged"] for run in runs)
        rows.append([name, examples, *accuracy, difference, f"{share:.2f}", judged, len(runs), hits["with"].shape[1]])
    head = ["task", "examples", "teacher alone", "without", "with", "difference", "its weight", "right of the labeled"]
    return common.markdown([*head, "seeds", "texts"], rows)


@click.command()
@common.run_options("teachers", seeds=1)
@common.shared_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Name of a model in ../shared/models.")
@click.option("--patterns", default=3, show_default=True, help="Patterns of the task to use, the first ones.")
@click.option("--pool-size", default=150, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=200, show_default=True, help="Texts of the test set.")
def main(wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], **options: Any) -> None:
    """Make the runs that are missing and print the table."""
    if why := llm_server.missing():
        raise click.ClickException(why)
    options["settings"] = common.setting_pairs(changes)
    names = ("settings", "model", "patterns", "pool_size", "test_rows")
    runs = [run | {name: options[name] for name in names} for run in common.wanted_runs(wanted, seeds)]
    with llm_server.serving() as address:
        make = lambda run: one_run(run, options, address)  # noqa: E731
        done = common.make_missing(output, runs, make, lambda lines: INTRO + table(lines))
    click.echo(table(done))


if __name__ == "__main__":
    main()
