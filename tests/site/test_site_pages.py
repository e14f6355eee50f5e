"""The pages of the documentation site: every command, option, public name and guide is there, with links that fit."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from types import ModuleType

import accessible
import click
import command_pages
import name_pages
import navigation
import pytest
import staged

import pet

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = dict(command_pages.every_command())
LISTED = [page for pages in navigation.SECTIONS.values() for page in pages]


def test_every_command_has_a_page_and_a_line_in_the_index():
    pages = command_pages.command_pages()
    assert {command_pages.page_of(name) for name in COMMANDS} < pages.keys()
    for name in COMMANDS:
        assert f"\n{name.replace(' ', '-')}\n" in pages["reference/commands/index"]


@pytest.mark.parametrize("name", COMMANDS)
def test_page_of_a_command_has_its_options_and_examples(name: str):
    command = COMMANDS[name]
    page = command_pages.command_page(name, command)
    described = " ".join(re.findall(r"^```\{option\} (.*)$", page, flags=re.MULTILINE))
    shown = [o for o in command.params if isinstance(o, click.Option) and not o.hidden]
    assert [o.opts for o in shown if not set(o.opts) & set(re.findall(r"--?[\w-]+", described))] == []
    examples = re.findall(r"^ +(pet .*)$", command.epilog or "", flags=re.MULTILINE)
    assert [line for line in examples if line not in page] == []


def test_every_public_name_has_a_page():
    pages = name_pages.name_pages()
    assert pages.keys() == {f"{name_pages.FOLDER}/{name}" for name in [*pet.__all__, "index"]}
    assert all(f".. auto{kind}:: pet.{name}\n" in pages[f"{name_pages.FOLDER}/{name}"] for name, kind in kinds())


def kinds() -> list[tuple[str, str]]:
    return [(name, "class" if isinstance(getattr(pet, name), type) else "function") for name in pet.__all__]


def test_every_guide_is_in_the_sidebar_once_and_on_the_home_page():
    guides = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} - {staged.HOME}
    assert sorted(page for page in LISTED if page.startswith("docs/")) == sorted(guides)
    linked = set(staged.local_links((ROOT / staged.HOME).read_text(encoding="utf-8")))
    assert guides <= {f"docs/{target}" for target in linked}


def test_pages_are_copied_with_all_that_they_link_to(tmp_path: Path):
    copied = staged.stage([staged.HOME], tmp_path)
    assert {"docs/tutorial.md", "benchmarks/README.md", "benchmarks/results/peers.md", "CONTRIBUTING.md"} <= set(copied)
    for path in tmp_path.rglob("*.md"):
        for target in staged.local_links(path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(tmp_path)}: {target}"


def test_links_are_moved_but_not_those_in_code_or_to_the_web():
    text = "[a](../data/README.md#x) [b](words.md) [c](https://d.org/e.md) [d](#here)\n\n```text\n[a](../data)\n```\n"
    moved = staged.moved(text, "docs/review.md")
    assert moved == text.replace("(../data/README.md#x)", "(data/README.md#x)")
    assert staged.moved("[a](docs/README.md)", "CHANGELOG.md") == "[a](index.md)"
    assert staged.moved("[a](../docs/words.md)", "data/README.md") == "[a](../words.md)"


def test_a_link_that_leads_nowhere_is_refused_with_the_page():
    with pytest.raises(ValueError, match=r"docs/words\.md.*gone\.md"):
        staged.moved("[a](gone.md)", "docs/words.md")


def test_sections_of_a_docstring_become_lists():
    text = ["Do.", "", "Parameters", "----------", "a : int", "    One.", "**b : str", "    Two", "    lines.", ""]
    text += ["Raises", "------", "PetError", "    If it is", "    wrong."]
    assert name_pages.converted(text) == [
        *["Do.", "", "**Parameters**", "", "- **a** (int): One.", r"- **\*\*b** (str): Two lines.", ""],
        *["**Raises**", "", "- PetError: If it is wrong.", ""],
    ]


def test_entries_without_a_type_keep_their_text():
    text = ["Parameters", "----------", "a : the first", "b, c : the others,", "    which go on"]
    assert name_pages.converted(text)[-3:-1] == ["- **a**: the first", "- **b, c**: the others, which go on"]


@pytest.mark.parametrize("module", [accessible, command_pages, name_pages, staged])
def test_examples_of_the_programs_run(module: ModuleType):
    assert doctest.testmod(module).failed == 0


# Tables of the guides that copy figures: a page, how its rows begin, and the file that a program wrote.
COPIED = [
    ("bad-results.md", r"\| `(?:prior|calibration)=.*\d\d\.\d", "calibration.md"),
    ("commands.md", r"\| (?:embeddings|energy|mass|highest).*\d\d\.\d", "none_of_these.md"),
    ("tuning.md", r"\| `(?:full|lora|bitfit|prompt|p-tuning|prefix)` \| \d", "tuning.md"),
    ("ipet.md", r"\| (?:AG News|SST-2|Yelp) \| \d+ ", "ipet.md"),
    ("ipet.md", r"\| (?:AG News|SST-2|Yelp|MNLI) \| \d+\.", "ipet_matrix.md"),
]


@pytest.mark.parametrize(("page", "rows", "result"), COPIED)
def test_figures_of_a_guide_are_in_the_results_of_the_benchmarks(page: str, rows: str, result: str):
    written = set(re.findall(r"\d+\.\d+", (ROOT / "benchmarks" / "results" / result).read_text(encoding="utf-8")))
    lines = re.findall(rf"^{rows}.*$", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert lines, "the table is gone"
    assert [figure for line in lines for figure in re.findall(r"\d+\.\d+", line) if figure not in written] == []
