"""Write a task file for a data file that has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pet.data.infer_columns import InferredColumns, infer_columns
from pet.data.label_sets import labels_of
from pet.data.read import read_table
from pet.data.source_names import LABELED
from pet.data.table_format import DETECT, TableFormat
from pet.errors import PetError
from pet.progress import Reporter
from pet.scaffold.model_words import ModelOptions, with_model
from pet.scaffold.scaffold import first_draft, named_columns, task_file_text
from pet.store.files import writing
from pet.store.outputs import check_output
from pet.task.document import from_yaml
from pet.task.grammar import NAME, RESERVED
from pet.task.parse import parse_task
from pet.task.task import Task


@dataclass(frozen=True)
class WrittenTask:
    """What the new task file says.

    Attributes
    ----------
    fields, labels : tuple of str
        Of the task.
    columns : mapping of str to str
        Field (or ``label``, ``id``) -> column of the data, where the names differ.
    words : mapping of str to tuple of str
        Label -> its words.
    similar : tuple of tuples of str
        Labels that differ only in case or spaces.
    unlabeled : int
        Rows without a label.
    several : bool
        True if a text may have several labels.
    counts : mapping of str to int
        Label -> its rows.
    guessed : tuple of str
        Labels whose words somebody should check: too few texts have them.
    """

    fields: tuple[str, ...]
    labels: tuple[str, ...]
    columns: Mapping[str, str]
    words: Mapping[str, tuple[str, ...]]
    similar: tuple[tuple[str, ...], ...]
    unlabeled: int = 0
    several: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    guessed: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewTaskOptions:
    """How to read the data and where the words come from.

    Attributes
    ----------
    text : text columns; default: a guess (`pet.data.infer_columns.infer_columns`)
    label : label column; default: a guess
    columns : field -> text column, or ``id`` or ``label`` -> column; ``id`` -> "" numbers the rows
    merge_labels : merge labels that differ only in case or spaces
    force : replace a file that exists
    table_format : encoding, delimiter and quoting of the data; default: detected
    model : the model to find words with; None: words are guessed from the names of the labels
    """

    text: Sequence[str] = ()
    label: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    merge_labels: bool = False
    force: bool = False
    table_format: TableFormat = DETECT
    model: ModelOptions | None = None


def write_new_task(
    name: str,
    source: str,
    output: str | Path,
    options: NewTaskOptions | None = None,
    reporter: Reporter | None = None,
) -> WrittenTask:
    """Inspect a data file and write a commented task file for it.

    Parameters
    ----------
    name : str
        Name of the task.
    source : str
        Labeled texts, as for `pet.data.read.read_table`; some rows may have no label.
    output : str or Path
        A .yaml file.
    options : NewTaskOptions, optional
        Columns, labels and model.
    reporter : Reporter, optional
        Shows progress.

    Raises
    ------
    PetError
        For every mistake in the input or the options. Nothing is written then.
    """
    options = options or NewTaskOptions()
    place = check_output(output, (".yaml", ".yml"), source, options.force)
    if not name.strip():
        raise PetError("NAME is empty; give the task a name")
    found = _inspected(source, options)
    unlabeled = found.rows - found.labeled
    labeled = f"{LABELED}{source}" if unlabeled else source
    draft = first_draft(name, labeled, found)
    task = _task_of(task_file_text(draft), output)
    columns = {**task.columns, **{name: column for name, column in options.columns.items() if name == "id"}}
    table_format = options.table_format
    # Finds missing texts and labels, and ids that appear twice, with their lines.
    read_table(
        labeled,
        task.fields,
        labels=labels_of(task),
        label_map=task.label_map,
        columns=columns,
        table_format=table_format,
    )
    if options.model is not None:
        draft = with_model(draft, task, options.model, reporter or Reporter("quiet"), columns, table_format)
    written = task_file_text(draft)
    task = _task_of(written, output)
    with writing(place) as temporary:
        temporary.write_text(written, encoding="utf-8", newline="\n")
    words = {label: tuple(words) for label, words in draft.words.words.items()}
    counts, named = dict(zip(found.labels, found.counts, strict=True)), named_columns(found)
    guessed = tuple(label for label in task.labels if label in draft.words.notes)
    return WrittenTask(task.fields, task.labels, named, words, found.similar, unlabeled, found.several, counts, guessed)


def _task_of(written: str, output: str | Path) -> Task:
    """Parse the text of a task file, so that one with a mistake is never written."""
    return Task(**parse_task(from_yaml(written, str(output))))


def _inspected(source: str, options: NewTaskOptions) -> InferredColumns:
    """Return the columns and labels of the data, with the columns that were named."""
    named = {name: column for name, column in options.columns.items() if name not in ("id", "label")}
    wrong = [name for name in named if not NAME.fullmatch(name) or name in RESERVED]
    if wrong:
        raise PetError(
            f"--column {wrong[0]}={named[wrong[0]]}: {wrong[0]!r} cannot be the name of a field; use letters, digits, "
            "'_' and '-', such as text"
        )
    if options.label is not None and options.columns.get("label", options.label) != options.label:
        raise PetError("--label and --column label=... name two label columns; leave one out")
    fields: dict[str, str] = {}
    for name, column in named.items():
        other = fields.setdefault(column, name)
        if other != name:
            raise PetError(f"--column {name}={column}: is the column of {other!r} already; give each field its own")
    found = infer_columns(
        source,
        text=list(dict.fromkeys([*options.text, *fields])),
        label=options.columns.get("label", options.label),
        ids=options.columns.get("id"),
        merge_labels=options.merge_labels,
        table_format=options.table_format,
    )
    return replace(found, fields=fields)
