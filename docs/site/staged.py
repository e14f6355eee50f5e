"""Copy the Markdown of the repository to where Sphinx reads it, with links that fit the places there.

``docs/X.md`` becomes ``X.md``, and ``docs/README.md`` the home page. Pages elsewhere in the repository keep their
places. Whatever a page links to becomes part of the site: other pages, and files to download.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = "docs/README.md"
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^(```.*?^```|~~~.*?^~~~)", flags=re.MULTILINE | re.DOTALL)


def place(path: str) -> str:
    """Return where a file of the repository is in the site.

    Examples
    --------
    >>> place("docs/words.md"), place("docs/README.md"), place("README.md"), place("benchmarks/README.md")
    ('words.md', 'index.md', 'index.md', 'benchmarks/README.md')
    """
    if path in (HOME, "README.md"):
        return "index.md"
    return path.removeprefix("docs/")


def local_links(text: str) -> list[str]:
    """Return the targets of the links of a page that lead to files, without anchors.

    Examples
    --------
    >>> local_links("[a](words.md#x), [b](https://example.org), [c](#here)")
    ['words.md']
    """
    targets = [target.partition("#")[0] for _, target, _ in _LINK.findall(_FENCE.sub("", text))]
    return [target for target in targets if target and "://" not in target]


def moved(text: str, path: str, exists: Callable[[str], bool] = lambda name: (ROOT / name).exists()) -> str:
    """Return a page of the repository with the links that it has in the site.

    Parameters
    ----------
    text : the page
    path : its place in the repository
    exists : whether there is a file of that name in the repository

    Raises
    ------
    ValueError
        If a link leads nowhere.

    Examples
    --------
    >>> moved("See [words](docs/words.md#score).", "CHANGELOG.md", exists=lambda name: True)
    'See [words](words.md#score).'
    >>> moved("See [figures](../benchmarks/README.md).", "docs/words.md", exists=lambda name: True)
    'See [figures](benchmarks/README.md).'
    """
    here = posixpath.dirname(place(path))

    def rewritten(match: re.Match[str]) -> str:
        before, whole, after = match.groups()
        target, hash_sign, anchor = whole.partition("#")
        if not target or "://" in target:
            return match[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if not exists(there):
            raise ValueError(f"{path}: the link to {target} leads nowhere")
        if (ROOT / there).is_dir():
            there = posixpath.join(there, "README.md")
        return f"{before}{posixpath.relpath(place(there), here or '.')}{hash_sign}{anchor}{after}"

    parts = _FENCE.split(text)  # fenced blocks are at the odd places
    return "".join(part if number % 2 else _LINK.sub(rewritten, part) for number, part in enumerate(parts))


def stage(pages: Iterable[str], folder: Path) -> list[str]:
    """Copy pages, and everything that they link to.

    Parameters
    ----------
    pages : Markdown files of the repository, by their paths
    folder : of the copies

    Returns
    -------
    list of str: the pages that were copied, by their paths in the repository
    """
    waiting, done = list(pages), []
    while waiting:
        path = posixpath.normpath(waiting.pop())
        path = posixpath.join(path, "README.md") if (ROOT / path).is_dir() else path
        target = folder / place(path)
        if path in done or path == "README.md":
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if not path.endswith(".md"):
            shutil.copyfile(ROOT / path, target)
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        target.write_text(moved(text, path), encoding="utf-8")
        done.append(path)
        waiting += [posixpath.join(posixpath.dirname(path), link) for link in local_links(text)]
    return done
