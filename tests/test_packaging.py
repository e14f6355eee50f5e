"""What is declared is what is there: packages, dependencies, bounds, and the contents of the wheel."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pet.extras import DISTRIBUTION, TRACKERS

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {"pet.patterns": "patterns", "pet.samples": "data", "pet.models": "models"}
IMPORTED_AS = {"pyyaml": "yaml", "scikit-learn": "sklearn"}


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lower_bounds(requirements: str) -> dict[str, str]:
    found = re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\w.]+)$", requirements.strip(), flags=re.MULTILINE)
    assert len(found) == len(requirements.strip().splitlines()), "every requirement has one lower bound"
    return dict(found)


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_package_of_the_tree_is_listed(setup_cfg):
    listed = setup_cfg["options"]["packages"].split()
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "pet").rglob("__init__.py")}
    assert sorted(listed) == sorted(there | set(SHIPPED))
    holding_code = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "pet").rglob("*.py")}
    assert holding_code == there


def test_dependencies_are_those_that_are_imported(setup_cfg):
    imported: set[str] = set()
    for path in (ROOT / "pet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"pet"}
    declared = lower_bounds(setup_cfg["options"]["install_requires"])
    for extra in ("duckdb", "excel", "gliclass", "lora", "onnx", "openvino", "ray", "review", "spacy", "teachers"):
        declared |= lower_bounds(setup_cfg["options.extras_require"][extra])
    # huggingface_hub and tokenizers are part of transformers' own interface and move with it. No extra has trackers:
    # `pet doctor` names the command for each.
    assert foreign - {"huggingface_hub", "tokenizers", *TRACKERS} == {IMPORTED_AS.get(name, name) for name in declared}


def test_oldest_constraints_are_the_lower_bounds(setup_cfg):
    declared = lower_bounds(setup_cfg["options"]["install_requires"])
    oldest = pins(ROOT / "constraints-oldest.txt")
    current = pins(ROOT / "constraints.txt")
    assert oldest.pop("torch") == current["torch"]
    declared.pop("torch")
    assert oldest == declared
    assert declared.keys() <= current.keys()


def test_install_hints_name_the_distribution_and_extras_that_exist(setup_cfg):
    assert setup_cfg["metadata"]["name"] == DISTRIBUTION
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pet").rglob("*.py"))
    extras = set(re.findall(r"install_command\([\"'](\w+)[\"']\)", source))
    used = {"duckdb", "excel", "gguf", "gliclass", "lora", "onnx", "ray", "review", "spacy", "teachers"}
    assert used <= extras <= set(setup_cfg["options.extras_require"])


def test_version_has_an_entry_in_the_changelog():
    import pet

    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(pet.__version__)}\b", changelog, flags=re.MULTILINE)


def test_wheel_holds_the_shipped_files_and_finds_them(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md", "MANIFEST.in"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source)
    for name in ("pet", *SHIPPED.values()):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-index", "-w", str(tmp_path), str(source)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("pattern_exploiting_training-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")

    expected = {"pet/py.typed"}
    pages = [ROOT / "pet" / name for name in ("report/templates", "review/page", "export/page")]
    code = [*(ROOT / "pet").rglob("*.py"), *(path for folder in pages for path in folder.iterdir())]
    expected |= {path.relative_to(ROOT).as_posix() for path in code}
    for package, folder in SHIPPED.items():
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        assert files, f"{folder}/ has no files"
        inside = package.replace(".", "/")
        expected |= {f"{inside}/{path.relative_to(ROOT / folder).as_posix()}" for path in files}
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == expected
    assert any(name.endswith("licenses/LICENSE") or name.endswith("LICENSE") for name in metadata)
    (entry_points,) = [name for name in metadata if name.endswith("entry_points.txt")]
    assert "pet = pet.cli.main:main" in (tmp_path / "site" / entry_points).read_text(encoding="utf-8")

    ask = "from pet.resources import folder\nfor kind in ('patterns', 'data', 'models'): print(folder(kind))"
    answer = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    )
    site = tmp_path / "site" / "pet"
    assert answer.stdout.splitlines() == [str(site / name) for name in ("patterns", "samples", "models")]
