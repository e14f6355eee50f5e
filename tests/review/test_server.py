"""The server of `pet review`: who gets in, what is answered, and what is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pet.data.reviewed import read_reviewed
from pet.review.session import Review

try:
    from starlette.testclient import TestClient

    from pet.review.server import make_app
except (ImportError, RuntimeError) as error:  # starlette, or its client's library
    pytest.skip(f"no test client: {error}", allow_module_level=True)

HOST = "127.0.0.1:8765"
ORIGIN = {"Origin": f"http://{HOST}"}


def client_of(review: Review) -> TestClient:
    return TestClient(make_app(review, "secret"), base_url=f"http://{HOST}", raise_server_exceptions=True)


@pytest.fixture
def client(review: Review) -> TestClient:
    return client_of(review)


def decide(client: TestClient, row: int, **more: Any) -> Any:
    given = {"rows": [row], "lines": [0], "verdict": "labeled", "labels": [0], "after": 0, **more}
    return client.post("/secret/api/decide", content=json.dumps(given), headers=ORIGIN)


def test_nothing_is_answered_without_the_token(client: TestClient) -> None:
    for path in ("/", "/secre/", "/secret", "/secrets/", "/sécret/", "/api/about", "//secret/", "/%73ecret%00/"):
        assert client.get(path).status_code == 404, path
    assert client.get("/secret/").status_code == 200


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1.example.com", "example.com:8765", "[::1", "", "0.0.0.0:8765"]
)
def test_names_of_other_sites_that_point_here_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/secret/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin", [None, "null", "http://example.com", "https://127.0.0.1:8765", "http://127.0.0.1:80"]
)
def test_other_pages_cannot_change_anything(client: TestClient, review: Review, origin: str | None) -> None:
    given = {"rows": [0], "lines": [0], "verdict": "unsure", "after": 0}
    headers = {} if origin is None else {"Origin": origin}
    assert client.post("/secret/api/decide", json=given, headers=headers).status_code == 403
    assert review.path.read_text() == "" if review.path.exists() else True
    if origin is not None:
        assert client.get("/secret/api/texts", headers=headers).status_code == 403


def test_every_answer_forbids_everything_that_the_page_does_not_need(client: TestClient) -> None:
    for path in ("/secret/", "/secret/review.js", "/secret/api/about", "/secret/none", "/none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        assert "unsafe" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_page_has_no_inline_script_style_or_foreign_address(client: TestClient) -> None:
    page = client.get("/secret/").text
    assert "<script>" not in page
    assert "<style" not in page
    assert " style=" not in page
    assert "http" not in page
    assert not any(f" on{event}=" in page for event in ("click", "load", "error", "change", "input"))
    for name in ("review.js", "view.js", "dom.js", "api.js", "similar.js"):
        script = client.get(f"/secret/{name}").text
        assert not any(
            word in script for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
        )


def test_texts_are_data_with_visible_control_characters(client: TestClient, review: Review) -> None:
    found = client.get("/secret/api/texts", params={"count": 50}).json()
    assert found["total"] == len(found["items"]) == 21
    assert found["next"] is None
    shown = json.dumps(found, ensure_ascii=False)
    assert "\\\\u202erevocer" in shown
    assert not any(character in shown for character in "\u202e\u2066\u200b\x00")
    texts = {item["row"]: item["fields"][0] for item in found["items"]}
    assert texts[review.rows["long"]][2] == 105_000
    assert len(texts[review.rows["long"]][1]) == 100_000
    assert all(sum(item["probabilities"]) == pytest.approx(1, abs=1e-3) for item in found["items"])


def test_the_order_is_that_of_suggest_and_pages_go_on(client: TestClient, hostile_run: Path) -> None:
    from small_run import pet

    listed = json.loads(pet("suggest", hostile_run, "-n", "20", "-q", "--json").stdout)["suggestions"]
    rows, start = [], 0
    while start is not None:
        page = client.get("/secret/api/texts", params={"start": start, "count": 6}).json()
        rows += page["items"]
        start = page["next"]
    assert [item["probabilities"][item["proposed"][0]] for item in rows[:20]] == pytest.approx(
        [one["probabilities"][one["proposed"]] for one in listed], abs=1e-3
    )
    assert len({item["row"] for item in rows}) == 21


def test_every_pattern_is_filled_with_the_word_of_its_vote(client: TestClient) -> None:
    (item,) = client.get("/secret/api/texts", params={"count": 1}).json()["items"]
    first, second, *_ = item["members"]
    assert first["title"] == "pattern 1"
    words = ["world", "sports", "business", "technology"]
    assert first["votes"][0]["filled"][:2] == [["word", words[first["votes"][0]["label"]]], ["pattern", ":"]]
    assert [kind for kind, _ in second["votes"][0]["filled"]] == ["field", "pattern", "word", "pattern"]
    assert len(item["nearest"]) == 3


def test_filters(client: TestClient, review: Review) -> None:
    def rows(**given: Any) -> set[int]:
        found = client.get("/secret/api/texts", params={"count": 50, **given}).json()["items"]
        return {item["row"] for item in found}

    assert rows(search="<SCRIPT>") == {review.rows[next(name for name in review.ids if "<script>" in name)]}
    assert rows(search="%") == set()
    by_label = [rows(label=label) for label in range(4)]
    assert sorted(row for part in by_label for row in part) == list(range(21))
    decide(client, 3)
    decide(client, 4, verdict="unsure", labels=[])
    assert rows() == set(range(21)) - {3, 4}
    assert rows(state="all") == set(range(21))
    assert rows(state="decided") == {3, 4}
    assert rows(state="unsure") == {4}


def test_texts_that_leave_a_view_hide_no_others(client: TestClient) -> None:
    for row in range(6):
        decide(client, row, verdict="unsure", labels=[])
    wanted = {"state": "unsure", "count": 3}
    first = client.get("/secret/api/texts", params=wanted).json()
    assert [item["row"] for item in first["items"]] == [5, 4, 3]
    for item in first["items"]:
        decide(client, item["row"], lines=[item["line"]])
    second = client.get("/secret/api/texts", params={**wanted, "start": first["next"]}).json()
    assert [item["row"] for item in second["items"]] == [2, 1, 0]
    assert second["next"] is None


def test_decisions_are_saved_with_the_texts_as_they_are(client: TestClient, review: Review) -> None:
    row = review.rows["\u202eid"]
    reply = decide(client, row, labels=[2], note="a\ud800b").json()
    assert reply["counts"] == {"labeled": 1, "left": 20}
    assert reply["agreement"]["n"] == 1
    assert reply["changed"] == [
        {"row": row, "line": 1, "decision": {"verdict": "labeled", "labels": [2], "note": "a?b", "note_shown": "a?b"}}
    ]
    (decision,) = read_reviewed(review.path, review.task).values()
    assert decision.label == "<b>Business</b>"
    assert "\u202erevocer" in decision.fields["text"]
    undone = client.post("/secret/api/undo", json={"rows": [row], "lines": [1], "last": 0, "after": 1}, headers=ORIGIN)
    assert undone.json()["rows"] == [row]
    assert read_reviewed(review.path, review.task) == {}


@pytest.mark.parametrize(
    "given",
    [
        {"rows": [21]},
        {"rows": [-1]},
        {"rows": [0, 0], "lines": [0, 0]},
        {"rows": [0], "lines": []},
        {"rows": []},
        {"verdict": "undone", "labels": []},
        {"verdict": "maybe"},
        {"verdict": "labeled", "labels": []},
        {"verdict": "unsure", "labels": [1]},
        {"labels": [4]},
        {"labels": [0, 1]},
        {"labels": ["World"]},
        {"labels": 1},
        {"note": 3},
        {"after": None},
    ],
)
def test_requests_that_make_no_sense_are_refused_and_save_nothing(
    client: TestClient, review: Review, given: dict[str, Any]
) -> None:
    reply = decide(client, 0, **given)
    assert reply.status_code in (400, 500)
    assert reply.json()["error"]
    assert not review.path.exists()


def test_unreadable_requests_are_refused(client: TestClient) -> None:
    for body in (b"", b"[", b"[]", b"\xff", b"{}", b'{"a": NaN}'):
        assert client.post("/secret/api/decide", content=body, headers=ORIGIN).status_code == 400
    assert client.post("/secret/api/decide", content=b"x" * 2_000_000, headers=ORIGIN).status_code == 413
    assert client.get("/secret/api/decide").status_code == 405
    for given in ({"start": "-1"}, {"start": "x"}, {"count": 51}, {"state": "x"}, {"label": 4}, {"start": "١"}):
        assert client.get("/secret/api/texts", params=given).status_code == 400
    for name in ("../session.py", "..%2fsession.py", "guard.py", "page/review.js"):
        assert client.get(f"/secret/{name}").status_code == 404


def test_two_writers_hear_of_each_other(make_review: Callable[[Path], Review], tmp_path: Path) -> None:
    path = tmp_path / "reviewed.jsonl"
    first, second = (client_of(make_review(path)) for _ in range(2))
    decide(first, 5, labels=[1])
    (changed,) = second.get("/secret/api/state", params={"after": 0}).json()["changed"]
    assert changed["row"] == 5
    reply = decide(second, 5, labels=[0], lines=[0]).json()
    assert reply["replaced"] == [{"row": 5, "verdict": "labeled", "labels": ["Sports"]}]
    conflict = first.post("/secret/api/undo", json={"rows": [5], "lines": [1], "last": 0, "after": 1}, headers=ORIGIN)
    assert conflict.status_code == 409
    assert reply["made"] == [2]
    nothing = first.post("/secret/api/undo", json={"rows": [], "lines": [], "last": 0, "after": 2}, headers=ORIGIN)
    assert nothing.json()["rows"] == []


def test_a_full_disk_is_told_and_nothing_half_is_saved(
    client: TestClient, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    decide(client, 0)
    monkeypatch.setattr("os.fsync", full)
    reply = decide(client, 1)
    assert reply.status_code == 500
    assert "disk is full" in reply.json()["error"]
    monkeypatch.undo()
    assert len(read_reviewed(review.path, review.task)) == 1


def test_similar_texts_have_the_same_proposed_label_and_are_accepted_at_once(
    client: TestClient, review: Review
) -> None:
    row = max(range(21), key=lambda row: len(client.get("/secret/api/similar", params={"row": row}).json()["rows"]))
    found = client.get("/secret/api/similar", params={"row": row, "count": 5}).json()
    assert 1 <= len(found["rows"]) <= 5
    assert row not in found["rows"]
    labels = review.run.pool.label
    assert {int(labels[other]) for other in found["rows"]} == {int(labels[row])}
    assert {item["row"] for item in found["sample"]} <= set(found["rows"])
    assert found["rows"][-1] in {item["row"] for item in found["sample"]}
    rows = [row, *found["rows"]]
    decide(client, row, rows=rows, lines=[0] * len(rows))
    assert len(read_reviewed(review.path, review.task)) == len(rows)
    undone = client.post("/secret/api/undo", json={"rows": [], "lines": [], "last": 26, "after": 0}, headers=ORIGIN)
    assert sorted(undone.json()["rows"]) == sorted(rows)
