"""Write a saved classifier as ONNX, in the layout that transformers.js and optimum read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.data.pick import pick_rows
from pet.data.read import iter_table
from pet.data.source_names import text_columns
from pet.data.table_format import DETECT, TableFormat
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.export.page import write_page
from pet.extras import install_command, is_installed
from pet.inference.classifier import open_classifier
from pet.inference.options import ComputeOptions
from pet.inference.place import classifier_folder, settings_of
from pet.inference.quantize import sample_of
from pet.progress import Reporter
from pet.report.card import card_of_export
from pet.resources import expand
from pet.run.settings import RunSettings
from pet.runtimes.build import medians, quantize_file
from pet.runtimes.engines import ONNX, describe, open_engine
from pet.runtimes.graph import LogitsGraph, has_weights_beside, write_graph
from pet.store.outputs import check_new_folder, writing_folder
from pet.student.classifier import Classifier, is_saved_classifier
from pet.student.exported import FOLDER, FULL, QUANTIZED, is_exported, use_engine
from pet.training.device import Accelerator, make_accelerator

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
NOTE, README = "export.json", "README.md"
EQUAL = 1e-3  # largest difference of logits that rounding in fp32 explains
_TIMED = 64  # texts


@dataclass(frozen=True)
class Export:
    """What to write.

    Parameters
    ----------
    int8 : bool
        Also write onnx/model_quantized.onnx.
    texts : str, optional
        Texts to compare the files on. Default: the unlabeled texts of the classifier's run.
    node_modules : str, optional
        Folder where npm installed transformers.js, whose scripts are then copied for ``demo.html``.
    force : bool
        Replace a folder that an earlier export wrote.
    """

    int8: bool = False
    texts: str | None = None
    node_modules: str | None = None
    force: bool = False


def export_classifier(
    model: str,
    output: str | Path,
    export: Export,
    *,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Write a classifier to a folder as ONNX, and compare it with the original.

    Parameters
    ----------
    model : a student, a run, or any ``transformers`` sequence classifier
    output : the folder. It gets ``onnx/model.onnx``, the configuration, the tokenizer, ``pet.json``, the card,
        ``demo.html`` (which classifies in a browser), and ``export.json`` with the figures
    export, table, compute : what to write, how to read the texts, and how to open the model
    reporter : shows progress

    Returns
    -------
    dict
        ``texts``: number of compared texts; ``files``: for each file its ``bytes``, ``difference`` (the largest of
        logits), ``labels_kept`` (a share) and ``texts_per_second``; ``torch``: that of the original.
        Speeds count processor seconds.

    Raises
    ------
    PetError
        If a package is missing, the texts cannot be read, or the graph computes something else than the model. Then
        there is no folder.
    """
    table, compute, reporter = table or TableOptions(), compute or ComputeOptions(), reporter or Reporter("quiet")
    check_packages()
    place = check_new_folder(output, force=export.force, replaceable=is_export)
    if is_exported(expand(model)):
        raise PetError(f"{model}: is an ONNX export already; give the classifier that it was made from")
    saved = open_classifier(model, compute, independent=True)
    fields, settings = saved.classifier.text_input.fields, settings_of(expand(model))
    sample = compared_texts(model, export, settings, fields, saved.columns, table)
    reporter.info(f"writing {saved.classifier.model.config.model_type} as ONNX")
    with writing_folder(place, replace=export.force) as beside:
        write_page(beside, None if export.node_modules is None else expand(export.node_modules))
        paths = _write_graphs(saved.classifier, model, beside / FOLDER, export.int8)
        saved.classifier.save_description(beside)
        _write_card(classifier_folder(expand(model)), beside)
        figures = _compare(saved.classifier, paths, sample)
        check_equal(model, figures["files"][f"{FOLDER}/{FULL}"]["difference"])
        pair = len(saved.classifier.text_input.template.segments) > 1
        figures |= {"runtime": describe(ONNX), "int8": export.int8, "pair": pair}
        (beside / NOTE).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _write_card(original: Path, beside: Path) -> None:
    """Write the card of a classifier, if this package has written one."""
    if is_saved_classifier(original) and (original / README).is_file():
        card = card_of_export((original / README).read_text(encoding="utf-8"))
        (beside / README).write_text(card, encoding="utf-8")


def check_packages() -> None:
    """Raise a PetError with the command to install what is missing."""
    missing = [name for name in ("onnx", "onnxruntime") if not is_installed(name)]
    if missing:
        raise PetError(f"--onnx requires {' and '.join(missing)}; install it with: {install_command('onnx')}")


def is_export(folder: Path) -> bool:
    """Return True if an export wrote the folder."""
    return (folder / NOTE).is_file()


def compared_texts(
    model: str,
    export: Export,
    settings: RunSettings | None,
    fields: Sequence[str],
    columns: Mapping[str, str],
    table: TableOptions,
) -> Dataset:
    """Return the texts on which an export is compared with its model: those that it names, or those of the run.

    Parameters
    ----------
    model : for messages
    export : what to write
    settings : of the run; None if the model has none
    fields : of the model
    columns : field -> column, as in the run; those of `table` take precedence
    table : how to read the texts

    Raises
    ------
    PetError
        If neither the run nor the user names texts, or they cannot be read.
    """
    source = export.texts
    if source is None and settings is not None and settings.unlabeled is not None:
        source = settings.unlabeled
        if table.table_format == DETECT:
            table = replace(table, table_format=TableFormat(**settings.table_format))
    if source is None:
        raise PetError(f"{model}: has no unlabeled texts to compare the files on; name some with --texts FILE")
    mapping = text_columns(source, {**columns, **table.columns})
    try:
        return sample_of(next(iter(iter_table(source, fields, columns=mapping, **table.reading))))
    except PetError as error:
        if export.texts is not None:
            raise
        cure = "or name other texts to compare the files on with --texts FILE"
        raise PetError([f"{problem}; {cure}" for problem in error.problems]) from error


def _write_graphs(classifier: Classifier, name: str, folder: Path, int8: bool) -> list[Path]:
    folder.mkdir()
    paths = [folder / FULL]
    write_graph(LogitsGraph(classifier.model), paths[0], name)
    if int8:
        paths.append(quantize_file(paths[0], folder / QUANTIZED))
    if has_weights_beside(paths[0]):  # transformers.js must know which files have their weights in a second file
        split = {path.name: has_weights_beside(path) for path in paths}
        setattr(classifier.model.config, "transformers.js_config", {"use_external_data_format": split})
    return paths


def _compare(classifier: Classifier, paths: list[Path], sample: Dataset) -> dict[str, Any]:
    """Return the sizes of ONNX files, and how they compare with torch."""
    accelerator = make_accelerator("cpu", "fp32")
    expected = classifier.scores(sample, accelerator)
    few = pick_rows(sample, range(min(_TIMED, len(sample))))
    found, work = {}, {"torch": _scoring(classifier, few, accelerator)}
    for path in paths:
        name = f"{FOLDER}/{path.name}"
        other = Classifier(**{key: getattr(classifier, key) for key in _PARTS})
        use_engine(other, open_engine(ONNX, path, int8=path.name == QUANTIZED))
        scores = other.scores(sample, accelerator)
        kept = classifier.decisions(scores) == classifier.decisions(expected)
        found[name] = {
            "bytes": file_bytes(path),
            "difference": float(np.abs(scores - expected).max()),
            "labels_kept": float(kept.reshape(len(kept), -1).all(axis=1).mean()),
        }
        work[name] = _scoring(other, few, accelerator)
    speed = {name: round(len(few) / max(seconds, 1e-9), 1) for name, seconds in medians(work).items()}
    for name, figures in found.items():
        figures["texts_per_second"] = speed[name]
    return {"texts": len(sample), "torch": {"texts_per_second": speed["torch"]}, "files": found}


_PARTS = ("model", "tokenizer", "text_input", "labels", "max_length", "independent", "threshold")


def _scoring(classifier: Classifier, table: Dataset, accelerator: Accelerator) -> Callable[[], object]:
    return lambda: classifier.scores(table, accelerator)


def check_equal(model: str, difference: float, what: str = "logits") -> None:
    """Raise a PetError if a graph computes something else than its model.

    Parameters
    ----------
    model : for the message
    difference : the largest one between what both compute
    what : what that is
    """
    if difference > EQUAL:
        raise PetError(
            f"{model}: its ONNX graph computes {what} that differ from torch by {difference:.3g}, more than {EQUAL}; "
            "nothing was written. Please report this with the name of the model family"
        )


def file_bytes(path: Path) -> int:
    """Return the size of an ONNX file, with the weights in a file beside it."""
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
