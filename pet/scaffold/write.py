"""Write a task file for a data file that has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pet.data.infer_columns import infer_columns
from pet.data.read import read_table
from pet.data.table_format import DETECT, TableFormat
from pet.errors import PetError
from pet.scaffold.scaffold import field_names, task_file_text
from pet.store.files import writing
from pet.store.outputs import check_output
from pet.task.document import read_yaml
from pet.task.parse import parse_task


@dataclass(frozen=True)
class WrittenTask:
    """What the new task file says.

    Attributes
    ----------
    fields, labels : tuple of str
        Of the task.
    columns : mapping of str to str
        Field (or ``label``) -> column of the data, where the names differ.
    """

    fields: tuple[str, ...]
    labels: tuple[str, ...]
    columns: Mapping[str, str]


def write_new_task(
    name: str,
    source: str,
    output: str | Path,
    *,
    text: Sequence[str] = (),
    label: str | None = None,
    force: bool = False,
    table_format: TableFormat = DETECT,
) -> WrittenTask:
    """Inspect a data file and write a commented task file for it.

    Parameters
    ----------
    name : str
        Name of the task.
    source : str
        Labeled texts, as for `pet.data.read.read_table`.
    output : str or Path
        A .yaml file.
    text : sequence of str
        Text columns; default: a guess (`pet.data.infer_columns.infer_columns`).
    label : str, optional
        Label column; default: a guess.
    force : bool
        Replace a file that exists.
    table_format : TableFormat
        Encoding, delimiter and quoting of the data; default: detected.

    Raises
    ------
    PetError
        For every mistake in the input or the options. Nothing is written then.
    """
    place = check_output(output, (".yaml", ".yml"), source, force)
    if not name.strip():
        raise PetError("NAME is empty; give the task a name")
    found = infer_columns(source, text=text, label=label, table_format=table_format)
    fields = field_names(found.text)
    columns = {field: column for field, column in fields.items() if field != column}
    if found.label != "label":
        columns["label"] = found.label
    # Finds missing texts and labels now, with their lines.
    read_table(source, list(fields), labels=found.labels, columns=columns, table_format=table_format)
    written = task_file_text(name, found, source)
    with writing(place) as temporary:
        temporary.write_text(written, encoding="utf-8", newline="\n")
        values = parse_task(read_yaml(temporary, str(output)))  # a file that does not parse is not kept
    return WrittenTask(values["fields"], values["labels"], columns)
