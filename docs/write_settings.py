"""Write docs/settings.md from the settings themselves: python docs/write_settings.py"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from pet.recipe import RECIPES
from pet.settings import as_given, list_settings

HEAD = """\
# Settings

`--set KEY=VALUE` changes a setting of `pet run`, `pet check` and `pet distill`; it can be repeated. In Python, pass
`settings={"steps": 100}`. `pet run --list-settings` prints this list; with `--json`, one JSON
document that also has types and ranges.

`--recipe` selects a column of values to start from: `default`; `low` or `high`, with less or more training (short:
`--effort`); or `paper` or `fewglue`, the values of [arXiv 2001.07676](https://arxiv.org/abs/2001.07676) and
[2009.07118](https://arxiv.org/abs/2009.07118).

This page is written by `python docs/write_settings.py`.
"""


def render() -> str:
    """Return the page: a table for each group of settings."""
    parts = [HEAD]
    for title, settings in groupby(list_settings(RECIPES), key=lambda found: found["group"]):
        parts.append(f"\n## {title}\n\n| setting | {' | '.join(RECIPES)} | meaning |\n|{'---|' * (len(RECIPES) + 2)}\n")
        for found in settings:
            cells = [f"`{found['name']}`", *map(as_given, found["values"].values()), found["help"]]
            parts.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(render(), encoding="utf-8")
