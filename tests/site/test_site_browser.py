"""The built site in headless Chromium, opened from files: nothing is loaded from elsewhere, and everyone can use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Watched, broken_rules

SITE = Path(__file__).resolve().parents[2] / "site"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="there is no site (make docs)"),
]
WINDOWS = [
    {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    for width, scheme in ((360, "light"), (360, "dark"), (1200, "light"), (1200, "dark"))
]
PAGES = [
    *["index", "tutorial", "how-do-i", "concepts", "settings", "task-file", "commands", "benchmarks/README"],
    *["reference/commands/run", "reference/commands/index", "reference/python/PetClassifier", "CHANGELOG"],
]


@pytest.mark.parametrize("watched", WINDOWS, indirect=True)
def test_pages_fit_load_nothing_and_break_no_rule(watched: Watched):
    for name in PAGES:
        watched.page.goto((SITE / f"{name}.html").as_uri())
        assert watched.overflow() <= 0, name
        assert broken_rules(watched.page) == [], name
    assert watched.errors == []
    assert [request for request in watched.requests if not request.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("watched", [{"offline": True}], indirect=True)
@pytest.mark.parametrize(("words", "page"), [("contextual calibration", "concepts"), ("--max-error", "label")])
def test_search_finds_pages_and_options_without_a_network(watched: Watched, words: str, page: str):
    watched.page.goto((SITE / "index.html").as_uri())
    watched.page.locator("input[name=q]").first.fill(words)
    watched.page.keyboard.press("Enter")
    watched.page.locator("#search-results li a").first.wait_for()
    found = watched.page.locator("#search-results li a").evaluate_all("links => links.map(link => link.href)")
    assert any(f"{page}.html" in address for address in found)
    assert watched.errors == []


@pytest.mark.parametrize("watched", [{"viewport": {"width": 1200, "height": 800}}], indirect=True)
def test_formulas_are_drawn_and_commands_are_links(watched: Watched):
    watched.page.goto((SITE / "concepts.html").as_uri())
    tall = watched.page.locator("math[display=block]").first.bounding_box()
    assert tall and tall["height"] > 30
    watched.page.goto((SITE / "how-do-i.html").as_uri())
    watched.page.get_by_role("link", name="pet export").first.click()
    assert watched.page.url.endswith("reference/commands/export.html")
