"""The page of `pet review` in a real browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import PHONE, Watched, broken_rules, watch

from pet.data.reviewed import read_reviewed
from pet.review.session import Review

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
Serve = Callable[[Review], str]


def opened(watched: Watched, address: str) -> Any:
    watched.page.goto(address)
    watched.page.wait_for_selector("#labels button")
    return watched.page


def progress(page: Any, text: str) -> None:
    """Wait until the line about the progress begins like this."""
    page.wait_for_function("text => document.getElementById('progress').textContent.startsWith(text)", arg=text)


def notice(page: Any, text: str) -> None:
    """Wait until the notice contains this text."""
    page.wait_for_function("text => document.getElementById('notice').textContent.includes(text)", arg=text)


def shown(page: Any) -> str:
    return str(page.inner_text("#text"))


def nothing_odd(watched: Watched, address: str) -> None:
    """Assert that the page had no errors, and asked only its own server."""
    assert watched.errors == []
    assert [url for url in watched.requests if not url.startswith(address)] == []


@pytest.fixture
def start(hostile_run: Path) -> Iterator[Callable[[Path], tuple[subprocess.Popen[str], str]]]:
    """``start(file)``: start the command as a process; return it and the address that it prints."""
    processes = []

    def command(output: Path) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pet", "review", str(hostile_run), "--no-browser", "-o", str(output)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield command
    for process in processes:
        process.kill()
        process.communicate()


def test_label_by_keys_undo_kill_and_go_on(start: Any, watched: Watched, review: Review) -> None:
    process, address = start(review.path)
    assert address.startswith("http://127.0.0.1:")
    page = opened(watched, address)
    first = shown(page)
    for key in ("1", "2", "Enter", "n", "4"):  # without waiting: each acts on the text that is then shown
        page.keyboard.press(key)
    progress(page, "5 of 21 texts decided: 4 labeled, 1 none of these")
    page.keyboard.press("u")
    progress(page, "4 of 21")
    fifth = shown(page)
    found = list(read_reviewed(review.path, review.task).values())
    assert [decision.label for decision in found[:2]] == list(review.task.labels[:2])
    assert [decision.verdict for decision in found] == ["labeled", "labeled", "labeled", "none_of_these"]
    assert found[2].label == found[2].proposed
    nothing_odd(watched, address)

    process.kill()
    process.wait()
    page.keyboard.press("1")
    page.wait_for_function("() => !document.getElementById('alert').hidden")
    assert "pet review" in page.inner_text("#alert")
    assert shown(page) == fifth  # nothing is taken for saved
    with review.path.open("a") as stream:  # what a kill in the middle of a write leaves
        stream.write('{"id": "n')

    process, address = start(review.path)
    page = opened(watched, address)
    progress(page, "4 of 21")
    assert shown(page) == fifth
    page.keyboard.press("s")
    progress(page, "5 of 21")
    for left in (4, 3, 2, 1, 0):
        page.keyboard.press("u")
        progress(page, f"{left} of 21")
    assert shown(page) == first
    assert read_reviewed(review.path, review.task) == {}
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert process.stderr is not None
    assert "0 of 21" in process.stderr.read()


def test_two_tabs_do_not_lose_each_others_work(served: Serve, watched: Watched, review: Review, chromium: Any) -> None:
    address = served(review)
    other = watch(watched.page.context.new_page())
    first, second = opened(watched, address), opened(other, address)
    assert shown(first) == shown(second)
    first.keyboard.press("1")
    progress(first, "1 of 21")
    second.keyboard.press("2")  # it has not heard of the other decision yet
    second.wait_for_function("() => document.getElementById('notice').textContent.includes('World')")
    progress(first, "1 of 21 texts decided: 1 labeled")
    first.wait_for_function("() => !document.getElementById('notice').hidden")
    first.keyboard.press("u")
    first.wait_for_function("() => !document.getElementById('alert').hidden")
    second.keyboard.press("u")
    second.wait_for_function("() => document.getElementById('said').textContent.includes('Undone')")
    (decision,) = read_reviewed(review.path, review.task).values()
    assert decision.label == "World"
    lines = [json.loads(line)["label"] for line in review.path.read_text().splitlines()]
    assert lines == ["World", "Sports", None]


@pytest.mark.parametrize("heard", [False, True])
def test_undo_takes_back_nothing_that_others_have_decided(
    served: Serve, watched: Watched, review: Review, make_review: Callable[[Path], Review], heard: bool
) -> None:
    page = opened(watched, served(review))
    for count in (1, 2):
        page.keyboard.press("1")
        progress(page, f"{count} of 21")
    row = review.suggested(1)[0]
    make_review(review.path).decide([row], [1], "labeled", [1])
    if heard:
        notice(page, "Another tab or program has decided about 1 text")
    page.keyboard.press("u")
    progress(page, "1 of 21")
    page.keyboard.press("u")
    page.wait_for_function("() => document.getElementById('alert').textContent.includes('no longer holds')")
    page.keyboard.press("u")
    notice(page, "nothing to undo")
    (decision,) = read_reviewed(review.path, review.task).values()
    assert (decision.id, decision.label) == (review.ids[row], review.task.labels[1])


def at(page: Any, place: int) -> str:
    """Wait until the text at this place is shown, counted from 1; return it."""
    page.wait_for_function("n => document.getElementById('text-title').textContent.startsWith(n)", arg=f"Text {place} ")
    return shown(page)


def test_forward_shows_what_was_visited_again_and_passes_over_what_others_have_decided(
    served: Serve, watched: Watched, review: Review, make_review: Callable[[Path], Review]
) -> None:
    page = opened(watched, served(review))
    page.keyboard.press("1")
    second = at(page, 2)
    page.keyboard.press("ArrowRight")
    third = at(page, 3)
    elsewhere = review.suggested(5)[3]
    make_review(review.path).decide([elsewhere], [0], "labeled", [1])
    notice(page, "Another tab or program has decided about 1 text")
    page.keyboard.press("ArrowRight")
    fifth = at(page, 5)
    page.keyboard.press("ArrowLeft")
    assert at(page, 3) == third
    page.keyboard.press("u")
    first = at(page, 1)
    for place, text in ((2, second), (3, third), (5, fifth)):
        page.keyboard.press("ArrowRight")
        assert at(page, place) == text
    assert len({first, second, third, fifth}) == 4
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("2")  # decides the third one, which is shown again: this tab has visited it
    assert at(page, 5) == fifth
    page.keyboard.press("ArrowLeft")
    assert at(page, 3) == third
    page.keyboard.press("ArrowRight")
    assert at(page, 5) == fifth


def test_forward_stays_on_a_text_if_the_next_ones_cannot_be_loaded_and_ends_after_the_last_one(
    served: Serve, watched: Watched, review: Review
) -> None:
    page = opened(watched, served(review))
    page.route("**/api/texts?*", lambda route: route.abort())
    for place in range(2, 11):  # the texts that were loaded with the page
        page.keyboard.press("ArrowRight")
        tenth = at(page, place)
    page.wait_for_function("() => !document.getElementById('alert').hidden")  # it loads the next ones ahead
    page.keyboard.press("m")  # runs after what is loading, and hides the alert
    page.wait_for_function("() => document.getElementById('alert').hidden")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => !document.getElementById('alert').hidden")
    assert at(page, 10) == tenth
    page.unroute("**/api/texts?*")
    seen = [tenth]
    for place in range(11, 22):
        page.keyboard.press("ArrowRight")
        seen.append(at(page, place))
    assert len(set(seen)) == 12
    for _ in range(2):  # the second one changes nothing
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => document.getElementById('text-title').textContent === 'No more texts'")
    page.keyboard.press("ArrowLeft")
    assert at(page, 21) == seen[-1]


@pytest.mark.parametrize(
    "watched", [{"viewport": PHONE}, {"viewport": PHONE, "is_mobile": True, "has_touch": True}], indirect=True
)
def test_nothing_is_wider_than_a_phone_and_nothing_in_a_text_runs(
    served: Serve, watched: Watched, review: Review
) -> None:
    address = served(review)
    page = opened(watched, address)
    for count in range(21):
        assert watched.overflow() == 0, shown(page)[:80]
        page.click("#next")
        page.wait_for_function(
            "n => document.getElementById('text-title').textContent.includes(n)",
            arg=f"Text {count + 2} " if count < 20 else "No more texts",
        )
    assert page.title() == "topics: pet review"
    page.click("text=Back")
    for opener, dialog, closer in (
        ("#help", "#help-dialog", "#help-dialog button"),
        ("#similar", "#similar-dialog", "#similar-close"),
    ):
        page.click(opener)
        page.wait_for_selector(f"{dialog}[open]")
        assert watched.overflow() == 0
        page.click(closer)
    nothing_odd(watched, address)


def test_hostile_texts_are_shown_as_they_are(served: Serve, watched: Watched, review: Review) -> None:
    address = served(review)
    page = opened(watched, address)
    for search, expected in (("img src", "<script>"), ("revocer", "\\u202erevocer"), ("שוב", "הבנק")):
        page.fill("#search", search)
        page.press("#search", "Tab")
        page.wait_for_function("text => document.getElementById('text').textContent.includes(text)", arg=expected)
        assert page.locator("#text img, #text script").count() == 0
    page.fill("#search", "ministers signed an agreement. The")
    page.press("#search", "Tab")
    page.click("text=Show all 105,000 characters")
    assert len(shown(page)) > 100_000
    assert "<b>Business</b>" in page.inner_text("#labels")
    nothing_odd(watched, address)


def test_a_note_and_a_click_and_the_filter(served: Serve, watched: Watched, review: Review) -> None:
    page = opened(watched, served(review))
    page.keyboard.press("m")
    page.keyboard.type("1 is not a label here")
    page.keyboard.press("Enter")
    page.click("#labels button >> nth=1")
    progress(page, "1 of 21")
    assert page.evaluate("document.activeElement.id") == "text-title"
    page.select_option("#state", "decided")
    page.wait_for_function("() => document.getElementById('decision').textContent.includes('1 is not a label here')")
    assert page.locator("#labels button[aria-pressed=true]").count() == 1
    (decision,) = read_reviewed(review.path, review.task).values()
    assert (decision.label, decision.note) == (review.task.labels[1], "1 is not a label here")


@pytest.mark.parametrize("note", ["می\u200cخواهم", "two\nlines"])
def test_a_note_stays_the_same_when_a_text_is_decided_again(
    served: Serve, watched: Watched, review: Review, note: str
) -> None:
    review.decide([review.suggested(1)[0]], [0], "labeled", [0], note)
    page = opened(watched, served(review))
    page.select_option("#state", "decided")
    page.wait_for_selector("#decision:not([hidden])")
    assert page.inner_text("#decision").endswith(f"({note})".replace("\u200c", "\\u200c").replace("\n", " "))
    page.keyboard.press("2")
    page.wait_for_function("label => document.getElementById('said').textContent.includes(label)", arg="Sports")
    (decision,) = read_reviewed(review.path, review.task).values()
    assert (decision.label, decision.note) == (review.task.labels[1], note)


def test_a_label_and_a_text_are_found_while_typing(served: Serve, watched: Watched, review: Review) -> None:
    page = opened(watched, served(review))
    assert not page.is_visible("#find-label")  # all labels have digits
    page.keyboard.press("/")
    page.keyboard.type(review.task.labels[-1].upper())
    page.keyboard.press("Enter")
    progress(page, "1 of 21")
    (decision,) = read_reviewed(review.path, review.task).values()
    assert decision.label == review.task.labels[-1]
    page.keyboard.press("f")
    page.keyboard.type("no text has these words")
    page.wait_for_function("() => document.getElementById('text-title').textContent.includes('No more texts')")


def test_similar_texts_are_accepted_after_a_look_at_a_sample(served: Serve, watched: Watched, review: Review) -> None:
    page = opened(watched, served(review))
    best = max(range(21), key=lambda row: len(review.similar(row, 10)["rows"]))
    page.fill("#search", review.texts.values([best])[0]["text"][:150])
    page.press("#search", "Tab")
    page.wait_for_function("() => document.getElementById('text-title').textContent.includes('of 1')")
    page.keyboard.press("b")
    page.wait_for_selector("#sample li")
    assert page.is_disabled("#accept")
    for box in page.locator("#sample input").all():
        box.check()
    page.click("#accept")
    page.wait_for_function("() => document.getElementById('notice').textContent.includes('labeled')")
    found = read_reviewed(review.path, review.task)
    assert len(found) > 1
    assert {decision.label for decision in found.values()} == {found[review.ids[best]].proposed}
    page.keyboard.press("u")
    progress(page, "0 of 21")


def test_similar_texts_keep_the_note_and_tell_about_replaced_decisions(
    served: Serve, watched: Watched, review: Review, make_review: Callable[[Path], Review]
) -> None:
    page = opened(watched, served(review))
    best = max(range(21), key=lambda row: len(review.similar(row, 10)["rows"]))
    near = review.similar(best, 25)["rows"][0]
    page.fill("#search", review.texts.values([best])[0]["text"][:150])
    page.press("#search", "Tab")
    page.wait_for_function("() => document.getElementById('text-title').textContent.includes('of 1')")
    page.keyboard.press("m")
    page.keyboard.type("Ask Ann.")
    page.keyboard.press("Enter")
    page.keyboard.press("b")
    page.wait_for_selector("#sample li")
    make_review(review.path).decide([near], [0], "unsure", note="decided elsewhere")
    for box in page.locator("#sample input").all():
        box.check()
    page.click("#accept")
    notice(page, "labeled")
    said = page.inner_text("#notice")
    assert "Undo takes all of them back" in said and "unsure" in said
    notes = {name: decision.note for name, decision in read_reviewed(review.path, review.task).items()}
    assert notes.pop(review.ids[best]) == "Ask Ann."
    assert set(notes.values()) == {"accepted with similar texts"}


def test_a_screen_reader_finds_names_and_states(served: Serve, watched: Watched, review: Review) -> None:
    page = opened(watched, served(review))
    page.keyboard.press("1")
    progress(page, "1 of 21")
    assert page.evaluate("document.documentElement.lang") == "en"
    unnamed = """[...document.querySelectorAll('button, input, select, svg[role=img]')].filter(
        (e) => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length"""
    assert page.evaluate(unnamed) == 0
    assert page.inner_text("#said").strip()
    assert "agree" in page.get_attribute("#agreement svg", "aria-label")
    assert page.locator("main").count() == page.locator("h1").count() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "watched", [{"viewport": PHONE, "color_scheme": scheme} for scheme in ("light", "dark")], indirect=True
)
def test_the_page_passes_the_rules_of_axe(served: Serve, watched: Watched, review: Review) -> None:
    page = opened(watched, served(review))
    page.keyboard.press("1")
    progress(page, "1 of 21")
    assert broken_rules(page) == []
    for opener, dialog in (("#help", "#help-dialog"), ("#similar", "#similar-dialog")):
        page.click(opener)
        page.wait_for_selector(f"{dialog}[open]")
        assert broken_rules(page) == []
        page.keyboard.press("Escape")
