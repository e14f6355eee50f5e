"""Peak memory of commands: a whole run, and labeling and distilling few and many texts.

    python benchmarks/memory.py
    python benchmarks/memory.py run
    python benchmarks/memory.py distill --small 1000000 --large 10000000

`run` is a whole run on a real model and 1,000 texts, with the peak of each stage. `pool` makes pools of synthetic texts
and a model so small that everything else takes most of the time; it measures `pet run --method zero-shot` and
`pet label`. `distill` trains such a model on a folder of soft labels, in shards like those of `pet label --executor
ray`. `labels` is a zero-shot run with 5,000 labels. `shards` is `pet label` with two actors on Ray; it only runs if it
is named.

Every command is a process of its own. Its memory is read from /proc every tenth of a second (Linux only): resident
pages, and those without a file, because the system can reclaim the others at any time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
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
MANY = 5000  # labels
FEW_WORDS = 1  # of a text that is labeled on Ray; with a number, about six tokens
RUN_LIMIT, LABEL_LIMIT = 1200, 700  # MB
QUIETLY = ["--device", "cpu", "--precision", "fp32", "-q"]
STAGE = re.compile(r"(?:^|[\r\n])(train student|train|score \w+|embed \w+|classify|label|merge)\b")


def write_pool(path: Path, rows: int, length: int = 12) -> None:
    """Write texts of common words and a number, so that no two are the same. `length` is the number of words."""
    generator = np.random.default_rng(0)
    words = np.asarray(WORDS)
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, PART):
            numbers = range(start, min(start + PART, rows))
            picked = words[generator.integers(0, len(words), (len(numbers), length))]
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


@dataclass
class Peak:
    """What a command needed.

    Attributes
    ----------
    resident, anonymous : highest number of bytes, with and without pages of files
    actor : highest number of bytes of an actor on Ray that the command started, without pages of files
    seconds : wall time
    stages : highest number of resident bytes while each stage was the last one that the command named
    """

    resident: int = 0
    anonymous: int = 0
    actor: int = 0
    seconds: float = 0.0
    stages: dict[str, int] = field(default_factory=dict)

    def note(self, process: int, stage: str) -> None:
        """Read the memory of a process, and of actors below it."""
        found = _status(process)
        self.resident = max(self.resident, found.get("VmRSS", 0))
        self.anonymous = max(self.anonymous, found.get("RssAnon", 0))
        self.stages[stage] = max(self.stages.get(stage, 0), found.get("VmRSS", 0))
        for other in _below(process):
            with suppress(OSError):
                if b"ShardLabeler" in Path(f"/proc/{other}/cmdline").read_bytes():
                    self.actor = max(self.actor, _status(other).get("RssAnon", 0))


def _status(process: int) -> dict[str, int]:
    """Return resident bytes of a process, with and without pages of files; nothing if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    values = (line.partition(":") for line in lines)
    return {name: int(value.split()[0]) << 10 for name, _, value in values if name in ("VmRSS", "RssAnon")}


def _below(process: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    try:
        own = [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return own + [other for one in own for other in _below(one)]


def peak(arguments: list[str], log: Path) -> Peak:
    """Run a pet command whose messages go to a file."""
    begun, most = time.monotonic(), Peak()
    with (
        log.open("wb") as messages,
        subprocess.Popen([sys.executable, "-m", "pet", *arguments], stdout=subprocess.DEVNULL, stderr=messages) as pet,
    ):
        while pet.poll() is None:
            named = STAGE.findall(log.read_text(encoding="utf-8", errors="replace"))
            most.note(pet.pid, named[-1] if named else "start")
            time.sleep(0.1)
    if pet.returncode:
        raise click.ClickException(f"pet {' '.join(arguments)} failed: {log.read_text(encoding='utf-8')[-2000:]}")
    most.seconds = time.monotonic() - begun
    return most


def show(what: str, limit: int, sizes: list[int], found: list[Peak], what_of: str) -> dict[str, Any]:
    """Print the memory without pages of files for each size; return the figures."""
    peaks = [round(each.anonymous / 2**20) for each in found]
    parts = [f"{mb} MB for {size:,} {what_of}" for mb, size in zip(peaks, sizes, strict=True)]
    growth = peaks[-1] - peaks[0]
    verdict = "met" if growth <= limit else "missed"
    rate = sizes[-1] / found[-1].seconds
    click.echo(
        f"{what}: {', '.join(parts)}: growth {growth} MB, limit {limit} MB, {verdict} ({rate:,.0f} rows a second)"
    )
    return {"sizes": sizes, "anonymous_mb": peaks, "seconds": [round(each.seconds, 1) for each in found]}


# ---- what is measured --------------------------------------------------------------------------


def whole_run(folder: Path, _sizes: list[int]) -> dict[str, Any]:
    """A run with the default recipe on a model of 91 MB: 32 examples of agnews, and 1,000 unlabeled texts."""
    data, pool = common.SHARED / "data" / "agnews", folder / "thousand.jsonl"
    with (data / "unlabeled.jsonl").open(encoding="utf-8") as lines:
        pool.write_text("".join(line for _, line in zip(range(1000), lines, strict=False)), encoding="utf-8")
    model = common.SHARED / "models" / "minilm-mlm-en"
    given = ["--model", str(model), "--train", str(data / "train.jsonl"), "--examples", "32", "--unlabeled", str(pool)]
    found = peak(["run", "agnews", *given, "--no-estimate", "-o", str(folder / "whole")], folder / "whole.log")
    stages = {name: round(most / 2**20) for name, most in found.stages.items()}
    most = round(found.resident / 2**20)
    click.echo(
        f"whole run: {most} MB, limit {RUN_LIMIT} MB, {'met' if most <= RUN_LIMIT else 'missed'}; by stage: {stages}"
    )
    return {"resident_mb": most, "stages_mb": stages, "seconds": round(found.seconds, 1)}


def pools(folder: Path, sizes: list[int]) -> dict[str, Any]:
    """Untrained patterns that label a small and a large pool, in a run and by `pet label`."""
    runs, labels = [], []
    for rows in sizes:
        pool, run = folder / f"{rows}.parquet", folder / f"run-{rows}"
        write_pool(pool, rows)
        work = ["run", str(folder / "task.yaml"), "--method", "zero-shot", "--model", str(folder / "model")]
        log = folder / "pool.log"
        runs.append(peak([*work, "--unlabeled", str(pool), "--max-length", "32", *QUIETLY, "-o", str(run)], log))
        labels.append(peak(["label", str(run), "--input", str(pool), *QUIETLY, "-o", str(run) + ".parquet"], log))
    allowed = (sizes[-1] * len(LABELS) * 4 + ALLOWED) >> 20
    shown = {
        "run": show("pet run", allowed, sizes, runs, "texts"),
        "label": show("pet label", allowed, sizes, labels, "texts"),
    }
    most = max(each.resident for each in labels) >> 20
    click.echo(f"pet label: {most} MB with files, limit {LABEL_LIMIT} MB, {'met' if most <= LABEL_LIMIT else 'missed'}")
    return shown | {"label_resident_mb": most}


def shards(folder: Path, sizes: list[int]) -> dict[str, Any]:
    """`pet label` with two actors on Ray, which label shards of Parquet (requires ray)."""
    run, log, found = folder / "sharded", folder / "shards.log", []
    for rows in sizes:
        pool = folder / f"sharded-{rows}.parquet"
        write_pool(pool, rows, FEW_WORDS)
        if not run.exists():
            work = ["run", str(folder / "task.yaml"), "--method", "zero-shot", "--model", str(folder / "model")]
            peak([*work, "--unlabeled", str(pool), "--max-length", "32", *QUIETLY, "-o", str(run)], log)
        given = ["--executor", "ray", "--workers", "2", *QUIETLY, "-o", str(folder / f"labels-{rows}")]
        found.append(peak(["label", str(run), "--input", str(pool), *given], log))
    shown = show("pet label on Ray", ALLOWED >> 20, sizes, found, "texts")
    actors = [round(each.actor / 2**20) for each in found]
    click.echo(f"each of two actors: at most {' and '.join(f'{mb} MB' for mb in actors)}")
    return shown | {"actor_mb": actors}


def distill(folder: Path, sizes: list[int]) -> dict[str, Any]:
    """`pet distill` from few and from many soft labels, in shards, for texts in another order."""
    found = []
    for rows in sizes:
        pool, shards, student = folder / f"texts-{rows}.parquet", folder / f"shards-{rows}", folder / f"student-{rows}"
        write_pool(pool, rows)
        write_shards(shards, rows)
        steps = ["--set", "student_steps=20", "--set", "student_rounds=1", "--max-length", "32"]
        given = ["--labels", str(shards), "--input", str(pool), "-m", str(folder / "model"), "-o", str(student)]
        found.append(peak(["distill", *given, *steps, *QUIETLY], folder / "distill.log"))
        pool.unlink()
    return show("pet distill", ALLOWED >> 20, sizes, found, "soft labels")


def write_shards(folder: Path, rows: int) -> None:
    """Write soft labels of the pool from its last text to its first, like `pet label` does."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    kinds = pa.schema([("id", pa.string()), ("probabilities", pa.list_(pa.float64()))], {"labels": json.dumps(LABELS)})
    for number, stop in enumerate(range(rows, 0, -PART)):
        ids = [str(i) for i in range(stop - 1, max(0, stop - PART) - 1, -1)]
        values = generator.dirichlet(np.ones(len(LABELS)), len(ids)).ravel()
        offsets = np.arange(0, values.size + 1, len(LABELS), dtype=np.int32)
        lists = pa.ListArray.from_arrays(offsets, values)
        pq.write_table(pa.table({"id": ids, "probabilities": lists}, schema=kinds), folder / f"{number:05d}.parquet")


def many_labels(folder: Path, _sizes: list[int]) -> dict[str, Any]:
    """A zero-shot run with 5,000 labels: 200 unlabeled and 1,000 test texts."""
    from pet.backbones.load import load_tokenizer

    vocabulary = load_tokenizer("mini-en").get_vocab()
    words = sorted(word for word in vocabulary if word.isalpha() and word.islower() and len(word) > 2)[:MANY]
    task = {"task": "many", "fields": ["text"], "labels": words, "verbalizer": {word: word for word in words},
            "patterns": ["{mask}: {text}"]}  # fmt: skip
    (folder / "many.yaml").write_text(json.dumps(task), encoding="utf-8")
    for name, rows in (("pool", 200), ("test", 1000)):
        lines = [json.dumps({"id": str(i), "text": f"about {words[i]} {i}", "label": words[i]}) for i in range(rows)]
        (folder / f"many-{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = folder / "many"
    given = ["--unlabeled", str(folder / "many-pool.jsonl"), "--test", str(folder / "many-test.jsonl"), "-o", str(run)]
    work = ["run", str(folder / "many.yaml"), "--method", "zero-shot", "--model", str(folder / "model"), *given]
    found = peak([*work, "--max-length", "32", *QUIETLY], folder / "many.log")
    files = {name: round((run / name).stat().st_size / 2**20, 1) for name in ("metrics.json", "report.html")}
    most = round(found.anonymous / 2**20)
    click.echo(f"{len(words):,} labels: {most} MB in {found.seconds:.0f} s; files in MB: {files}")
    return {"labels": len(words), "anonymous_mb": most, "files_mb": files, "seconds": round(found.seconds, 1)}


PARTS: dict[str, Callable[[Path, list[int]], dict[str, Any]]] = {
    "run": whole_run,
    "pool": pools,
    "distill": distill,
    "shards": shards,
    "labels": many_labels,
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--small", default=100_000, show_default=True, help="Rows of the small pool.")
@click.option("--large", default=1_000_000, show_default=True, help="Rows of the large pool.")
@common.output_option(common.SPEED)
def main(parts: tuple[str, ...], small: int, large: int, output: Path) -> None:
    """Print peaks of memory, and whether they meet their limits. PARTS: what to measure (default: all but shards)."""
    if not Path("/proc/self/status").exists():
        raise click.ClickException("this program requires Linux: it reads /proc")
    with tempfile.TemporaryDirectory(prefix="pet-memory-") as name:
        folder = Path(name)
        (folder / "task.yaml").write_text(TASK)
        write_model(folder / "model")
        for part in parts or [name for name in PARTS if name != "shards"]:
            figures = PARTS[part](folder, [small, large])
            common.record(output, f"memory, {part}", os.cpu_count() or 1, "wall", figures)


if __name__ == "__main__":
    main()
