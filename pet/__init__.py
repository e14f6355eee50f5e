"""Pattern-Exploiting Training: few-shot text classification by filling a blank.

The names below are the Python API; each is imported when it is first used, so that ``import pet`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pet.library_defaults import bound_caches, bound_spinning

__version__ = "0.1.0"

__all__ = [
    "ComputeOptions",
    "DistillOptions",
    "PetClassifier",
    "PetError",
    "RunResult",
    "RunSettings",
    "TableFormat",
    "TableOptions",
    "Task",
    "distill_file",
    "evaluate_file",
    "label_file",
    "make_recipe",
    "merge_scores",
    "predict_file",
    "read_soft_labels",
    "read_table",
    "run_task",
    "sample_shots",
]

bound_spinning()
bound_caches()

if TYPE_CHECKING:
    from pet.data.read import read_table
    from pet.data.sample import sample_shots
    from pet.data.table_format import TableFormat
    from pet.data.table_options import TableOptions
    from pet.ensemble.combine import merge_scores
    from pet.ensemble.soft_label_files import read_soft_labels
    from pet.errors import PetError
    from pet.estimator.classifier import PetClassifier
    from pet.inference.distill_file import DistillOptions, distill_file
    from pet.inference.evaluate_file import evaluate_file
    from pet.inference.label_file import label_file
    from pet.inference.options import ComputeOptions
    from pet.inference.predict_file import predict_file
    from pet.recipe import make_recipe
    from pet.review.result import RunResult
    from pet.run.pipeline import run as run_task
    from pet.run.settings import RunSettings
    from pet.task.task import Task

# Name -> module, and the name in it. No name may be that of a module of the package, such as `pet.run`:
# importing the module would put it in the place of the function.
_HOME = {
    "ComputeOptions": ("pet.inference.options", "ComputeOptions"),
    "DistillOptions": ("pet.inference.distill_file", "DistillOptions"),
    "PetClassifier": ("pet.estimator.classifier", "PetClassifier"),
    "PetError": ("pet.errors", "PetError"),
    "RunResult": ("pet.review.result", "RunResult"),
    "RunSettings": ("pet.run.settings", "RunSettings"),
    "TableFormat": ("pet.data.table_format", "TableFormat"),
    "TableOptions": ("pet.data.table_options", "TableOptions"),
    "Task": ("pet.task.task", "Task"),
    "distill_file": ("pet.inference.distill_file", "distill_file"),
    "evaluate_file": ("pet.inference.evaluate_file", "evaluate_file"),
    "label_file": ("pet.inference.label_file", "label_file"),
    "make_recipe": ("pet.recipe", "make_recipe"),
    "merge_scores": ("pet.ensemble.combine", "merge_scores"),
    "predict_file": ("pet.inference.predict_file", "predict_file"),
    "read_soft_labels": ("pet.ensemble.soft_label_files", "read_soft_labels"),
    "read_table": ("pet.data.read", "read_table"),
    "run_task": ("pet.run.pipeline", "run"),
    "sample_shots": ("pet.data.sample", "sample_shots"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pet' has no attribute {name!r}")
    module, attribute = _HOME[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
