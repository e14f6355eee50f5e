"""The package is layered: the layers are read from the imports, function-level and type-checking ones included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 60
MAX_PARAMETERS = 8

# From the ground up. A module may import from its own layer and the layers below it. CONTRIBUTING.md has the same list.
LAYERS = [
    "library_defaults, lean_imports",
    "errors, seeds, terminal, process, shortage, confusion, posterior",
    "compat, resources, network, spelling, suggest, extras, numerics, progress, settings, statistics, statistics_sets",
    "store",
    "task",
    "data",
    "cloze",
    "training",
    "backbones",
    "runtimes",
    "tuning",
    "ensemble",
    "teachers",
    "groups, ordered, levels",
    "evaluate, evaluate_sets, ipet",
    "recipe",
    "student",
    "embeddings",
    "members",
    "report",
    "words",
    "scaffold, adapt, prompts",
    "preflight",
    "run.settings",
    "run.inputs",
    "run.context",
    "run.held_out, run.pattern_labels, run.vectors, run.stages, run.class_ratio, run.halves, run.calibration, "
    "run.weights, run.merging, run.init_prompt",
    "run.execution",
    "run",
    "inference",
    "review, export",
    "serving",
    "estimator",
    "__init__",
    "cli",
    "__main__",
]
LEVEL = {
    f"pet.{room}".removesuffix(".__init__"): level for level, layer in enumerate(LAYERS) for room in layer.split(", ")
}

# scikit-learn reads the settings of an estimator from its constructor.
MANY_PARAMETERS = {"pet.estimator.classifier.PetClassifier.__init__"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TREES = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "pet").rglob("*.py"))
}


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules of the package that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in TREES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "modules are imported by their full names"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            # The names of a package's __init__.py come from that file, its modules from theirs.
            if not all(name in TREES for name in submodules) and node.module in TREES:
                yield str(node.module)
            yield from (name for name in submodules if name in TREES)


IMPORTS = {name: set(imported(tree)) - {name} for name, tree in TREES.items()}


def level(module: str) -> int:
    """The layer of a module: that of the longest of its prefixes in `LAYERS`."""
    if module == "pet":
        return LEVEL["pet"]
    parts = module.split(".")
    names = (".".join(parts[:stop]) for stop in range(len(parts), 1, -1))
    return next((LEVEL[name] for name in names if name in LEVEL), -1)


def circles() -> list[list[str]]:
    """Sets of modules that reach each other."""
    reach = {name: set(targets) for name, targets in IMPORTS.items()}
    for middle in reach:
        for targets in reach.values():
            if middle in targets:
                targets |= reach[middle]
    rings = {frozenset(other for other in reach[name] if name in reach[other]) for name in reach}
    return sorted(sorted(ring) for ring in rings if ring)


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function and method by its full name."""

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            inner = f"{name}.{child.name}" if hasattr(child, "name") else name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield inner, child
            yield from walk(child, inner)

    for module, tree in TREES.items():
        yield from walk(tree, module)


def count_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def count_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_every_module_has_a_layer():
    assert [name for name in TREES if level(name) < 0] == []


def test_every_layer_has_modules():
    assert [room for room in LEVEL if not any(f"{name}.".startswith(f"{room}.") for name in TREES)] == []


def test_no_module_imports_an_upper_layer():
    pairs = {(name, other) for name, others in IMPORTS.items() for other in others}
    upward = {f"{name} -> {other}" for name, other in pairs if level(other) > level(name)}
    assert upward == set()


def test_no_modules_import_each_other_in_a_circle():
    assert circles() == []


def test_functions_are_short():
    long = {name for name, node in functions() if count_lines(node) > MAX_LINES}
    assert long == set()


def test_parameter_lists_are_short():
    outside = [(name, node) for name, node in functions() if not name.startswith("pet.cli.")]
    many = {name for name, node in outside if count_parameters(node) > MAX_PARAMETERS}
    assert many == MANY_PARAMETERS


def test_contributing_shows_the_layers():
    path = ROOT / "CONTRIBUTING.md"
    if not path.is_file():
        pytest.skip("there is no CONTRIBUTING.md in this tree")
    assert "\n".join(f"    {layer}" for layer in LAYERS) in path.read_text(encoding="utf-8")


# These read messages between our own processes, rows of tables (which have their own limits), or what a library wrote.
READS_JSON = {
    "pet.data.label_sets",
    "pet.adapt.vocabulary",
    "pet.backbones.folder",
    "pet.data.documents",
    "pet.data.fast",
    "pet.data.open_source",
    "pet.data.source",
    "pet.ensemble.soft_label_parquet",
    "pet.inference.label_shards",
    "pet.inference.shard_worker",
    "pet.run.execution.payload",
    "pet.run.execution.worker",
    "pet.run.execution.workers",
    "pet.store.json_reader",
    "pet.task.yaml_text",
    "pet.training.checkpoint",
    "pet.training.group",
}


def calls(names: set[str]) -> set[str]:
    """Modules that call a function of one of these dotted names, or a method if the name begins with a dot."""
    found = set()
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                if {f"{owner}.{node.func.attr}", f".{node.func.attr}"} & names:
                    found.add(module)
    return found


def test_files_from_outside_are_read_within_limits():
    """Files of a run, a member or a prompt library are read by `pet.store.json_reader` and `yaml_reader`."""
    assert calls({"json.load", "json.loads", "yaml.load", "yaml.safe_load", "yaml.compose"}) <= READS_JSON
    assert calls({"pickle.load", "pickle.loads", "torch.load", "yaml.unsafe_load", "yaml.full_load"}) == set()


def test_paths_are_expanded_by_a_function_that_cannot_fail():
    assert calls({".expanduser"}) == {"pet.resources"}
