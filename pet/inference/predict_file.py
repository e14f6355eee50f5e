"""Classifying texts of any number with a saved classifier."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pet.data.read import iter_table
from pet.inference.classifier import open_classifier
from pet.inference.quantize import check_processor, quantize_classifier
from pet.progress import Reporter
from pet.store.files import writing
from pet.store.outputs import check_output
from pet.student.classifier import prediction_rows
from pet.terminal import is_utf8
from pet.training.device import make_accelerator

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]
CHUNK_ROWS = 32768
ENDINGS = (".jsonl", ".csv", ".parquet")


class Writer(Protocol):
    """Takes predictions chunk by chunk."""

    def write(self, ids: Sequence[str], probabilities: Array) -> None:
        """Append rows: probabilities of shape (rows, L)."""


def predict_file(
    model: str,
    source: str,
    output: str | Path | IO[str],
    *,
    columns: Mapping[str, str] | None = None,
    device: str = "auto",
    precision: str = "fp32",
    allow_pickle: bool = False,
    quantize: bool = False,
    max_tokens: int = 8192,
    reporter: Reporter | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> int:
    """Classify a file in constant memory.

    Parameters
    ----------
    model : a student, a run, or any ``transformers`` sequence classifier (which reads a field ``text``)
    source : the texts, as `pet.data.read.read_table` takes them
    output : a .jsonl, .csv or .parquet file, replaced in whole when all is done; or a text stream,
        which gets JSON lines. Each row has id, label, confidence and the probability of each label.
    columns : field (or ``id``) -> column
    device, precision : see `pet.training.device.make_accelerator`; fp32 is what a pipeline has
    allow_pickle : also open pickled weights
    quantize : compute in int8, on a processor; the first 256 texts are also scored without it and compared
    max_tokens : tokens in a batch, padding included
    reporter : is told how far the work is
    chunk_rows : texts that are in memory at a time

    Returns
    -------
    int
        Number of texts.

    Raises
    ------
    PetError
        For every mistake of the user's, before anything is classified.
    """
    reporter = reporter or Reporter("quiet")
    place = check_output(output, ENDINGS, source) if isinstance(output, (str, Path)) else output
    saved = open_classifier(model, allow_pickle=allow_pickle)
    classifier = saved.classifier
    mapping = {key: value for key, value in {**saved.columns, **(columns or {})}.items() if key != "label"}
    chunks = iter_table(source, classifier.text_input.fields, columns=mapping, name="input", chunk_rows=chunk_rows)
    accelerator = make_accelerator(device, precision)
    if quantize:
        check_processor(accelerator.device, reporter)
    total = 0
    with _writer(place, classifier.labels) as writer, reporter.task("predict", None, "text") as bar:
        for chunk in chunks:
            if quantize and not total:
                quantize_classifier(classifier, model, chunk, accelerator, max_tokens, reporter)
            probabilities = classifier.probabilities(chunk, accelerator, max_tokens=max_tokens, on_rows=bar.update)
            writer.write(list(chunk["id"]), probabilities)
            total += len(chunk)
    return total


@contextmanager
def _writer(place: Path | IO[str], labels: Sequence[str]) -> Iterator[Writer]:
    if not isinstance(place, Path):
        yield JsonLines(place, labels)
        return
    with writing(place) as beside:
        if place.suffix.lower() == ".parquet":
            parquet = Parquet(beside, labels)
            try:
                yield parquet
            finally:
                parquet.close()
            return
        with beside.open("w", encoding="utf-8", newline="") as stream:
            yield (Csv if place.suffix.lower() == ".csv" else JsonLines)(stream, labels)


class JsonLines:
    """A JSON object a line; `pet distill` reads these, too."""

    def __init__(self, stream: IO[str], labels: Sequence[str]):
        self._stream, self._labels = stream, labels
        self._ascii = not is_utf8(stream)

    def write(self, ids: Sequence[str], probabilities: Array) -> None:
        for row in prediction_rows(ids, probabilities, self._labels):
            self._stream.write(json.dumps(row, ensure_ascii=self._ascii) + "\n")


class Csv:
    """Columns id, label, confidence, and one for each label's probability."""

    def __init__(self, stream: IO[str], labels: Sequence[str]):
        self._labels = labels
        self._csv = csv.writer(stream, lineterminator="\n")
        self._csv.writerow(["id", "label", "confidence", *(f"p({label})" for label in labels)])

    def write(self, ids: Sequence[str], probabilities: Array) -> None:
        for row in prediction_rows(ids, probabilities, self._labels):
            self._csv.writerow([row["id"], row["label"], row["confidence"], *row["probabilities"].values()])


class Parquet:
    """Columns id, probabilities (in the order of the labels), label, confidence; `pet distill` reads it."""

    def __init__(self, place: Path, labels: Sequence[str]):
        import pyarrow.parquet as pq

        self._labels = labels
        self._schema = _schema(labels)
        self._file = pq.ParquetWriter(place, self._schema)

    def write(self, ids: Sequence[str], probabilities: Array) -> None:
        import pyarrow as pa

        names = np.asarray(self._labels, dtype=object)
        ends = np.arange(len(ids) + 1, dtype=np.int32) * probabilities.shape[1]
        columns = [
            pa.array(ids, pa.string()),
            pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(probabilities.reshape(-1))),
            pa.array(names[probabilities.argmax(axis=1)], pa.string()),
            pa.array(probabilities.max(axis=1)),
        ]
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._file.close()


def _schema(labels: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    columns = [
        ("id", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
        ("label", pa.string()),
        ("confidence", pa.float64()),
    ]
    return pa.schema(columns, metadata={"labels": json.dumps(list(labels), ensure_ascii=False)})
