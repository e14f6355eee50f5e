"""Time and storage of labeling a billion texts, extrapolated part by part from this machine.

    OMP_NUM_THREADS=1 python benchmarks/billion.py agnews --threads 1 --clock cpu

Every part except the model is measured on one core of this machine. The time of the model on a GPU is computed from an
assumption: `--tflops` is the rate of bf16 matrix products of one GPU with a model of `--layers` layers and hidden size
`--hidden`.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import common
import numpy as np
import torch

BILLION = 10**9


@dataclass(frozen=True)
class Measured:
    """What labeling takes on this machine.

    Attributes
    ----------
    micros : part -> microseconds per text, of all members
    sizes : part -> bytes per text
    length : mean tokens of a filled pattern
    """

    micros: dict[str, float]
    sizes: dict[str, float]
    length: float


def measure(first: common.FirstPattern, texts: common.Rows, members: int, clock: common.Clock, rounds: int) -> Measured:
    """Measure every part except the model."""
    from pet.cloze.bind import bind_patterns
    from pet.cloze.encode import token_keys
    from pet.cloze.tokens import tokenize_fields
    from pet.data.read import prepare
    from pet.data.shards import cut_rows, read_shard
    from pet.ensemble.combine import Ensemble
    from pet.ensemble.soft_label_files import read_soft_labels
    from pet.ensemble.soft_labels import write_soft_labels
    from pet.training.batching import pad_rows, token_budget_batches

    task, pvp, rows = first.task, first.pvp, len(texts)
    keys = token_keys(bound.encoder for bound in bind_patterns(task, first.tokenizer, first.recipe.encoding.max_length))
    ensemble = Ensemble.of([f"p{m + 1}-r1" for m in range(members)], labels=len(task.labels))
    scores = list(np.random.default_rng(0).normal(size=(members, rows, len(task.labels))).astype(np.float32))
    with tempfile.TemporaryDirectory(prefix="pet-billion-") as folder:
        pool, labels = Path(folder) / "pool.parquet", Path(folder) / "labels.parquet"
        write_pool(pool, texts, task.fields)
        opened, layout = prepare(pool, task.fields, None, {}, {}, "input")
        (shard,) = cut_rows([pool], rows)
        table = read_shard(shard, opened, layout, "input")
        tokens, ids = tokenize_fields(table, keys, pvp.encoder.plain), list(table["id"])

        def fill() -> None:
            encoded = pvp.encoder.encode(tokens, np.arange(rows))
            for chosen in token_budget_batches(encoded.ids.lengths, 16384):
                pad_rows(encoded, chosen, 0)

        parts: dict[str, common.Work] = {
            "read": lambda: read_shard(shard, opened, layout, "input"),
            "tokenize": lambda: tokenize_fields(table, keys, pvp.encoder.plain),
            "fill and pad, all members": fill,
            "merge and write": lambda: write_soft_labels([labels], ids, scores, ensemble, task.labels),
            "student reads": lambda: read_soft_labels(labels, task.labels),
        }
        micros = {part: 1e6 * each / rows for part, each in common.alternate(parts, clock, rounds).items()}
        micros["fill and pad, all members"] *= members
        tracemalloc.start()
        kept = read_soft_labels(labels, task.labels)
        held = tracemalloc.get_traced_memory()[0] / len(kept.ids)
        tracemalloc.stop()
        sizes = {"read": pool.stat().st_size / rows, "written": labels.stat().st_size / rows, "held by student": held}
    return Measured(micros, sizes, float(pvp.encoder.encode(tokens, np.arange(rows)).ids.lengths.mean()))


def write_pool(path: Path, texts: common.Rows, fields: Sequence[str]) -> None:
    """Write texts as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {field: [row[field] for row in texts] for field in fields}
    pq.write_table(pa.table({"id": [f"text-{i:010d}" for i in range(len(texts))], **columns}), path)


@click.command()
@click.argument("name", default="agnews", metavar="TASK")
@click.option("--rows", default=8192, show_default=True, help="Texts to measure with.")
@click.option("--members", default=15, show_default=True, help="Members of the ensemble.")
@click.option("--gpus", default=64, show_default=True, help="GPUs, each with its own process.")
@click.option("--tflops", default=120.0, show_default=True, help="Rate of one GPU; assumed, not measured.")
@click.option("--layers", default=24, show_default=True, help="Layers of the model.")
@click.option("--hidden", default=1024, show_default=True, help="Hidden size of the model.")
@common.options
def main(
    name: str, rows: int, members: int, gpus: int, tflops: float, layers: int, hidden: int, model: Path, data: Path,
    threads: int, clock: str, rounds: int, output: Path,
) -> None:  # fmt: skip
    """Print microseconds per text of each part, and hours and bytes per billion texts."""
    torch.set_num_threads(threads)
    from pet.task.task import Task

    task = Task.load(name)
    texts = common.read_rows(data, name, "unlabeled", rows, task.fields)
    measured = measure(common.FirstPattern(task, model), texts, members, common.CLOCKS[clock], rounds)
    micros, sizes, length = measured.micros, measured.sizes, measured.length
    flops = members * 24 * layers * hidden**2 * length  # 2 per weight, 12 hidden² weights per layer
    micros["model (assumed)"] = 1e6 * flops / (tflops * 1e12)
    for part, micro in micros.items():
        where = "1 process" if part == "student reads" else f"{gpus} processes"
        hours = micro * BILLION / 1e6 / 3600 / (1 if part == "student reads" else gpus)
        click.echo(f"{part:28}{micro:10.1f} µs per text{hours:10.2f} h per billion, {where}")
    for part, size in sizes.items():
        click.echo(f"{part:28}{size:10.1f} B per text{size * BILLION / 1e9:10.0f} GB per billion")
    figures = {
        "task": name, "model": model.name, "rows": len(texts), "members": members, "gpus": gpus,
        "tokens_a_row": round(length, 1), "microseconds_a_text": {part: round(m, 2) for part, m in micros.items()},
        "bytes_a_text": {part: round(size, 1) for part, size in sizes.items()},
        "assumed": {"tflops": tflops, "layers": layers, "hidden": hidden},
    }  # fmt: skip
    common.record(output, "billion", threads, clock, figures)


if __name__ == "__main__":
    main()
