"""The report in headless Chromium: nothing is requested, nothing overflows, and it can be used by everyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Watched, broken_rules
from hostile_report import HOSTILE, full_report, metrics

from pet.report.comparison import comparison_page
from pet.report.html import html_report
from pet.report.seeds import seeds_report
from pet.statistics import paired

pytestmark = pytest.mark.browser
WINDOWS = [
    {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    for width, scheme in ((360, "light"), (768, "dark"), (1280, "light"), (360, "dark"))
]
MANY = [f"{name[:20]}-{number}" for number in range(6) for name in HOSTILE[:13]]  # 78 labels


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("reports")
    few, many = folder / "few.html", folder / "many.html"
    few.write_text(html_report(full_report(fields=2)), encoding="utf-8", errors="replace")
    many.write_text(html_report(full_report(MANY)), encoding="utf-8", errors="replace")
    seeds, compared = folder / "seeds.html", folder / "compared.html"
    figures = {f"{name} student": [metrics(HOSTILE, 0), metrics(HOSTILE, 1)] for name in HOSTILE[:3]}
    runs = {str(seed): {"data": {"train": 8}, "advice": HOSTILE[:1]} for seed in (0, 1)}
    seeds.write_text(seeds_report({"task": HOSTILE[0], "runs": runs}, figures), encoding="utf-8", errors="replace")
    compared.write_text(comparison_page(comparison()), encoding="utf-8", errors="replace")
    return [few, many, seeds, compared]


def comparison() -> dict[str, Any]:
    """Two runs with long names, as `pet compare` describes them."""
    runs = [{"run": "/very/long/path/" * 6 + str(seed), "figures": metrics(HOSTILE, seed)} for seed in (0, 1)]
    gold = np.arange(40) % 4
    runs[1] |= {"difference": paired(gold, gold, 0 * gold, 4), "fixed": 3, "broken": 1}
    text = {"fields": {"a": HOSTILE[0] * 9, "b": "x" * 999}, "gold": HOSTILE[1]}
    changed = [text | {"labels": HOSTILE[:2], "confidences": [0.5, 0.9]}]
    return {"runs": runs, "n": 40, "labels": HOSTILE, "changed": changed}


@pytest.mark.parametrize("watched", WINDOWS, indirect=True)
def test_the_report_fits_into_the_window_and_requests_nothing(watched: Watched, pages: list[Path]) -> None:
    for path in pages:
        watched.requests.clear()
        watched.page.goto(path.as_uri())
        watched.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert watched.overflow() == 0
        assert watched.requests == [path.as_uri()] and watched.errors == []


@pytest.mark.slow
@pytest.mark.parametrize("watched", WINDOWS[:2], indirect=True)
def test_the_report_passes_the_rules_of_axe(watched: Watched, pages: list[Path]) -> None:
    for path in pages:
        watched.page.goto(path.as_uri())
        watched.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert broken_rules(watched.page) == []


def test_tables_are_sorted_and_texts_are_filtered_with_the_keyboard(watched: Watched, pages: list[Path]) -> None:
    watched.page.goto(pages[0].as_uri())
    head = watched.page.get_by_role("button", name="F1", exact=True)
    head.focus()
    for order in ("ascending", "descending"):
        watched.page.keyboard.press("Enter")
        assert watched.page.locator("th[aria-sort]").get_attribute("aria-sort") == order
    cells = watched.page.locator("table:has(th[aria-sort]) tbody td:nth-child(4)").all_inner_texts()
    assert cells == sorted(cells, reverse=True) and len(set(cells)) > 1
    field = watched.page.get_by_label("Show only texts that contain").first
    field.fill(" 3 and ")
    assert watched.page.get_by_text("1 of 6 texts").count() == 1
    assert watched.page.locator("ul[data-filter]").first.locator("li:visible").count() == 1


def test_without_scripts_everything_is_there(chromium, pages: list[Path]) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages[0].as_uri())
    assert page.locator("main h2").count() == 9 and page.locator("ul.cards > li").count() == 19
    assert page.locator("button, input").count() == 0
    context.close()
