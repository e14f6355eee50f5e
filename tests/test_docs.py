"""README and docs/: links lead somewhere, commands and settings exist, and the Python runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pet import resources
from pet.cli.main import main
from pet.recipe import RECIPES, Recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks/README.md",
]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
with_python = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Every ``pet ...`` command line of a page, in blocks or in the running text, as words."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^ {4}(pet .*)$", text, flags=re.MULTILINE) + re.findall(r"`(pet [^`]+)`", text):
        yield shlex.split(re.split(r"\s# | \| ", line)[0])[1:]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_one_page():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 100] == []


@every_page
def test_links_within_the_repository_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            place = (page.parent / path).resolve() if path else page
            assert place.exists(), target
            assert not anchor or anchor in anchors(place), target


@every_page
def test_files_of_the_repository_that_a_page_names_exist(page: Path):
    named = re.findall(
        r"`((?:pet|tests|docs|benchmarks|patterns|data|models)/[\w./-]*)`", page.read_text(encoding="utf-8")
    )
    assert [
        name for name in named if not (ROOT / name.replace("NAME", "agnews")).exists() and "cli/NAME" not in name
    ] == []


@every_page
def test_commands_and_their_options_exist(page: Path):
    for words in commands(page):
        command: click.Command = main
        context = click.Context(main)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            if name == "COMMAND":
                break
            found = command.get_command(context, name)
            assert found is not None, name
            command = found
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
        for word in words:
            if re.match(r"--?[a-zA-Z]", word):
                assert word in known, f"{command.name} {word}"


@every_page
def test_settings_that_a_page_names_exist(page: Path):
    named = set(re.findall(r"--set ([a-z_]+)=", page.read_text(encoding="utf-8")))
    assert named <= Recipe().to_dict().keys()


def test_every_benchmark_is_listed():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    programs = {path.name for path in (ROOT / "benchmarks").glob("*.py")} - {"common.py"}
    assert [name for name in sorted(programs) if f"`{name}`" not in text] == []


def test_settings_page_is_up_to_date(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import write_settings

    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == write_settings.render(), "run: python docs/write_settings.py"


@pytest.mark.parametrize("page", with_python, ids=lambda page: page.name)
def test_python_of_a_page_runs(
    page: Path, workplace: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mini-en").symlink_to(tiny_model, target_is_directory=True)
    monkeypatch.setattr(resources, "folder", lambda kind: tmp_path)
    quick = {"steps": 1, "min_epochs": 0, "student_steps": 1, "max_length": 64}
    monkeypatch.setitem(RECIPES, "default", RECIPES["default"].with_settings(**quick))
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in code_blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_the_readme_starts_with_commands_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^ {4}make ([\w-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)
