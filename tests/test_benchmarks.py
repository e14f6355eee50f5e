"""The benchmark programs start, and every name that they import from the package exists."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
LIBRARIES = {"common", "reference"}  # imported by the programs


@pytest.mark.parametrize("name", NAMES)
def test_names_imported_from_the_package_exist(name: str):
    """Includes imports inside functions, which run only in a real measurement."""
    tree = ast.parse((BENCHMARKS / f"{name}.py").read_text(encoding="utf-8"))
    imported = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.partition(".")[0] == "pet"
        for alias in node.names
    ]
    missing = [f"{module}.{thing}" for module, thing in imported if not _exists(module, thing)]
    assert not missing


def _exists(module: str, thing: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), thing) or bool(importlib.import_module(f"{module}.{thing}"))
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LIBRARIES])
def test_a_program_explains_itself(name: str):
    main = importlib.import_module(name).main
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LIBRARIES])
def test_every_option_of_a_program_has_help(name: str):
    options = [p for p in importlib.import_module(name).main.params if isinstance(p, click.Option) and not p.hidden]
    assert not [option.opts for option in options if not option.help]
