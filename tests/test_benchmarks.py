"""The benchmark programs start, and every name that they import from the package exists."""

from __future__ import annotations

import ast
import importlib
import json
from collections import Counter
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
# Imported or started by the programs.
LIBRARIES = {
    "common", "draws", "peers_methods", "peers_table", "reference", "review_plot", "setfit_train", "ticket_grammar",
}  # fmt: skip


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


def test_the_sample_tickets_are_those_that_the_program_writes(tmp_path: Path):
    result = CliRunner().invoke(importlib.import_module("tickets").main, [str(tmp_path)])
    assert result.exit_code == 0, result.output
    sample = BENCHMARKS.parent / "data" / "tickets"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in sample.iterdir()}
    for path in sample.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_no_ticket_occurs_twice_and_labels_are_balanced():
    rows = {path.stem: read_lines(path) for path in (BENCHMARKS.parent / "data" / "tickets").glob("*.jsonl")}
    texts = [row["text"].lower() for part in ("train", "unlabeled", "test") for row in rows[part]]
    assert len(set(texts)) == len(texts) == 740
    assert not any(set(text) & set("{}[]|@") for text in texts), "a part was not filled in"
    assert [row["id"] for row in rows["unlabeled_gold"]] == [row["id"] for row in rows["unlabeled"]]
    for part in ("train", "unlabeled_gold", "test"):
        counts = Counter(row["label"] for row in rows[part]).values()
        assert len(counts) == 6
        assert max(counts) - min(counts) <= 1


def read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
