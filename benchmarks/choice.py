"""How right the texts are that iPET's choices would take from the pool, by what the members of a finished run say.

    python benchmarks/choice.py runs/sst2 ../shared/data/sst2/unlabeled_gold.jsonl

Trains nothing: for each generation the saved scores choose texts for every member again, with more or fewer voters,
drawn or the top ones, with scores corrected to an even ratio of the labels (`calibrate`) or as they are, and few or
many of each label.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import click
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.ipet.selection import Candidates, Chosen, choose_voters, draw_confident, take_most_probable
from pet.report.tables import text_table
from pet.run.load_run import read_settings

KINDS = ("draw", "top", "draw, even", "top, even")  # even: scores corrected until all labels are as frequent


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("gold", type=click.Path(path_type=Path))
@click.option("--each", default="25,125,500", show_default=True, help="texts of each label")
@click.option("--shares", default="0.25,0.5,1", show_default=True, help="of the other members that vote")
def main(run: Path, gold: Path, each: str, shares: str) -> None:
    """Print the share of right labels among the chosen texts, mean over members."""
    labels = [str(label) for label in read_settings(run).task["labels"]]
    known = {row["id"]: labels.index(str(row["label"])) for row in map(json.loads, gold.read_text().splitlines())}
    rows = []
    for folder in sorted(run.glob("g[0-9]*/"), key=lambda path: int(path.name[1:])):
        right = np.asarray([known[i] for i in pq.read_table(folder / "labels.parquet")["id"].to_pylist()])
        scores = {path.parent.name: np.load(path) for path in sorted(folder.glob("p*/pool-logits.npy"))}
        even = np.full(len(labels), 1 / len(labels))
        for share in map(float, shares.split(",")):
            for count in map(int, each.split(",")):
                found: dict[str, list[float]] = {kind: [] for kind in KINDS}
                for name in scores:
                    voters = choose_voters([m for m in scores if m != name], share, np.random.default_rng(0))
                    of_voters = [scores[v] for v in voters]
                    for corrected, target in (("", None), (", even", even)):
                        said = Candidates.merged(of_voters, np.ones(len(voters)), target)
                        for way in ("draw", "top"):
                            chosen = _choose(way, said, np.full(len(labels), count))
                            found[way + corrected].append(float((chosen.labels == right[chosen.rows]).mean()))
                rows.append([folder.name, share, count, *(fmean(shares) for shares in found.values())])
    click.echo(text_table(rows, ["generation", "vote share", "of each label", *KINDS]))


def _choose(way: str, said: Candidates, wanted: NDArray[np.int64]) -> Chosen:
    everything = np.ones(len(said), dtype=bool)
    if way == "top":
        return take_most_probable(said, wanted, everything)
    return draw_confident(*said.predictions(), wanted, everything, np.random.default_rng(1))


if __name__ == "__main__":
    main()
