"""``pet serve``: the interface, batches of concurrent requests, limits, figures, and the end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_run import pet, refused
from tiny_text import LABELS

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
from pet.ensemble.combine import SoftLabels
from pet.errors import TextError
from pet.serving.app import Limits, make_app
from pet.serving.batches import Batcher, Busy
from pet.serving.model import Served, _ensemble
from pet.student.classifier import TextInput, new_classifier
from pet.task.grammar import parse_template

LIMITS = Limits(body=2000, texts=4, seconds=0.5, batch=8, waiting=6)
Answer = tuple[int, Any]


def fake(delay: float = 0.0) -> Served:
    """Gives label `b` to texts that begin with b, as sure as the text is long."""

    def probabilities(rows: Sequence[Mapping[str, str]]) -> Any:
        time.sleep(delay)
        sure = np.array([1 - 0.4 / (1 + len(row["text"])) for row in rows])
        is_b = np.array([row["text"].startswith("b") for row in rows])
        return np.stack([np.where(is_b, 1 - sure, sure), np.where(is_b, sure, 1 - sure)], axis=1)

    return Served(("a", "b"), ("text",), probabilities)


def noting(column: str) -> tuple[Served, list[str]]:
    """An ensemble that notes a column of the texts that it gets."""
    seen: list[str] = []

    class Noting:
        task = SimpleNamespace(labels=("a", "b"), fields=("text",))

        def label(self, table: Any) -> Any:
            seen.extend(table[column])
            return SoftLabels(np.full((len(table), 2), 0.5), np.zeros((len(table), 1), dtype=int))

    return _ensemble(Noting()), seen  # type: ignore[arg-type]


def ask(app: Any, path: str = "/predict", body: Any = None, headers: Mapping[str, str] = {}) -> Answer:
    """Send one request to an application, without a network."""
    return asyncio.run(_ask(app, path, body, headers))


async def _ask(app: Any, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8")
    given = {"host": "127.0.0.1:8080", "content-length": str(len(data)), **headers}
    scope = {
        **{"type": "http", "method": "GET" if body is None else "POST", "path": path, "raw_path": path.encode()},
        **{"query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("x", 1)},
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    text = b"".join(part.get("body", b"") for part in sent[1:]).decode("utf-8")
    return sent[0]["status"], json.loads(text) if text[:1] in ("{", "[") else text


@pytest.fixture
def app() -> Any:
    return make_app(fake(), LIMITS)[0]


def test_a_text_gets_its_labels_with_the_most_probable_first(app: Any):
    status, answer = ask(app, body={"inputs": "bbb"})
    assert status == 200 and [row["label"] for row in answer] == ["b", "a"]
    assert answer[0]["score"] == pytest.approx(0.9) and sum(row["score"] for row in answer) == pytest.approx(1)


def test_a_list_of_texts_gets_a_list_of_answers(app: Any):
    status, answer = ask(app, body={"inputs": ["bx", {"text": "ax"}], "parameters": {"top_k": 1}})
    assert status == 200 and [[row["label"] for row in rows] for rows in answer] == [["b"], ["a"]]
    assert ask(app, body={"inputs": []}) == (200, [])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "request"),
        (b"\xff", "UTF-8"),
        (b'{"inputs": ["a", "\\ud800"]}', "input 2: contains half a character"),
        ({"inputs": [1]}, "a text, or an object"),
        ({"input": "a"}, "inputs"),
        ({"inputs": 3}, "input 1"),
        ({"inputs": ["a", {"body": "b"}]}, "input 2"),
        ({"inputs": "a", "parameters": {"top_k": 0}}, "top_k"),
        ({"inputs": "a", "parameters": {"temperature": 1}}, "top_k"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(app: Any, body: Any, named: str):
    status, answer = ask(app, body=body)
    assert status == 400 and named in answer["error"]


@pytest.mark.parametrize("body", [{"inputs": "a" * 3000}, {"inputs": ["a"] * 5}], ids=["bytes", "texts"])
def test_a_large_request_is_refused(app: Any, body: Any):
    assert ask(app, body=body)[0] == 413


def test_a_large_body_is_refused_whatever_its_header_says(app: Any):
    assert ask(app, body={"inputs": "a" * 3000}, headers={"content-length": "10"})[0] == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "http://127.0.0.1:8080"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_web_pages_and_other_names_are_refused(app: Any, headers: Mapping[str, str], status: int):
    assert ask(app, body={"inputs": "a"}, headers=headers)[0] == status


def test_a_token_is_required_if_there_is_one():
    app, _ = make_app(fake(), LIMITS, "secret")
    assert ask(app, body={"inputs": "a"})[0] == 401
    headers = {"authorization": "Bearer secret", "host": "server.example"}
    assert ask(app, body={"inputs": "a"}, headers=headers)[0] == 200


def test_an_answer_that_takes_too_long_is_given_up():
    app, _ = make_app(fake(delay=1.0), LIMITS)
    assert ask(app, body={"inputs": "a"})[0] == 504


def test_requests_that_wait_together_are_one_batch():
    sizes: list[int] = []
    batcher = Batcher(lambda rows: (time.sleep(0.05), np.arange(len(rows)))[1], 8, 100, sizes.append)

    async def main() -> list[Any]:
        return await asyncio.gather(*(batcher.submit([{}] * 2) for _ in range(5)))

    found = asyncio.run(main())
    batcher.close()
    assert sum(sizes) == 10 and max(sizes) == 8 and len(sizes) == 2
    assert all(len(part) == 2 for part in found)


def test_too_many_texts_are_refused_and_an_error_reaches_its_batch_only():
    def compute(rows: Any) -> Any:
        if rows[0]:
            raise ValueError("broken")
        return np.zeros(len(rows))

    batcher = Batcher(compute, 1, 2)

    async def main() -> list[Any]:
        calls = [batcher.submit([{"a": "b"}]), batcher.submit([{}]), batcher.submit([{}])]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(main())
    batcher.close()
    assert isinstance(found[0], ValueError) and found[1].tolist() == [0] and isinstance(found[2], Busy)


def test_a_text_that_cannot_be_read_fails_its_own_request_only():
    def probabilities(rows: Sequence[Mapping[str, str]]) -> Any:
        time.sleep(0.05)  # so that the others wait together
        if any(row["text"] == "long" for row in rows):
            raise TextError("too long")
        return np.full((len(rows), 2), 0.5)

    app, batcher = make_app(replace(fake(), probabilities=probabilities), LIMITS)

    async def main() -> list[Answer]:
        return await asyncio.gather(*(_ask(app, "/predict", {"inputs": text}, {}) for text in ("a", "b", "long", "c")))

    found = asyncio.run(main())
    batcher.close()
    assert [status for status, _ in found] == [200, 200, 400, 200] and found[2][1] == {"error": "too long"}


def test_accents_are_composed_as_in_files():
    served, seen = noting("text")
    served.probabilities([{"text": "caf\u0065\u0301"}, {"text": "a"}])
    assert seen == ["caf\u00e9", "a"]


def test_a_token_that_no_header_can_hold_is_refused(student: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PET_SERVE_TOKEN", "p\u00e4ss")
    assert "printable ASCII" in refused("serve", student, "--port", "0", "--device", "cpu")


def test_figures_count_requests_texts_and_batches(app: Any):
    ask(app, body={"inputs": ["a", "b"]})
    ask(app, body={"inputs": 1})
    status, text = ask(app, "/metrics")
    assert status == 200
    assert 'pet_requests_total{path="/predict",status="200"} 1' in text and 'status="400"} 1' in text
    assert "pet_texts_total 2" in text and "pet_batch_texts_count 1" in text


def test_figures_count_requests_that_fail():
    def broken(rows: Any) -> Any:
        raise ValueError("broken")

    app, _ = make_app(replace(fake(), probabilities=broken), LIMITS)
    with pytest.raises(ValueError, match="broken"):  # for the log
        ask(app, body={"inputs": "a"})
    assert 'pet_requests_total{path="/predict",status="500"} 1' in ask(app, "/metrics")[1]


def test_no_text_has_an_id_that_another_text_may_have_had():
    """External members look scores up by id, and the ids of many tables are row numbers."""
    served, seen = noting("id")
    for _ in range(2):
        served.probabilities([{"text": "a"}, {"text": "b"}])
    assert len(set(seen)) == 4 and not any(one.isdecimal() for one in seen)


def test_another_address_requires_a_token(tiny_model: Path, student: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PET_SERVE_TOKEN", raising=False)
    assert "PET_SERVE_TOKEN" in refused("serve", student, "--host", "0.0.0.0", "--port", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def student(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "student"
    folder.mkdir()
    text = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
    new_classifier(str(tiny_model), text, LABELS, 48).save(folder)
    return folder


def test_a_process_answers_open_requests_before_it_ends(student: Path):
    """The real command: requests, then SIGTERM."""
    command = [sys.executable, "-m", "pet", "serve", str(student), "--port", "0", "--device", "cpu", "-q"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        body = json.dumps({"inputs": ["a game", "a bank"], "parameters": {"top_k": 1}}).encode("utf-8")
        with urllib.request.urlopen(f"{address}/predict", body, timeout=30) as answer:
            found = json.loads(answer.read())
        assert [row[0]["label"] in LABELS for row in found] == [True, True]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_serve_prints_one_document_with_json(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pet.serving.model.open_served", lambda *_: fake())
    monkeypatch.setattr("pet.serving.serve.serve", lambda *given: given[-1]("http://127.0.0.1:1"))
    said = json.loads(pet("serve", "model", "--json").stdout)
    assert said == {"address": "http://127.0.0.1:1", "labels": ["a", "b"], "fields": ["text"]}
