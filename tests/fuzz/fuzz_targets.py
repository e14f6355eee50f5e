"""What is fuzzed: one function for each kind of file or text that may come from somebody else.

`check` runs a target on some bytes and judges it: it must end in time, with a value or with a `PetError` whose messages
are single lines, and must not touch a file outside its folder, start a process, or open a connection.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import lzma
import os
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from click.testing import CliRunner
from datasets import Dataset
from fuzz_exports import changed
from safetensors.torch import save_file

from pet.cli.main import main
from pet.data.documents import read_documents
from pet.data.infer_columns import infer_columns
from pet.data.memory import table_of
from pet.data.read import read_table
from pet.data.targets import label_positions
from pet.ensemble.combine import Ensemble
from pet.ensemble.soft_label_files import read_soft_labels
from pet.errors import PetError
from pet.estimator.inputs import target_values
from pet.extras import is_installed
from pet.inference.ensemble import _recipe, noted_merging
from pet.inference.exported import open_exported
from pet.inference.options import ComputeOptions
from pet.members import chat
from pet.members.external import read_external
from pet.members.kinds import NOTE as MEMBER
from pet.members.kinds import read_spec
from pet.members.rules import Rules, read_rules
from pet.prompts.library import NOTE as PROMPT
from pet.prompts.library import list_prompts
from pet.run.load_run import read_settings
from pet.store.files import plain
from pet.store.manifest import CONFIG, MANIFEST, read_config, read_stages, write_config, write_stages
from pet.student.classifier import saved_input
from pet.task.grammar import parse_template
from pet.task.task import Task

LIMIT = 10.0  # seconds for one input
LONGEST = 3000  # characters of one message
FIELDS = ("text", "title")
LABELS = ("bad", "good")
TABLE_FORMATS = (".jsonl", ".csv", ".tsv", ".parquet")
SOURCE_FORMATS = (".xlsx", ".arrow", ".db", ".csv.zst", ".jsonl.xz")


class Failure(AssertionError):
    """The oracle's verdict on an input that found a bug."""


# ---- targets: (folder, data) -> anything; they may raise PetError ----------------------------------


def task_file(folder: Path, data: bytes) -> None:
    path = folder / "task.yaml"
    path.write_bytes(data)
    task = Task.load(path)
    if Task.from_dict(task.to_dict()) != task:
        raise Failure("a task differs from the one that is made from its own mapping")


def template(folder: Path, data: bytes) -> None:
    source = data.decode("utf-8", "replace")
    parsed = parse_template(source, FIELDS)
    shown = parsed.render(dict.fromkeys(FIELDS, "{mask} || {text}"), mask="[MASK]")
    if "[MASK]" not in shown or parse_template(parsed.source, FIELDS) != parsed:
        raise Failure("a pattern lost its mask, or is not the same when parsed again")


def table(folder: Path, data: bytes) -> None:
    path = _table_file(folder, data)
    with contextlib.suppress(PetError):
        infer_columns(str(path))
    read = read_table(path, ["text"], labels=LABELS)
    if not len(read) or set(read["label"]) - {0, 1}:
        raise Failure("a table without rows, or with labels that the task does not have")


def memory(folder: Path, data: bytes) -> None:
    """Objects in memory, from JSON: texts, a table, and labels."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise PetError("not JSON") from None
    with contextlib.suppress(PetError, ValueError):  # a ValueError is one of scikit-learn
        label_positions(target_values(value), LABELS, {"1": "good"})
    with contextlib.suppress(PetError):
        table_of(value, ["text"])
    read = read_table(value, ["text"], labels=LABELS)
    if not len(read) or set(read["label"]) - {0, 1}:
        raise Failure("a table without rows, or with labels that the task does not have")


def soft_labels(folder: Path, data: bytes) -> None:
    path = _table_file(folder, data)
    with contextlib.suppress(PetError):
        read_soft_labels(path)
    found = read_soft_labels(path, LABELS)
    sums = found.probabilities.sum(axis=1)
    if found.probabilities.shape != (len(found.ids), 2) or not (abs(sums - 1) < 1e-6).all():
        raise Failure("probabilities of the wrong shape, or that do not add up to 1")


def external(folder: Path, data: bytes) -> None:
    ids, scores = read_external(_table_file(folder, data), LABELS, "votes")
    if scores.shape != (len(ids), 2) or not ((scores <= 0) | (scores != scores)).all():
        raise Failure("scores of the wrong shape, or above the logarithm of 1")


def documents(folder: Path, data: bytes) -> None:
    """Text for `pet adapt`; the first byte selects the format."""
    ending = (".txt", ".jsonl", ".txt.gz", ".jsonl.xz")[data[0] % 4] if data else ".txt"
    path = folder / f"text{ending}"
    packed = {"gz": gzip.compress, "xz": lzma.compress}.get(ending[-2:])
    path.write_bytes(packed(data[1:]) if packed and data[0] < 128 else data[1:])
    read = read_documents([str(path)], ["text"] if "jsonl" in ending else [], "blank" if len(data) % 3 else "line")
    if any(not text.strip() or "\n" in text for text in read):
        raise Failure("a document that is empty, or of several lines")


def source(folder: Path, data: bytes) -> None:
    """Tables in packed files, databases and sheets; the first byte selects the format."""
    ending = SOURCE_FORMATS[data[0] % len(SOURCE_FORMATS)] if data else ".arrow"
    path = folder / f"table{ending}"
    if ending == ".xlsx" and data[0] < 128:  # only the sheet is changed
        with zipfile.ZipFile(io.BytesIO(workbook())) as whole, zipfile.ZipFile(path, "w") as changed:
            for name in whole.namelist():
                changed.writestr(name, data[1:] if name.endswith("sheet1.xml") else whole.read(name))
    else:
        path.write_bytes(data[1:])
    name = f"sqlite:{path}" if ending == ".db" else str(path)
    with contextlib.suppress(PetError):
        read_table(f"unlabeled:{name}", ["text"])
    read = read_table(name, ["text"], labels=LABELS)
    if not len(read) or set(read["label"]) - {0, 1}:
        raise Failure("a table without rows, or with labels that the task does not have")


def _table_file(folder: Path, data: bytes) -> Path:
    """Write a table; its first byte selects the format."""
    ending = TABLE_FORMATS[data[0] % len(TABLE_FORMATS)] if data else ".csv"
    path = folder / f"table{ending}"
    path.write_bytes(data[1:])
    return path


def manifest(folder: Path, data: bytes) -> None:
    (folder / MANIFEST).write_bytes(data)
    stages = read_stages(folder)
    write_stages(folder, stages)
    if read_stages(folder) != stages:
        raise Failure("a manifest is not the same when it is written and read again")
    for name in stages:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise Failure("a stage outside the run")
        noted = noted_merging(folder, stages, name)
        if noted:
            Ensemble.from_dict(noted, labels=2)


def config(folder: Path, data: bytes) -> None:
    (folder / CONFIG).write_bytes(data)
    values = read_config(folder)
    write_config(folder, plain(values))
    if read_config(folder) != values:
        raise Failure("a config is not the same when it is written and read again")
    settings = read_settings(folder)
    if settings.allow_pickle:
        raise Failure("a config allows pickles")
    Task.from_dict(settings.task)
    _recipe(folder, settings.recipe, settings.settings)


def member(folder: Path, data: bytes) -> None:
    (folder / MEMBER).write_bytes(data)
    read_spec(folder)


def teacher(folder: Path, data: bytes) -> None:
    """What a teacher keeps: teacher.json and, after a zero byte, its arrays."""
    note, _, arrays = data.partition(b"\0")
    (folder / chat.FITTED).write_bytes(note)
    (folder / chat.ARRAYS).write_bytes(arrays)
    found = chat._open(folder, fields=2, labels=2)
    if any(not 0 <= example.label < 2 or len(example.fields) != 2 for example in found.examples):
        raise Failure("an example of a teacher that does not fit the task")


def rules(folder: Path, data: bytes) -> None:
    """A table of words and labels; the first byte selects the format."""
    votes = read_rules(_table_file(folder, data), LABELS, "words")
    found = list(Rules(votes).votes(f"a great film {' '.join(votes)}"))
    if not found or set(found) - {0, 1}:
        raise Failure("rules that do not find their own words, or vote for labels that the task does not have")


def exported(folder: Path, data: bytes) -> None:
    """A folder of `pet export --ensemble`, with one of its files replaced."""
    ensemble = open_exported(changed(folder, data), ComputeOptions(device="cpu", runtime="onnx"))
    soft = ensemble.label(Dataset.from_dict({"id": ["a"], **{name: ["a text"] for name in ensemble.task.fields}}))
    if soft.probabilities.shape != (1, len(ensemble.task.labels)):
        raise Failure("probabilities of the wrong shape")


def classifier(folder: Path, data: bytes) -> None:
    (folder / "pet.json").write_bytes(data)
    saved_input(folder / "pet.json")


def prompt_library(folder: Path, data: bytes) -> None:
    """Notes of a prompt, and the metadata of its vectors, with a zero byte between them."""
    note, _, about = data.partition(b"\0")
    place = folder / "some-prompt"
    place.mkdir()
    metadata = {"pet": about.decode("utf-8", "replace")}
    save_file({"vectors": torch.ones(2, 3)}, place / "learned.safetensors", metadata)
    (place / PROMPT).write_bytes(note)
    list_prompts(folder)


def options(folder: Path, data: bytes) -> None:
    """A command line, one argument a line. Files that it names do not exist, so that nothing is computed."""
    arguments = [line.decode("utf-8", "surrogateescape") for line in data.split(b"\n")]
    arguments = [argument for argument in arguments if "\0" not in argument]
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code not in (0, 1, 2):
        raise Failure(f"exit status {result.exit_code}")
    if "Traceback (most recent call last)" in result.output:
        raise Failure("a traceback")
    if result.exit_code == 2:
        raise PetError(f"exit status 2: {result.output.strip()[-100:]!r}")


TARGETS: dict[str, Callable[[Path, bytes], None]] = {
    "task": task_file,
    "template": template,
    "table": table,
    "source": source,
    "memory": memory,
    "soft_labels": soft_labels,
    "external": external,
    "documents": documents,
    "manifest": manifest,
    "config": config,
    "member": member,
    "teacher": teacher,
    "rules": rules,
    "classifier": classifier,
    "prompt_library": prompt_library,
    "options": options,
}
if is_installed("onnx") and is_installed("onnxruntime"):
    TARGETS["exported"] = exported

# ---- the oracle ------------------------------------------------------------------------------------


class _Watch:
    """Notes what a target does outside its folder. Python has no way to remove an audit hook, so there is one."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes or (isinstance(mode, str) and set(mode) & set("wxa+")):
                self._path(event, path)
        elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"):
            self._path(event, arguments[0])
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "socket.connect"):
            self.seen.append(f"{event} {arguments!r:.200}")

    def _path(self, event: str, path: object) -> None:
        if isinstance(path, (str, bytes)):
            place = os.path.abspath(os.fsdecode(path))
            # read_table creates its temporary folder beside ours and removes it, too.
            if not place.startswith((self.folder or "", tempfile.gettempdir(), "/dev/")):
                self.seen.append(f"{event} {place}")


_watch = _Watch()


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    if not seconds:
        yield
        return
    late = f"no answer after {seconds:g} seconds"
    fired: list[bool] = []

    def stop(*_: object) -> None:
        fired.append(True)
        raise Failure(late)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if fired:  # and something swallowed the exception
        raise Failure(late)


def check(target: str, data: bytes, limit: float = LIMIT) -> str:
    """Run a target on an input; return ``value`` or ``refused``.

    Parameters
    ----------
    target : one of `TARGETS`
    data : the input
    limit : seconds that it may take; 0: any time, if something else watches it

    Raises
    ------
    Failure
        If the input found a bug: another exception than `PetError`, a message of several lines, no end in time, or a
        file, process or connection outside the target's folder.
    """
    here = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        inside = Path(folder, "inside")
        inside.mkdir()
        os.chdir(inside)
        _watch.folder, _watch.seen = folder, []
        outcome = "value"
        try:
            with _time_limit(limit), contextlib.redirect_stdout(io.StringIO()):
                TARGETS[target](inside, data)
        except PetError as error:
            outcome = "refused"
            for problem in error.problems:
                if "\n" in problem or len(problem) > LONGEST or not problem.strip():
                    raise Failure(f"a message of {len(problem)} characters: {problem[:200]!r}") from error
        except Failure:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise Failure(f"{type(error).__name__}: {error}"[:500]) from error
        finally:
            _watch.folder = None
            os.chdir(here)
        outside = [path.name for path in Path(folder).iterdir() if path.name != "inside"]
    if _watch.seen or outside:
        raise Failure(f"outside its folder: {_watch.seen + outside}"[:500])
    return outcome


def timed(target: str, data: bytes) -> tuple[str, float]:
    """Return the outcome of `check`, and the seconds that it took."""
    begun = time.monotonic()
    return check(target, data), time.monotonic() - begun


def parquet_bytes(columns: dict[str, list[Any]], metadata: dict[str, str] | None = None) -> bytes:
    """Return a Parquet file."""
    sink = io.BytesIO()
    made = pa.table(columns)
    pq.write_table(made.replace_schema_metadata(metadata) if metadata else made, sink)
    return sink.getvalue()


def workbook() -> bytes:
    """Return an Excel file with a few labeled texts, written without openpyxl's styles."""
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["text", "label", "n"], ["Fine, I say.", "good", 1], ["A bad one", "bad", 2.5]):
        book.active.append(row)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()
