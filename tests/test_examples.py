"""The examples in the docstrings of the package run, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import pet

ROOT = Path(__file__).resolve().parents[1]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


WITH_EXAMPLES = [
    module_name(path) for path in sorted((ROOT / "pet").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_a_module_run(name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch):
    """They may use the files of `small_run.write_workplace`, and the model that comes with the package."""
    monkeypatch.chdir(workplace)
    module = importlib.import_module(name)
    tests = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    assert tests and runner.failures == 0, "".join(said)


@pytest.mark.parametrize("name", pet.__all__)
def test_a_public_name_has_an_example_that_runs(name: str):
    text = inspect.getdoc(getattr(pet, name)) or ""
    assert ">>> " in text
    assert "+SKIP" not in text
