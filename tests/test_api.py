"""The public names of the package."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import pet

ROOT = Path(__file__).resolve().parents[1]
every_name = pytest.mark.parametrize("name", pet.__all__)


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=240
    ).stdout


def test_import_is_light_nothing_leaks_and_nothing_needs_accelerate() -> None:
    code = """
import sys, pet
heavy = {"torch", "transformers", "datasets", "sklearn", "numpy", "pyarrow", "accelerate", "yaml"}
print(sorted(heavy & set(sys.modules)))
sys.modules["accelerate"] = None
import pet.estimator.fitted, pet.adapt.adapt, pet.prompts.session
from pet.run.pipeline import run
print([name for name in dir(pet) if not name.startswith("__")] == pet.__all__)
print([name for name in pet.__all__ if isinstance(getattr(pet, name), type(sys))])
"""
    assert fresh(code).split("\n")[:3] == ["[]", "True", "[]"]


def test_names_are_sorted_and_unique() -> None:
    assert pet.__all__ == sorted(set(pet.__all__))


@every_name
def test_name_is_no_module_of_the_package(name: str) -> None:
    # `import pet.run` would replace a function of that name by the module.
    assert importlib.util.find_spec(f"pet.{name}") is None
    assert not isinstance(getattr(pet, name), types.ModuleType)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'pet' has no attribute 'nothing'"):
        pet.nothing  # noqa: B018
    with pytest.raises(ImportError):
        exec("from pet import nothing")


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "pet" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    declared = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == pet._HOME
    assert sorted(declared) == pet.__all__


def documented(thing: Any) -> set[str]:
    """Names that the docstring has an entry for: ``name : what`` or ``one, two : what``."""
    entries = re.findall(r"^ *\**((?:\w+, )*\w+) : ", inspect.getdoc(thing) or "", flags=re.MULTILINE)
    return {name for entry in entries for name in entry.split(", ")}


def parameters(thing: Any) -> set[str]:
    if isinstance(thing, type) and issubclass(thing, Exception):
        thing = thing.__init__
    return set(inspect.signature(thing).parameters) - {"self"}


@every_name
def test_name_is_documented(name: str) -> None:
    thing = getattr(pet, name)
    text = inspect.getdoc(thing) or ""
    assert len(text.split("\n")[0]) > 20, "a first line that says what it is"
    assert parameters(thing) <= documented(thing)
    if inspect.isfunction(thing):
        assert "Returns\n-------" in text
        assert "Raises\n------" in text or name == "merge_scores"  # which raises nothing


@pytest.mark.parametrize("method", ["fit", "predict", "predict_proba", "score", "save"])
def test_methods_of_the_estimator_are_documented(method: str) -> None:
    function = getattr(pet.PetClassifier, method)
    assert parameters(function) <= documented(function)


@pytest.mark.parametrize("method", ["load", "from_dict"])
def test_methods_of_a_task_are_documented(method: str) -> None:
    assert "Raises\n------" in (inspect.getdoc(getattr(pet.Task, method)) or "")


def test_attributes_of_the_estimator_are_documented() -> None:
    source = inspect.getsource(pet.PetClassifier)
    assigned = set(re.findall(r"self\.([a-z]\w*_)(?:: [^=]+)? = ", source))
    assert {"classes_", "task_", "student_", "soft_labels_"} <= assigned
    assert assigned <= documented(pet.PetClassifier)
