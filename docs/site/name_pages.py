"""The reference of the public names of the package, from their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pet

FOLDER = "reference/python"
INTRODUCTION = """\
# Reference of the Python names

Everything in `pet.__all__`. The guide [In Python](../../python.md) shows how the names work together. Other names can
change in any version.

"""
FOREIGN = "set_fit_request, set_score_request"  # methods that scikit-learn adds, with docstrings of its own
_SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Examples", "Notes")


def name_pages() -> dict[str, str]:
    """Return the pages of all public names and their index: place without a suffix -> Markdown."""
    pages = {f"{FOLDER}/{name}": _page(name) for name in pet.__all__}
    rows = [f"| [`{name}`]({name}.md) | {_first_line(getattr(pet, name))} |" for name in pet.__all__]
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *pet.__all__, "```"])
    pages[f"{FOLDER}/index"] = (
        INTRODUCTION + "| name | what it is |\n|---|---|\n" + "\n".join(rows) + f"\n\n{toctree}\n"
    )
    return pages


def _page(name: str) -> str:
    lines = [f".. autofunction:: pet.{name}"]
    if isinstance(getattr(pet, name), type):
        lines = [f".. autoclass:: pet.{name}", "   :members:", f"   :exclude-members: {FOREIGN}"]
    return "\n".join([f"# {name}", "", "```{eval-rst}", *lines, "```", ""])


def _first_line(thing: object) -> str:
    first = (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")
    return first.replace("|", "&#124;").replace("``", "`")


def converted(lines: list[str]) -> list[str]:
    """Return a docstring in the style of numpy as reStructuredText.

    Entries of a section are ``name : type`` with an indented description, or ``name : description``, which may go on in
    indented lines. A section has entries of the first kind if each of them has indented lines.

    Examples
    --------
    >>> converted(["Add.", "", "Parameters", "----------", "one, two : numbers", "", "Returns", "-------", "float"])
    ['Add.', '', '**Parameters**', '', '- **one, two**: numbers', '', '**Returns**', '', 'float', '']
    """
    result: list[str] = []
    for title, body in _parts(lines):
        if not title:
            result += body
        elif title in ("Parameters", "Attributes"):
            result += [f"**{title}**", "", *_entries(body), ""]
        elif title == "Raises":
            result += [f"**{title}**", "", *_errors(body), ""]
        else:
            result += [f"**{title}**", "", *body, ""]
    return result


def _parts(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the text before the first section, and each section, without blank lines at the end."""
    title, body = "", []
    for number, line in enumerate(lines):
        after = lines[number + 1] if number + 1 < len(lines) else ""
        if line in _SECTIONS and re.fullmatch(r"-+", after):
            yield title, _trimmed(body, title)
            title, body = line, []
        elif not (re.fullmatch(r"-+", line) and number and lines[number - 1] in _SECTIONS):
            body.append(line)
    yield title, _trimmed(body, title)


def _trimmed(body: list[str], title: str) -> list[str]:
    while body and not body[-1].strip():
        body = body[:-1]
    return body if title else [*body, ""]


def _entries(body: list[str]) -> list[str]:
    """Return the entries of a section as a list."""
    entries: list[tuple[str, str, list[str]]] = []
    for line in body:
        if line.startswith(" "):
            entries[-1][2].append(line.strip())
        elif line.strip():
            name, _, rest = line.partition(" : ")
            entries.append((name.replace("*", r"\*"), rest, []))
    typed = all(more for _, _, more in entries)
    result = []
    for name, rest, more in entries:
        head = f"- **{name}** ({rest}):" if typed and rest else f"- **{name}**: {rest}"
        result.append(" ".join([head.rstrip(), *more]))
    return result


def _errors(body: list[str]) -> list[str]:
    """Return the kinds of errors, each with its description, as a list."""
    errors: list[list[str]] = []
    for line in filter(str.strip, body):
        if line.startswith(" "):
            errors[-1].append(line.strip())
        else:
            errors.append([f"- {line}:"])
    return [" ".join(parts) for parts in errors]
