"""Compare settings of members on labeled texts that were not drawn.

    python benchmarks/contrast.py sst2:32:0 agnews:10:0 --against even_start=false
    python benchmarks/contrast.py sst2:32:0 agnews:10:0 --against steps=40 --against learning_rate=1e-4
    python benchmarks/contrast.py sst2:10:2 --against "pattern_labels=400 pattern_share=0.2" --whole-runs \
        --pool-size 2000 --test-rows 800 -o benchmarks/results/contrast_runs.jsonl

A cell is a data set, a number of labeled texts, and a seed. In each cell, the first patterns of the task are trained
with the default recipe and with each --against, on the same texts, without repetitions. The table has the accuracy of
single members, of their merged scores, and the differences from the default recipe, paired over cells. With
--whole-runs these are whole runs of all patterns, and the table has the accuracy of ensembles and students, for which
members may not tell. Test texts are never read. Each line of the output file is one cell with one recipe; lines that
are there are not made again.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click
import common
import numpy as np
from draws import Draw, Size
from peers import model_of
from peers_methods import Setting, opened
from recipe_study import drawn

Line = dict[str, Any]
INTRO = """# Settings, compared

Produced by `python benchmarks/contrast.py`. Accuracy in percent on labeled texts that were not drawn:
{what}. Differences are from the default recipe of the same version, in points, paired over
the cells that both have, with their standard error.

"""
DEFAULT = ""
KEYS = ("members", "merged")
RUN_KEYS = ("ensemble", "student")
WHAT: dict[tuple[str, ...], str] = {
    KEYS: "the mean of single members, and their merged scores",
    RUN_KEYS: "the ensemble and the student of runs",
}


def one_cell(draw: Draw, setting: Setting, patterns: int) -> Line:
    """Train a member of each pattern, and return the accuracy of each and of their merged scores."""
    from pet.members.kinds import fit_scorer, make_scorer
    from pet.members.pattern_labels import number_of_texts, patterns_that_know, surest_texts, with_pattern_labels
    from pet.members.seam import MemberData
    from pet.members.spec import pattern_spec

    begun = time.process_time()
    run, texts = opened(draw, setting)
    labels = texts["train"].labels
    data = MemberData([(texts["train"], np.arange(len(labels)))], labels, texts["pool"])
    most = number_of_texts(run.shared, len(texts["pool"].table))
    known = patterns_that_know(run.shared, texts["train"], texts["pool"]) if most else []
    counts = np.bincount(labels, minlength=len(draw.task.labels))
    chosen = surest_texts(known, counts, texts["pool"], most)[:2] if known else ()
    scores = np.empty((min(patterns, len(draw.task.patterns)), len(draw.gold), len(draw.task.labels)), np.float32)
    for position, out in enumerate(scores):
        spec = pattern_spec("pattern", position, 0)
        scorer = make_scorer(spec, run.shared, draw.seed + position)
        with tempfile.TemporaryDirectory(prefix="pet-contrast-") as folder:
            own = with_pattern_labels(data, *chosen) if chosen else data
            fit_scorer(spec, scorer, own, Path(folder))
            scorer.scores(texts["test"], out)
    found = [_right(each, draw) for each in scores]
    return {"members": found, "merged": _right(scores.mean(axis=0), draw), "cpu": round(time.process_time() - begun)}


def one_run(draw: Draw, setting: Setting) -> Line:
    """Make a whole run, and return the accuracy of its ensemble and of its student."""
    begun = time.process_time()
    settings = {"task": draw.task.to_dict(), "model": setting.model, "seed": draw.seed, "settings": setting.settings}
    with tempfile.TemporaryDirectory(prefix="pet-contrast-") as folder:
        found, _ = common.run_in(Path(folder), draw.folder, len(draw.gold), settings)
    figures = {key: found[key]["accuracy"] for key in RUN_KEYS}
    return {**figures, "cpu": round(time.process_time() - begun)}


def _right(scores: np.ndarray, draw: Draw) -> float:
    return float((scores.argmax(axis=1) == draw.gold).mean())


def table(lines: list[Line]) -> str:
    """Format the mean differences of each recipe, and the accuracy in each cell."""
    keys = _keys(lines)
    by = {(line["against"], line["cell"]): line for line in lines}
    names, cells = [list(dict.fromkeys(line[key] for line in lines)) for key in ("against", "cell")]
    rows = []
    for name in names:
        both = [cell for cell in cells if (name, cell) in by and (DEFAULT, cell) in by]
        gaps = [[_percent(by[name, cell], key) - _percent(by[DEFAULT, cell], key) for cell in both] for key in keys]
        if name != DEFAULT:
            rows.append([name, *map(_mean, gaps), len(both)])
    each = [[cell, *(_cell(by.get((name, cell))) for name in names)] for cell in cells]
    heads = ["data, examples, seed", *(f"{name or 'default'}: {', '.join(keys)}" for name in names)]
    return f"{common.markdown(['settings', *keys, 'cells'], rows)}\n{common.markdown(heads, each)}"


def _keys(lines: list[Line]) -> tuple[str, ...]:
    return RUN_KEYS if RUN_KEYS[0] in lines[0] else KEYS


def _percent(line: Line, key: str) -> float:
    return 100 * (fmean(line[key]) if key == "members" else line[key])


def _mean(gaps: list[float]) -> str:
    error = f" ± {stdev(gaps) / len(gaps) ** 0.5:.1f}" if len(gaps) > 1 else ""
    return f"{fmean(gaps):+.1f}{error}" if gaps else ""


def _cell(line: Line | None) -> str:
    return "" if line is None else " / ".join(f"{_percent(line, key):.1f}" for key in _keys([line]))


@click.command()
@click.argument("cells", nargs=-1, required=True)
@click.option("--against", multiple=True, help="Settings to compare with the default recipe, separated by spaces.")
@common.shared_option
@common.threads_option
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--patterns", default=3, show_default=True, help="Patterns to train in each cell.")
@click.option("--whole-runs", is_flag=True, help="Compare the ensembles and students of whole runs.")
@click.option("--pool-size", default=400, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=400, show_default=True, help="Labeled texts that measure.")
@common.output_option(common.HERE / "results" / "contrast.jsonl")
def main(cells: tuple[str, ...], against: tuple[str, ...], shared: Path, output: Path, **options: Any) -> None:
    """Train what is missing, and write the table."""
    import torch

    torch.set_num_threads(options["threads"])
    measure = one_run if options["whole_runs"] else partial(one_cell, patterns=options["patterns"])
    lines = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    done = {(line["against"], line["cell"]) for line in lines}
    with tempfile.TemporaryDirectory(prefix="pet-contrast-") as place:
        for cell in cells:
            folder = Path(place, cell.replace(":", "-"))
            folder.mkdir()
            draw = drawn(cell, Size(0, options["pool_size"], options["test_rows"]), shared, folder)
            for name in (DEFAULT, *against):
                if (name, cell) in done:
                    continue
                settings = {"max_length": "64", **dict(pair.split("=", 1) for pair in name.split())}
                model = model_of(cell.split(":")[0], options["model"], shared)
                setting = Setting(model, settings, Path(place), (), 0, options["threads"])
                lines.append({"against": name, "cell": cell, "rows": len(draw.gold), **measure(draw, setting)})
                with output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    page = table(lines)
    output.with_suffix(".md").write_text(INTRO.format(what=WHAT[_keys(lines)]) + page, encoding="utf-8")
    click.echo(page)


if __name__ == "__main__":
    main()
