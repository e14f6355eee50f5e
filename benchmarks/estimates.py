"""How good the estimated accuracy of a run is, and the probabilities of its student.

    python benchmarks/estimates.py sst2:32:1 agnews:10:1 yelp:32:1 mnli:32:1
    python benchmarks/estimates.py tickets:40:1 sst2:32:1 --model mini-en

A cell is a data set, a number of labeled texts, and a seed. Each cell is one run of the default recipe. The estimate
and its 95% interval are compared with the accuracy of the ensemble on labeled texts that were not drawn. Test texts are
never read, except of sets that have no other labeled texts. Each line of the output file is one run; runs that are
there are not made again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import common
from draws import Size
from peers import model_of
from recipe_study import drawn

Line = dict[str, Any]
INTRO = """# Estimated accuracy, and calibration

Produced by `python benchmarks/estimates.py`. The estimated accuracy of default runs with its 95% interval, and that of
their ensembles on labeled texts that were not drawn; the calibration error of their students there, and what it would
be by chance. All in percent.

"""


def one_run(cell: str, model: str, sizes: Size, shared: Path) -> Line:
    """Make a run, and return what it estimates and what is true."""
    from pet.evaluate import chance_ece

    with tempfile.TemporaryDirectory(prefix="pet-estimates-") as place:
        draw = drawn(cell, sizes, shared, Path(place))
        settings = {
            "task": draw.task.to_dict(),
            "model": model_of(cell.split(":")[0], model, shared),
            "seed": draw.seed,
            "settings": {"max_length": "64"},
        }
        run = Path(place, "run")
        run.mkdir()
        found, _ = common.run_in(run, draw.folder, len(draw.gold), settings)
    student, estimate = found["student"], found["estimate"] or {}
    return {
        "estimate": [estimate.get(name) for name in ("accuracy", "low", "high")],
        "evidence": [estimate.get(name) for name in ("disagreement", "wrong", "judged")],
        "ensemble": found["ensemble"]["accuracy"],
        "student": student["accuracy"],
        "ece": student["ece"],
        "chance": chance_ece(student["calibration"]),
    }


def table(lines: list[Line]) -> str:
    """Format one row per run, and their means, as Markdown."""
    rows, known = [], [line for line in lines if line["estimate"][0] is not None]
    for line in lines:
        share, wrong, judged = line["evidence"]
        estimate = f"{_percent(line['estimate'][0])} ({' to '.join(map(_percent, line['estimate'][1:]))})"
        figures = [_percent(line[name]) for name in ("ensemble", "student", "ece", "chance")]
        rows.append([line["cell"], line["model"], _percent(share), f"{wrong} of {judged}", estimate, *figures])
    header = ["data, examples, seed", "model", "patterns disagree", "left out: wrong", "estimated"]
    page = common.markdown([*header, "ensemble", "student", "ECE of the student", "by chance"], rows)
    if known:
        inside = sum(line["estimate"][1] <= line["ensemble"] <= line["estimate"][2] for line in known)
        far = 100 * fmean(abs(line["estimate"][0] - line["ensemble"]) for line in known)
        errors = [100 * fmean(line[name] for line in lines) for name in ("ece", "chance")]
        page += (
            f"\nThe interval holds the accuracy in {inside} of {len(known)} runs; the estimate is {far:.1f} points off "
            f"on the mean. The mean ECE is {errors[0]:.1f}, and would be {errors[1]:.1f} by chance.\n"
        )
    return page


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


@click.command()
@click.argument("cells", nargs=-1, required=True)
@common.shared_option
@common.threads_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--pool-size", default=1000, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=1000, show_default=True, help="Labeled texts that measure.")
@common.output_option(common.HERE / "results" / "estimates.jsonl")
def main(cells: tuple[str, ...], shared: Path, output: Path, **options: Any) -> None:
    """Make the runs that are missing, and write the table."""
    import torch

    torch.set_num_threads(options["threads"])
    model, sizes = options["model"], Size(0, options["pool_size"], options["test_rows"])
    runs = [{"cell": cell, "model": model} for cell in cells]
    lines = common.make_missing(
        output, runs, lambda run: run | one_run(run["cell"], model, sizes, shared), lambda lines: INTRO + table(lines)
    )
    click.echo(table(lines))


if __name__ == "__main__":
    main()
