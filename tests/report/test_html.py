"""report.html: correct figures, sections for what a run has, and no text breaks out of its place."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hostile_report import HOSTILE, full_report, generation, metrics

from pet.evaluate import evaluate
from pet.report import charts
from pet.report.confused import MOST_IN_MATRIX
from pet.report.html import html_report
from pet.report.seeds import seeds_report
from pet.report.summary import summary
from pet.terminal import visible

VOID = ("meta", "input")
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "a", "header", "h1", "bdi", "nav", "ul", "li", "main", "p"),
    *("section", "h2", "h3", "div", "table", "caption", "span", "thead", "tr", "th", "tbody", "td", "figure", "svg"),
    *("desc", "polygon", "line", "rect", "polyline", "circle", "text", "figcaption", "strong", "details", "summary"),
    *("footer", "code", "script"),
}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if {"td", "th"} & set(self.open[-3:]):
            self.cells[-1] += data

    def row(self, name: str, start: int = 0) -> list[str]:
        """The cells from the one with a name on."""
        return self.cells[self.cells.index(name, start) :]


@pytest.fixture(scope="module")
def hostile() -> str:
    return html_report(full_report())


# ---- hostile texts


def test_texts_in_the_report_are_escaped(hostile: str):
    page = Page(hostile)
    assert page.open == [] and set(page.tags) == TAGS
    for text in HOSTILE:
        if text.strip() and "\ud800" not in text:
            assert visible(text).strip() in page.words.replace("\r", ""), text
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("style", "src")]
    links = [value or "" for name, value in page.attributes if name == "href"]
    assert links and all(re.fullmatch(r"#[a-z]+", link) for link in links)
    hostile.encode("utf-8")


def test_every_id_is_unique_and_every_reference_has_a_target(hostile: str):
    attributes = Page(hostile).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = [part for name, value in attributes if name == "aria-labelledby" for part in (value or "").split()]
    wanted += [(value or "")[1:] for name, value in attributes if name == "href"]
    assert set(wanted) <= set(ids)


def test_the_policy_names_the_style_and_the_script_and_allows_nothing_else(hostile: str):
    policy = html.unescape(re.search(r'Security-Policy" content="([^"]*)"', hostile)[1])  # type: ignore[index]
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", hostile, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert not re.search(r"<(link|img|iframe)\b|@import|url\(|https?://", hostile)


def test_texts_are_isolated_and_controls_are_shown():
    labels = ["\u05d0\u05d1", "\u202egood", "good"]
    page = html_report({"task": "t", "student": evaluate(np.eye(3), [0, 1, 2], labels)})
    assert "<bdi>\u05d0\u05d1</bdi>" in page and "\u202e" not in page and "<bdi>\\u202egood</bdi>" in page


# ---- what is shown


def test_the_report_shows_results_confusion_generations_and_config():
    result = evaluate(np.eye(2)[[0, 1, 1]], [0, 1, 0], ["good", "bad"])
    levels = {"levels": [{"labels": 1, "accuracy": 0.875, "macro_f1": 0.75}]}
    page = Page(
        html_report(
            {
                "task": "sst2",
                "config": {"training": {"lr": 1e-05, "steps": 250, "balanced": True}},
                "members": {"p1-r1": result},
                "student": [result, {**result, "accuracy": 1.0}],
                "baselines": {"zero-shot": {"members": {}, "ensemble": {**result, "accuracy": 0.25, **levels}}},
                "labels": ["good", "bad"],
                "generations": [generation(0, 2), generation(1, 2)],
            }
        )
    )
    assert page.row("result")[:5] == ["result", "accuracy", "macro F1", "MCC", "ECE"]
    assert page.row("baseline zero-shot")[1] == "0.250 [0.208, 0.939]"
    assert page.row("student")[1] == "0.833 ± 0.236 [0.208, 0.939]"
    assert page.row("result", page.cells.index("level") - 1)[5:10] == [
        "baseline zero-shot", "1", "1", "0.875", "0.750"
    ]  # fmt: skip
    assert page.row("p1-r1")[1].strip() == "0.667 [0.208, 0.939]"
    matrix = ["gold \\ predicted", "good", "bad", "good", "1", "1", "bad", "0", "1"]
    assert page.row("gold \\ predicted")[:9] == matrix
    good = page.row("good", page.cells.index("wanted"))
    assert good[:7] == ["good", "20", "7.000", "7.000", "0.500", "0.500", "0.500"]
    assert page.cells[-8:-2] == ["key", "value", "training.lr", "1e-05", "training.steps", "250"]
    assert page.cells[-2:] == ["training.balanced", "true"]  # as --set is given


def test_the_report_of_an_empty_run_is_valid():
    page = Page(html_report({}))
    assert page.open == [] and "table" not in page.tags and "section" not in page.tags


@pytest.mark.parametrize("missing", ["test", "pool", "weights", "texts", "data"])
def test_sections_without_content_are_left_out(missing: str):
    gone = {"test": ["members", "ensemble", "student", "baselines", "differences", "coverage", "confused"]}
    result = {name: value for name, value in full_report().items() if name not in gone.get(missing, [missing])}
    page = Page(html_report(result))
    anchors = {value for name, value in page.attributes if name == "href"}
    assert (
        page.open == []
        and ("#confusion" in anchors) == (missing != "test")
        and ("#texts" in anchors) == (missing != "texts")
    )
    if missing == "test":  # the estimate takes the place of the figures
        assert "6 right" in page.words and "70 to 90" in page.words


def test_many_labels_have_a_picture_instead_of_a_matrix_and_the_page_stays_small():
    labels = [f"label {number}" for number in range(MOST_IN_MATRIX + 1)]
    page = html_report({"student": metrics(labels)})
    assert "heat-title" in page and "gold \\ predicted" not in page
    draw = np.random.default_rng(0)
    labels = [f"label {number}" for number in range(1000)]
    gold = draw.integers(1000, size=5000)
    predicted = np.where(draw.random(5000) < 0.5, gold, draw.integers(1000, size=5000))
    page = html_report({"student": evaluate(np.eye(1000)[predicted], gold, labels)})
    assert len(page) < 2_000_000 and Page(page).open == []


def test_the_summary_says_what_was_done_how_good_it_is_and_what_to_do_next():
    result = full_report(["good", "bad"], [f"name {number}" for number in range(9)])
    result |= {"method": "pet", "advice": []}
    done, quality, compared, weakest, following = summary(result)
    assert "40 labeled texts" in done and "400 unlabeled texts" in done and "student" in done
    low, high = (f"{100 * end:.1f}" for end in result["student"]["accuracy_interval"])
    assert low in quality and high in quality and "40 test texts" in quality
    assert "name 0" in compared and "more than 0.99" in compared
    assert "3 of 7" in weakest and "good" in weakest
    assert "90 labeled texts" in following
    assert summary(result | {"advice": ["train longer"]})[-1] == "Next: train longer."
    without = {name: value for name, value in result.items() if name not in ("student", "ensemble", "differences")}
    assert "no test texts" in summary(without)[1] and "70 to 90" in summary(without)[1]


# ---- charts


def test_a_histogram_has_bars_in_proportion_and_names_the_largest_class():
    chart = charts.histogram("t", "x", {"a": 1, "b": 4, "c": 0})
    heights = [height for *_, height in chart.bars]
    assert heights[1] == chart.bottom - chart.top and heights[0] == pytest.approx(heights[1] / 4, abs=0.1)
    assert heights[2] == 0 and "b" in chart.description and chart.rows[1] == ("b", 4, "80.0%")


def test_reliability_puts_each_class_at_its_confidence_and_accuracy():
    calibration = [
        {"lower": 0.0, "upper": 0.5, "n": 0, "confidence": None, "accuracy": None},
        {"lower": 0.5, "upper": 1.0, "n": 10, "confidence": 0.75, "accuracy": 0.5},
    ]
    ((x, y, low, high),) = charts.reliability(calibration, 0.25).points
    chart = charts.reliability(calibration, 0.25)
    assert x == pytest.approx(chart.left + 0.75 * (chart.right - chart.left), abs=0.1)
    assert y == pytest.approx((chart.top + chart.bottom) / 2) and high < y < low
    assert chart.rows == [("0.50 to 1.00", 10, 0.75, 0.5, "0.237 to 0.763")]


def test_coverage_and_losses_are_drawn_from_left_to_right():
    curve = [
        {"n": 1, "right": 1, "share": 0.5, "confidence": 0.9},
        {"n": 2, "right": 1, "share": 1.0, "confidence": 0.6},
    ]
    chart = charts.coverage(curve)
    assert chart.lines == [f"{(chart.left + chart.right) / 2:.1f},{chart.top}.0 {chart.right}.0,86.0"]
    assert "50.0%" in chart.description and "100.0%" in chart.description
    falling = charts.losses("loss", [2.0, None, 1.0])
    assert (
        falling.lines[0].split()[-1] == f"{falling.right}.0,86.0" and "falls from 2.000 to 1.000" in falling.description
    )
    assert "goes from" in charts.losses("loss", [1.0, 2.0]).description
    assert "no finite" in charts.losses("loss", [None]).description


def test_a_curve_of_a_single_reading_is_left_out():
    drawn = html_report({"student_losses": [1.0], "weights": [{"name": "p1-r1", "losses": [2.0, 1.0]}]})
    assert "Loss of p1-r1" in drawn and "Loss of student" not in drawn


# ---- several seeds


def test_the_report_of_several_seeds_shows_means_and_links_to_each_run():
    labels = ["a", "<b>"]
    figures = [metrics(labels, seed) for seed in (0, 1)]
    run: dict[str, Any] = {"data": {"train": 8}, "differences": full_report(labels)["differences"]}
    ratios = [{"predicted": {"a": share}, "estimated": {"a": share}, "low": {"a": 0.1}, "high": {"a": 0.8}}
              for share in (0.3, 0.5)]  # fmt: skip
    runs = {"0": run | {"class_ratio": ratios[0]}, "1": run | {"class_ratio": ratios[1], "advice": ["<u>"]}}
    results = {"task": "<i>", "method": "pet", "runs": runs}
    text = seeds_report(results, {"pet student": figures})
    page = Page(text)
    assert (
        page.open == []
        and "<i>" not in text.split("</script>")[0].replace("&lt;i&gt;", "")
        and "Next, from seed 1: <u>." in page.words
    )
    assert "±" in page.row("pet student")[1] and "over 2 runs" in page.words
    assert page.row("a")[:3] == ["a", "0.400", "0.400 [0.100, 0.800]"]
    assert [value for name, value in page.attributes if name == "href"][1:] == [
        "seed-0/report.html", "seed-1/report.html"
    ]  # fmt: skip
    assert Page(seeds_report(results | {"runs": {"0": {"data": {"train": 1}}}}, {})).open == []


def test_the_report_of_several_seeds_shows_the_levels_of_a_hierarchy():
    labels = ["<a>/x", "b/y"]
    figures = [
        metrics(labels, seed) | {"levels": [{"labels": 2, "accuracy": share, "macro_f1": share / 2}]}
        for seed, share in enumerate((0.6, 0.8))
    ]
    results = {"task": "t", "method": "pet", "runs": {str(seed): {"data": {"train": 8}} for seed in (0, 1)}}
    page = Page(seeds_report(results, {"pet ensemble": [metrics(labels)] * 2, "pet student": figures}))
    assert page.open == [] and page.cells.count("level") == 1
    assert page.row("result", page.cells.index("level") - 1)[5:10] == [
        "pet student", "1", "2", "0.700 ± 0.141", "0.350 ± 0.071"
    ]  # fmt: skip
