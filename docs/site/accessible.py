"""What the theme leaves out for people who use a keyboard or a screen reader; axe-core found it."""

from __future__ import annotations

import re
from pathlib import Path

_SIGNATURE = re.compile(r'<dl>((?:\s*<dd><em class="sig-param">.*?</dd>)+\s*)</dl>', flags=re.DOTALL)
# Captions are headings without a level, side bars have no names, what scrolls cannot be reached by keyboard, and empty
# cells are headings.
_CHANGES = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Pages">',
    "<pre>": '<pre tabindex="0">',
    '<th class="head"><p></p></th>': '<td class="head"></td>',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
}


def _as_lines(match: re.Match[str]) -> str:
    """Write the parameters of a signature as lines instead of a list of definitions without terms."""
    return "<div>" + match[1].replace("<dd>", '<div class="sig-line">').replace("</dd>", "</div>") + "</div>"


def accessible(html: str) -> str:
    """Return a page that everyone can use.

    Examples
    --------
    >>> accessible("<pre>pet run</pre>")
    '<pre tabindex="0">pet run</pre>'
    """
    for old, new in _CHANGES.items():
        html = html.replace(old, new)
    return _SIGNATURE.sub(_as_lines, html)


def make_accessible(folder: Path) -> None:
    """Change all pages of a site."""
    for path in folder.rglob("*.html"):
        path.write_text(accessible(path.read_text(encoding="utf-8")), encoding="utf-8")
