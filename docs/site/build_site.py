"""Build the documentation as a site: python docs/site/build_site.py

Needs the extra `docs` and no network. Every warning of Sphinx ends the build: dead links, pages without a place in the
sidebar, references that nothing resolves. So does anything that a page would load from elsewhere.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from accessible import make_accessible
from command_pages import command_pages
from name_pages import name_pages
from navigation import SECTIONS
from staged import HOME, ROOT, place, stage

from pet.extras import install_command

SITE = ROOT / "site"
_LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>", flags=re.I)
_FROM_CSS = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^;)]*", flags=re.I)


def write_pages(folder: Path) -> None:
    """Write all pages to an empty folder."""
    listed = [page for pages in SECTIONS.values() for page in pages if page.endswith(".md")]
    results = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "benchmarks/results").glob("*.md"))]
    stage([HOME, *listed, *results], folder)
    for name, text in {**command_pages(), **name_pages(), "benchmarks/results/index": _results(results)}.items():
        target = folder / f"{name}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    home = folder / place(HOME)
    home.write_text(home.read_text(encoding="utf-8") + sidebar(), encoding="utf-8")


def _results(pages: list[str]) -> str:
    names = [page.rpartition("/")[2] for page in pages]
    return "\n".join(
        [
            "# Results of the benchmarks\n",
            "Tables that the [programs](../README.md) wrote. All figures of this site are from here.\n",
            "```{toctree}",
            *names,
            "```\n",
        ]
    )


def sidebar() -> str:
    """Return the lists of pages that Sphinx makes the sidebar of."""
    parts = []
    for caption, pages in SECTIONS.items():
        names = [place(page).removesuffix(".md") if page.endswith(".md") else f"{page}/index" for page in pages]
        parts.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```"]))
    return "\n" + "\n\n".join(parts) + "\n"


def loaded_from_elsewhere(folder: Path) -> list[str]:
    """Return what pages and style sheets would load from another site."""
    found = []
    for path in sorted([*folder.rglob("*.html"), *folder.rglob("*.css")]):
        pattern = _LOADED if path.suffix == ".html" else _FROM_CSS
        found += [f"{path.relative_to(folder)}: {match}" for match in pattern.findall(path.read_text(encoding="utf-8"))]
    return found


def build(site: Path = SITE, work: Path = ROOT / "build" / "site") -> int:
    """Build the site; returns the exit status."""
    try:
        from sphinx.cmd.build import build_main
    except ImportError:
        print(f"error: the site needs Sphinx; {install_command('docs')}", file=sys.stderr)
        return 2
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(site, ignore_errors=True)
    try:
        write_pages(work / "pages")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    here = str(Path(__file__).resolve().parent)
    options = ["-b", "html", "-W", "--keep-going", "-q", "-c", here, "-d", str(work / "doctrees")]
    status = build_main([*options, str(work / "pages"), str(site)])
    shutil.rmtree(site / "_sources", ignore_errors=True)
    make_accessible(site)
    problems = loaded_from_elsewhere(site) if status == 0 else []
    for problem in problems:
        print(f"error: {problem}: the site must load nothing from elsewhere", file=sys.stderr)
    return status or bool(problems)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=SITE, help="folder of the site")
    status = build(parser.parse_args().output)
    if status == 0:
        print("the site is in", SITE.name)
    sys.exit(status)
