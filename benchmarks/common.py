"""Helpers shared by the benchmark programs: options, texts, clocks, runs, and result files."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import pet
from pet.recipe import Recipe, make_recipe

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from pet.backbones.base import LanguageModel
    from pet.cloze.pvp import PVP
    from pet.cloze.tokens import TokenTable
    from pet.progress import Reporter
    from pet.run.execution.options import Execution
    from pet.run.resolve import Given
    from pet.task.task import Task
    from pet.training.device import Accelerator

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
SPEED = HERE / "results" / "speed.jsonl"
Clock = Callable[[], float]
Work = Callable[[], object]
Rows = list[dict[str, Any]]
# CPU time adds up all threads: on a busy machine, measure it with one thread.
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}

# ---- options -----------------------------------------------------------------------------------


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Combine options of a command into one decorator."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def output_option(default: Path) -> Callable[[Any], Any]:
    """``-o FILE``: the file that results are appended to."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        default=default,
        show_default=default.name,
        help="JSON lines file that results are appended to.",
    )


model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=SHARED / "models" / "minilm-mlm-en",
    show_default="../shared/models/minilm-mlm-en",
    help="Folder of a masked language model.",
)
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=SHARED / "data",
    show_default="../shared/data",
    help="Folder of data sets.",
)
threads_option = click.option("--threads", default=os.cpu_count() or 1, show_default=True, help="Threads of PyTorch.")
# Of the programs that measure speed.
options = together(
    model_option,
    data_option,
    threads_option,
    click.option(
        "--clock", type=click.Choice(list(CLOCKS)), default="wall", show_default=True, help="Time to measure."
    ),
    click.option("--rounds", default=5, show_default=True, help="Report the median over this many rounds."),
    output_option(SPEED),
)
settings_option = click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting.")


def run_options(results: str, *, seeds: int = 3) -> Callable[[Any], Any]:
    """Options of the programs that compare whole runs; `results` is the name of their result file."""
    return together(
        click.argument("wanted", nargs=-1, metavar="TASK:EXAMPLES..."),
        click.option("--seeds", default=seeds, show_default=True, help="Number of seeds."),
        settings_option,
        output_option(HERE / "results" / f"{results}.jsonl"),
    )


shared_option = click.option(
    "--shared",
    type=click.Path(path_type=Path),
    default=SHARED,
    show_default="../shared",
    help="Folder with `data` and `models`.",
)


def setting_pairs(changes: Iterable[str]) -> dict[str, str]:
    """Parse the values of ``--set``."""
    return dict(change.split("=", 1) for change in changes)


# ---- clocks and machine ------------------------------------------------------------------------


def alternate(
    work: Mapping[str, Work], clock: Clock, rounds: int, *, repeat: int = 1, warmup: int = 1
) -> dict[str, float]:
    """Measure the median seconds of each function. They take turns, so that a slow minute affects all of them."""
    from pet.training.memory import own_process

    seconds: dict[str, list[float]] = {name: [] for name in work}
    with own_process():  # as in the command
        for number in range(warmup + rounds):
            for name, do in work.items():
                begun = clock()
                for _ in range(repeat):
                    do()
                if number >= warmup:
                    seconds[name].append((clock() - begun) / repeat)
    return {name: statistics.median(values) for name, values in seconds.items()}


def model_config(model: Path) -> Any:
    """Load the configuration of a model."""
    import transformers

    return transformers.AutoConfig.from_pretrained(model)


def dtypes() -> list[torch.dtype]:
    """Return float32, and bfloat16 if this CPU multiplies matrices in it."""
    import torch

    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    has_bf16 = any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return [torch.float32, *([torch.bfloat16] if has_bf16 else [])]


def computed_in(accelerator: Accelerator) -> torch.dtype:
    """Return the dtype in which an accelerator multiplies matrices."""
    import torch

    return torch.bfloat16 if accelerator.precision == "bf16" else torch.float32


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype, such as ``float32``."""
    return str(dtype).removeprefix("torch.")


def processor() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Describe the machine and its load."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
    }


def now() -> str:
    """Return the current time as text."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


# ---- texts -------------------------------------------------------------------------------------


def read_rows(data: Path, name: str, part: str, count: int, fields: tuple[str, ...]) -> Rows:
    """Read the first rows of a data set: its fields as text, and the label if there is one."""
    with (data / name / f"{part}.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, count)]
    return [{**{f: str(row[f]) for f in fields}, "label": row.get("label")} for row in rows]


def first_rows(source: Path, count: int, target: Path) -> Path:
    """Copy the first rows of a file."""
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, count)), encoding="utf-8")
    return target


@dataclass(frozen=True)
class FirstPattern:
    """The first pattern of a task with a masked language model: what the speed benchmarks measure.

    Attributes
    ----------
    task : the task
    model : folder of the model, or an embedded model
    recipe : for the longest input and the batches of inference
    """

    task: Task
    model: str | Path
    recipe: Recipe = field(default_factory=make_recipe)

    @cached_property
    def tokenizer(self) -> Any:
        from pet.backbones.load import load_tokenizer

        return load_tokenizer(str(self.model))

    @cached_property
    def pvp(self) -> PVP:
        """The pattern, bound to the tokenizer."""
        from pet.cloze.pvp import bind_pattern

        return bind_pattern(self.task.patterns[0], self.task.labels, self.tokenizer, self.recipe.encoding.max_length)

    def open(self) -> LanguageModel:
        """Open a new copy of the model."""
        from pet.backbones.masked import MaskedLM
        from pet.backbones.trained import load_masked_lm

        return MaskedLM(load_masked_lm(str(self.model)))

    def table(self, rows: Rows) -> Dataset:
        """Make a table of the rows, without their labels."""
        from datasets import Dataset

        return Dataset.from_list([{field: row[field] for field in self.task.fields} for row in rows])

    def tokenize(self, table: Dataset) -> TokenTable:
        """Tokenize the fields of a table."""
        from pet.cloze.encode import token_keys
        from pet.cloze.tokens import tokenize_fields

        return tokenize_fields(table, token_keys([self.pvp.encoder]), self.pvp.encoder.plain)

    def score(self, lm: LanguageModel, tokens: TokenTable, accelerator: Accelerator) -> Any:
        """Score a tokenized table: float32 array of shape (rows, L)."""
        from pet.members.scoring import score_rows

        most = self.recipe.inference.tokens
        return score_rows(lm, self.tokenizer, self.pvp, tokens, accelerator, max_tokens=most)


# ---- runs --------------------------------------------------------------------------------------


def run_in(
    folder: Path,
    data: Path,
    test_rows: int,
    settings: Mapping[str, Any],
    *,
    given: Given | None = None,
    execution: Execution | None = None,
    reporter: Reporter | None = None,
) -> tuple[dict[str, Any], float]:
    """Run on a data set, in the subfolder ``run``.

    Parameters
    ----------
    folder : an empty folder
    data : folder with train.jsonl, unlabeled.jsonl and test.jsonl
    test_rows : the test set is cut to this many rows
    settings : arguments of `pet.run.settings.RunSettings`; they may replace the data files
    given, execution : see `pet.run.pipeline.run`
    reporter : default: messages as plain text

    Returns
    -------
    The results of the run, and its seconds.
    """
    from pet.progress import Reporter
    from pet.run.pipeline import run
    from pet.run.settings import RunSettings

    files = {
        "train": str(data / "train.jsonl"),
        "unlabeled": str(data / "unlabeled.jsonl"),
        "test": str(first_rows(data / "test.jsonl", test_rows, folder / "test.jsonl")),
    }
    wanted = RunSettings(**{**files, **settings})
    begun = time.perf_counter()
    results = run(wanted, folder / "run", reporter or Reporter("plain"), given=given, execution=execution)
    return results, time.perf_counter() - begun


def member_stages(folder: Path) -> dict[str, Any]:
    """Return the manifest entries of the members of a run: stage name -> entry."""
    from pet.store.manifest import read_stages

    return {name: stage for name, stage in read_stages(folder).items() if "kind" in (stage["info"] or {})}


def wanted_runs(wanted: Sequence[str], seeds: int) -> Iterator[dict[str, Any]]:
    """Parse ``TASK:EXAMPLES`` texts into runs: first all runs with seed 0, then those with seed 1, and so on."""
    for seed in range(seeds):
        for item in wanted:
            name, _, examples = item.partition(":")
            if not examples.isdigit():
                raise click.UsageError(f"{item}: write it as TASK:EXAMPLES, such as agnews:10")
            yield {"task": name, "examples": int(examples), "seed": seed}


def make_missing(
    output: Path,
    runs: Iterable[Mapping[str, Any]],
    make: Callable[[Any], Mapping[str, Any]],
    page: Callable[[list[Any]], str],
) -> list[Any]:
    """Make the runs that have no line in the output file yet, and rewrite the Markdown page after each.

    A line belongs to a run if it has all keys of the run with the same values.
    """
    done = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    for run in runs:
        if not any(all(line.get(key) == value for key, value in run.items()) for line in done):
            done.append(make(run))
            append(output, done[-1])
            output.with_suffix(".md").write_text(page(done))
    output.with_suffix(".md").write_text(page(done))  # even if only its layout has changed
    return done


def run_alone(program: str, option: str, wanted: Mapping[str, Any], threads: int | None = None) -> dict[str, Any]:
    """Run a program in a process of its own, which has its own peak of memory, and return the JSON it prints.

    The program gets `wanted` as JSON in an option; its last line is the result.
    """
    command = [sys.executable, program, option, json.dumps(wanted)]
    environment = None if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    line: dict[str, Any] = json.loads(found.splitlines()[-1])
    return line


# ---- results -----------------------------------------------------------------------------------


def spread(shares: Sequence[float]) -> str:
    """Format mean and standard deviation in percent."""
    deviation = f" ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * statistics.fmean(shares):.1f}{deviation}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a table as Markdown."""
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]]) + "\n"


def append(output: Path, line: Mapping[str, Any]) -> None:
    """Append a JSON line to a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def record(output: Path, program: str, threads: int, clock: str, figures: Mapping[str, Any]) -> None:
    """Append a line with the figures, the time, the machine and the versions."""
    packages = {name: metadata.version(name) for name in ("torch", "transformers", "tokenizers", "numpy")}
    line = {
        "program": program,
        "date": now(),
        **figures,
        "machine": machine(),
        "threads": threads,
        "clock": clock,
        "versions": {"python": platform.python_version(), "pet": pet.__version__, **packages},
    }
    append(output, line)
