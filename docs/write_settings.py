"""Write docs/settings.md from the settings themselves: python docs/write_settings.py"""

from __future__ import annotations

from pathlib import Path

from pet.recipe import RECIPES
from pet.settings import groups_of, own_settings

HEAD = """\
# Settings

`--set KEY=VALUE` changes a setting of `pet run`, `pet check` and `pet distill`; it can be repeated. In Python, pass
`settings={"steps": 100}`. `pet run --list-settings` prints this list.

`--recipe` selects a column of values to start from: `default`; `low` or `high`, with less or more training (short:
`--effort`); or `paper` or `fewglue`, the values of [arXiv 2001.07676](https://arxiv.org/abs/2001.07676) and
[2009.07118](https://arxiv.org/abs/2009.07118).

This page is written by `python docs/write_settings.py`.
"""


def shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def render() -> str:
    """Return the page: a table for each group of settings."""
    parts = [HEAD]
    for groups in zip(*(groups_of(recipe) for recipe in RECIPES.values()), strict=True):
        rows = list(zip(*(own_settings(group) for group in groups), strict=True))
        if not rows:
            continue
        parts.append(
            f"\n## {groups[0].title}\n\n| setting | {' | '.join(RECIPES)} | meaning |\n|{'---|' * (len(RECIPES) + 2)}\n"
        )
        for items in rows:
            cells = [f"`{items[0].name}`", *(shown(item.value) for item in items), items[0].declared.help]
            parts.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(render(), encoding="utf-8")
