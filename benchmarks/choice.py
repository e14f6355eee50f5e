"""Accuracy of the pseudo-labels that iPET would select from the pool, given the scores of a finished run.

    python benchmarks/choice.py runs/sst2 ../shared/data/sst2/unlabeled_gold.jsonl

Trains nothing. For each generation and member, the saved scores of the other members select texts again: with more or
fewer voters, drawn or the most probable ones, with scores calibrated to a uniform label ratio (`calibrate`) or not,
and with few or many texts per label.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pet.ensemble.combine import Ensemble
from pet.ipet.selection import Candidates, Chosen, choose_voters, draw_confident, take_most_probable
from pet.report.tables import text_table
from pet.run.load_run import read_settings
from pet.store.manifest import read_stages

KINDS = ("draw", "top", "draw, calibrated", "top, calibrated")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("gold", type=click.Path(path_type=Path))
@click.option("--each", default="25,125,500", show_default=True, help="Texts per label.")
@click.option("--shares", default="0.25,0.5,1", show_default=True, help="Shares of the other members that vote.")
def main(run: Path, gold: Path, each: str, shares: str) -> None:
    """Print the accuracy of the selected pseudo-labels, averaged over members.

    RUN is the folder of an iPET run; GOLD is a JSON lines file with the id and label of each text of its pool.
    """
    labels = [str(label) for label in read_settings(run).task["labels"]]
    known = {row["id"]: labels.index(str(row["label"])) for row in map(json.loads, gold.read_text().splitlines())}
    stages, rows = read_stages(run), []
    for folder in sorted(run.glob("g[0-9]*/"), key=lambda path: int(path.name[1:])):
        right = np.asarray([known[i] for i in pq.read_table(folder / "labels.parquet")["id"].to_pylist()])
        ensemble = Ensemble.from_dict(stages[f"{folder.name}/labels"]["info"], len(labels))
        for share in map(float, shares.split(",")):
            for count in map(int, each.split(",")):
                wanted = np.full(len(labels), count)
                found = np.mean(
                    [_accuracies(folder, ensemble, m, share, wanted, right) for m in ensemble.names], axis=0
                )
                rows.append([folder.name, share, count, *map(float, found)])
    click.echo(text_table(rows, ["generation", "vote share", "per label", *KINDS]))


def _accuracies(
    folder: Path, ensemble: Ensemble, member: str, share: float, wanted: NDArray[np.int64], right: NDArray[np.int64]
) -> list[float]:
    """Compute the accuracy of the pseudo-labels that others select for a member, for each of `KINDS`."""
    voters = choose_voters([name for name in ensemble.names if name != member], share, np.random.default_rng(0))
    scores = [np.load(folder / name / "pool-logits.npy") for name in voters]
    found = []
    for target in (None, np.full(len(wanted), 1 / len(wanted))):
        candidates = Candidates.of(ensemble.only(voters), scores, target)
        for choose in (_draw, _top):
            chosen = choose(candidates, wanted)
            found.append(float((chosen.labels == right[chosen.rows]).mean()))
    return found


def _draw(candidates: Candidates, wanted: NDArray[np.int64]) -> Chosen:
    everything = np.ones(len(candidates), dtype=bool)
    return draw_confident(*candidates.predictions(), wanted, everything, np.random.default_rng(1))


def _top(candidates: Candidates, wanted: NDArray[np.int64]) -> Chosen:
    return take_most_probable(candidates, wanted, np.ones(len(candidates), dtype=bool))


if __name__ == "__main__":
    main()
