"""Memory of labeling a small and a large pool, including merging and writing the soft labels.

    python benchmarks/memory.py

Makes pools of synthetic texts and a model so small that everything else takes most of the time. Then it runs
`pet run --method zero-shot` and `pet label` on each pool in a process of its own. Resident memory is read from /proc
every tenth of a second (Linux only), without file-backed pages, which the system can reclaim at any time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import common
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LABELS = ["World", "Sports", "Business", "Technology"]
TASK = """\
task: memory
fields: [text]
labels: [World, Sports, Business, Technology]
verbalizer: {World: world, Sports: sports, Business: business, Technology: technology}
patterns: ["{mask}: {text}", "{text} It is about {mask}."]
"""
WORDS = ["the", "bank", "team", "market", "court", "phone", "game", "vote", "price", "war", "chip", "law", "study"]
ALLOWED = 100 << 20  # bytes of growth beyond the scores of the larger pool
PART = 50_000  # rows written at a time


def write_pool(path: Path, rows: int) -> None:
    """Write texts of twelve common words and a number, so that no two are the same."""
    generator = np.random.default_rng(0)
    words = np.asarray(WORDS)
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, PART):
            numbers = range(start, min(start + PART, rows))
            picked = words[generator.integers(0, len(words), (len(numbers), 12))]
            texts = [f"{' '.join(row)} {number}" for row, number in zip(picked, numbers, strict=True)]
            writer.write_table(pa.table({"id": list(map(str, numbers)), "text": texts}, schema=schema))


def write_model(folder: Path) -> None:
    """Save a BERT with one layer, random weights, and the tokenizer of the embedded model."""
    from transformers import BertConfig, BertForMaskedLM

    from pet.backbones.load import load_tokenizer
    from pet.compat import save_model

    tokenizer = load_tokenizer("mini-en")
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **shape)
    save_model(BertForMaskedLM(config), folder)
    tokenizer.save_pretrained(folder)


def resident(process: int) -> int:
    """Return the resident bytes of a process without file-backed pages; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon")), 0)


def peak(arguments: list[str]) -> tuple[int, float]:
    """Run a pet command; return its peak of resident bytes and its seconds."""
    begun, most = time.monotonic(), 0
    with subprocess.Popen([sys.executable, "-m", "pet", *arguments], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, resident(process.pid))
            time.sleep(0.1)
    if process.returncode:
        raise click.ClickException(f"pet {' '.join(arguments)} failed with exit code {process.returncode}")
    return most, time.monotonic() - begun


def measure(folder: Path, rows: int) -> dict[str, Any]:
    """Run both commands on a pool with this many rows."""
    pool, run = folder / f"{rows}.parquet", folder / f"run-{rows}"
    write_pool(pool, rows)
    quietly = ["--device", "cpu", "--precision", "fp32", "-q"]
    work = ["run", str(folder / "task.yaml"), "--method", "zero-shot", "--model", str(folder / "model")]
    whole = peak([*work, "--unlabeled", str(pool), "--max-length", "32", *quietly, "-o", str(run)])
    label = peak(["label", str(run), "--input", str(pool), *quietly, "-o", str(folder / f"{rows}-labels.parquet")])
    return {"rows": rows, "run": whole[0], "run_seconds": whole[1], "label": label[0], "label_seconds": label[1]}


@click.command()
@click.option("--small", default=100_000, show_default=True, help="Rows of the small pool.")
@click.option("--large", default=1_000_000, show_default=True, help="Rows of the large pool.")
@common.output_option(common.SPEED)
def main(small: int, large: int, output: Path) -> None:
    """Print the memory for both pools and its growth."""
    if not Path("/proc/self/status").exists():
        raise click.ClickException("this program requires Linux: it reads /proc")
    with tempfile.TemporaryDirectory(prefix="pet-memory-") as name:
        folder = Path(name)
        (folder / "task.yaml").write_text(TASK)
        write_model(folder / "model")
        found = [measure(folder, rows) for rows in (small, large)]
    allowed = large * len(LABELS) * 4 + ALLOWED
    for what in ("run", "label"):
        growth = found[1][what] - found[0][what]
        verdict = "met" if growth <= allowed else "missed"
        click.echo(
            f"pet {what}: {found[0][what] / 2**20:.0f} MB for {small:,} rows, {found[1][what] / 2**20:.0f} MB for "
            f"{large:,}: growth {growth / 2**20:.0f} MB, limit {allowed / 2**20:.0f} MB, {verdict} "
            f"({large / found[1][f'{what}_seconds']:.0f} rows per second)"
        )
    common.record(output, "memory", os.cpu_count() or 1, "wall", {"pools": found, "allowed": allowed})


if __name__ == "__main__":
    main()
