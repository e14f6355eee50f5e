"""A server with the chat API on the loopback interface that answers as a test says."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "fake"
# What a server answers: status, headers and body; or a body alone, with status 200.
Answer = tuple[int, dict[str, str], bytes] | bytes
Respond = Callable[[dict[str, Any]], Answer]


@dataclass
class FakeServer:
    """A running server.

    Attributes
    ----------
    respond : answers a request; may be replaced at any time
    pages : what it says about itself: path -> answer
    requests, headers : bodies and headers of all requests so far
    """

    respond: Respond
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    pages: dict[str, Answer] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.url}#{MODEL}"


@contextmanager
def fake_server(respond: Respond) -> Iterator[FakeServer]:
    """Start a server, and stop it at the end."""
    server = FakeServer(respond)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send(server.respond(body))

        def do_GET(self) -> None:
            self.send(server.pages.get(self.path, (404, {}, b"not found")))

        def send(self, answer: Answer) -> None:
            status, headers, content = (200, {}, answer) if isinstance(answer, bytes) else answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "content-length" not in headers:
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def completion(content: str = "", top: dict[str, float] | None = None, tokens: int | None = 10) -> bytes:
    """Return the answer of a well-behaved server: text, and log-probabilities of the first token."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": content}, "logprobs": None}
    if top is not None:
        listed = [{"token": token, "logprob": value} for token, value in top.items()]
        choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
    usage = {} if tokens is None else {"usage": {"total_tokens": tokens}}
    return json.dumps({"choices": [choice], **usage}).encode()


def listed_labels(body: dict[str, Any]) -> list[str]:
    """Return the labels in a prompt, in the order in which they are listed."""
    lines = body["messages"][0]["content"].splitlines()
    marked = [line.partition(" ")[2] for line in lines if line.startswith("- ") or line[:2].rstrip(".").isdigit()]
    return [line.partition(":")[0] for line in marked]


def knowing(words: dict[str, str], first: float = 0.0) -> Respond:
    """Return a teacher that knows which words mean which label, and prefers the label listed first by `first`."""

    def respond(body: dict[str, Any]) -> bytes:
        text = body["messages"][-1]["content"].casefold()
        labels = listed_labels(body)
        scores = [2.0 * sum(word in text for word, means in words.items() if means == label) for label in labels]
        scores[0] += first
        total = math.log(sum(map(math.exp, scores)))
        named = body["messages"][0]["content"].splitlines()[-1].startswith("Answer with the name")
        marks = labels if named else [str(place) for place in range(1, len(labels) + 1)]
        top = {mark: score - total for mark, score in zip(marks, scores, strict=True)}
        best = max(top, key=lambda mark: top[mark])
        return completion(best, {**top, "The": -9.0} if body.get("logprobs") else None)

    return respond
