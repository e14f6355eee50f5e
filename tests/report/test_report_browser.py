"""The report in headless Chromium: nothing is requested, nothing overflows, and it can be used by everyone."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Watched, broken_rules
from hostile_report import HOSTILE, full_report

from pet.report.html import html_report

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
    return [few, many]


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
