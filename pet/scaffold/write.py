"""A task file for a data file that has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pet.data.infer_columns import survey
from pet.data.read import read_table
from pet.errors import PetError
from pet.scaffold.scaffold import draft_task, field_names
from pet.store.files import writing
from pet.store.outputs import check_output
from pet.task.document import read_yaml
from pet.task.parse import parse_task


@dataclass(frozen=True)
class NewTask:
    """What was written.

    Attributes
    ----------
    fields, labels : of the task
    columns : field (or ``label``) -> column of the data, where they are called otherwise
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
) -> NewTask:
    """Look through a data file and write a commented task file that reads it.

    Parameters
    ----------
    name : of the task
    source : labeled texts, as `pet.data.read.read_table` takes them
    output : a .yaml file
    text, label : columns; what is not named is guessed (`pet.data.infer_columns.survey`)
    force : replace a file that is there

    Raises
    ------
    PetError
        For every mistake of the user's; then nothing is written.
    """
    place = check_output(output, (".yaml", ".yml"), source)
    if place.exists() and not force:
        raise PetError(f"{output}: is there already; name another file, or replace it with --force")
    if not name.strip():
        raise PetError("NAME is empty; say what the task is called")
    found = survey(source, text=text, label=label)
    fields = field_names(found.text)
    columns = {field: column for field, column in fields.items() if field != column}
    if found.label != "label":
        columns["label"] = found.label
    # Missing texts and labels are found now, with their lines.
    read_table(source, list(fields), labels=found.labels, columns=columns)
    draft = draft_task(name, found.text, found.label, found.labels, found.counts, source=source, others=found.others)
    with writing(place) as temporary:
        temporary.write_text(draft, encoding="utf-8", newline="\n")
        values = parse_task(read_yaml(temporary, str(output)))  # a file that does not parse is not kept
    return NewTask(values["fields"], values["labels"], columns)
