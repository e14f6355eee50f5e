"""Find mistakes in arguments and files before torch is imported, which takes seconds.

The functions that do the work find the same mistakes, and more. Here, only files of moderate size are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pet.data.source_names import HUB, STANDARD_INPUT, file_of, split_rows, text_columns
from pet.errors import PetError
from pet.resources import expand
from pet.run.settings import RunSettings
from pet.task.task import Task

if TYPE_CHECKING:
    from pet.data.table_options import TableOptions

STREAM = "-"  # an output that is printed
MOST_READ = 8 << 20  # bytes; of a larger file, only the columns are checked


def check_texts(source: str, fields: Sequence[str], name: str = "input", **reading: Any) -> None:
    """Read a table as a command will. Options are those of `pet.data.read.iter_table`.

    Raises
    ------
    PetError
        With every mistake in a file of moderate size, or those in the columns of a large one.
    """
    from pet.data.read import iter_table, prepare
    from pet.data.table_format import DETECT

    path, whole = file_of(source), split_rows(source)[0]
    is_pipe = path.exists() and not (path.is_file() or path.is_dir())
    if is_pipe or whole == STANDARD_INPUT or whole.startswith(HUB):
        return
    if path.is_file() and path.stat().st_size <= MOST_READ:
        iter_table(source, fields, name=name, **reading)
    else:
        known = (reading.get("labels"), reading.get("label_map", {}), reading.get("columns", {}))
        prepare(source, fields, *known, name, reading.get("table_format", DETECT))


def check_files(settings: RunSettings, task: Task) -> None:
    """Check the model's name, the settings, and the files of a run; raises all mistakes in the files at once."""
    from pet.backbones.place import resolve_model
    from pet.data.label_sets import labels_of
    from pet.data.table_format import TableFormat
    from pet.recipe import make_recipe
    from pet.run.settings import MEMORY

    make_recipe(settings.recipe, settings.settings)
    for model in (settings.model, settings.student_model):
        if model is not None:
            resolve_model(model)
    columns = {**task.columns, **settings.columns}
    unlabeled: dict[str, Any] = {"table_format": TableFormat(**settings.table_format)}
    labeled = {**unlabeled, "columns": columns, "labels": labels_of(task), "label_map": task.label_map}
    unlabeled["columns"] = text_columns(settings.unlabeled or "", columns)
    problems: list[str] = []
    for name, reading in (("train", labeled), ("unlabeled", unlabeled), ("test", labeled)):
        source = getattr(settings, name)
        if source is None or source.startswith(MEMORY):
            continue
        try:
            check_texts(source, task.fields, name, **reading)
        except PetError as error:
            problems += error.problems
    if problems:
        raise PetError(problems)


def check_classifier_input(model: str, source: str, table: TableOptions, task: Task | None = None) -> None:
    """Check that a name can be a classifier, and read the texts with the fields that its folder asks for.

    `task` names columns, as ``pet evaluate --task`` does.
    """
    from pet.backbones.place import resolve_model
    from pet.inference.place import check_place, fields_of, settings_of

    place = expand(model)
    check_place(place)
    resolve_model(model)
    settings = settings_of(place)
    known: dict[str, str] = {}
    if settings is not None:
        known = {**Task.from_dict(settings.task).columns, **settings.columns}
    known |= {} if task is None else task.columns
    fields = fields_of(place)
    mapping = {key: column for key, column in known.items() if key in (*fields, "id", "label")}
    columns = text_columns(source, {**mapping, **table.columns})
    check_texts(source, fields, columns=columns, table_format=table.table_format)


def check_labeling(run: str, source: str, output: str, table: TableOptions) -> None:
    """Check the run, the input and, unless it is a folder, the output of ``pet label``."""
    from pet.inference.place import is_exported_ensemble
    from pet.run.load_run import read_settings
    from pet.store.outputs import check_output
    from pet.store.tables import TABLE_ENDINGS

    settings = None if is_exported_ensemble(expand(run)) else read_settings(run)
    if output != STREAM:
        check_output(output, TABLE_ENDINGS, file_of(source), table.force)
    if settings is None:
        return
    task = Task.from_dict(settings.task)
    columns = {**task.columns, **settings.columns, **table.columns}
    check_texts(source, task.fields, columns=text_columns(source, columns), table_format=table.table_format)
