"""Open pages in headless Chromium through playwright, and watch what they do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE = {"width": 360, "height": 740}


AXE = "PET_AXE"  # environment variable: path of axe.min.js of the npm package axe-core


def missing() -> str | None:
    """Return why there is no browser to test with, or None."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed (pip install playwright)"
    if program() is None:
        return f"no Chromium on the path ({', '.join(PROGRAMS)})"
    return None


def program() -> str | None:
    """Return the path of the system's Chromium."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def launched() -> Iterator[Any]:
    """Start headless Chromium; yields a playwright ``Browser``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, and what it did that a test may want to know.

    Attributes
    ----------
    page : a playwright ``Page``
    errors : error messages and warnings in its console, and exceptions of its scripts
    requests : addresses of everything that it asked for
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def watch(page: Any) -> Watched:
    """Start to watch a page. Call it before the page is opened."""
    watched = Watched(page)
    page.on("console", lambda message: message.type in ("error", "warning") and watched.errors.append(message.text))
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))
    return watched


def broken_rules(page: Any) -> list[tuple[str, str]]:
    """Check a page with axe-core (accessibility); returns each broken rule with the first element that breaks it."""
    import pytest

    script = os.environ.get(AXE)
    if not script:
        pytest.skip(f"{AXE} is not set to axe.min.js (npm pack axe-core)")
    page.evaluate(Path(script).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {preload: false})")  # preloading asks again for the style sheets
    return [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]
