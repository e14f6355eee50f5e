"""A finished run whose texts and labels try to break the page, and the page itself."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from small_run import pet, run_options, write_inputs
from tiny_text import LABELS

from pet.review.finished import open_finished
from pet.review.session import Review

MARKUP = "<img src=x onerror=\"fetch('http://127.0.0.1:9/')\"><script>document.title='broken'</script>"
HOSTILE = [
    {"id": MARKUP, "text": f"The cup was won. {MARKUP}"},
    {"id": "\u202eid", "text": "The bank \u202erevocer lliw\u202c fall \u2066again\u2069, \u0000 null\u200b."},
    {"id": "long", "text": "The ministers signed an agreement. " * 3000},
    {"id": "wide", "text": "x" * 5000 + "\n" + "Z\u0351\u036b\u0343\u0353" * 400},
    {"id": "rtl", "text": "הבנק הוריד את הריבית, and שוב"},
]
LABEL = "<b>Business</b>"
NAMES = [LABEL if label == "Business" else label for label in LABELS]


@pytest.fixture(scope="session")
def hostile_run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with 12 labeled texts and 21 unlabeled ones, five of them hostile, as one of its labels is."""
    place = tmp_path_factory.mktemp("review")
    inputs = write_inputs(place / "in")
    with (inputs / "pool.jsonl").open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in HOSTILE)
    task = {
        "task": "topics",
        "fields": ["text"],
        "labels": NAMES,
        "label_map": {"Business": LABEL},
        "descriptions": {LABEL: f"Firms and markets. {MARKUP}"},
        "verbalizer": {name: label.lower() for name, label in zip(NAMES, LABELS, strict=True)},
        "patterns": ["{mask}: {text}", "{text} It is {mask}."],
    }
    (inputs / "task.yaml").write_text(json.dumps(task), encoding="utf-8")
    pet(*run_options(inputs, tiny_model, parts=["train", "unlabeled"]), "-q", "-o", place / "run")
    return place / "run"


@pytest.fixture(scope="session")
def make_review(hostile_run: Path) -> Callable[[Path], Review]:
    """``make_review(file)``: a review of the hostile run with its own file of decisions."""
    run = open_finished(hostile_run)
    return lambda output: Review(run, output)


@pytest.fixture
def review(make_review: Callable[[Path], Review], tmp_path: Path) -> Review:
    """A review of the hostile run without decisions."""
    return make_review(tmp_path / "reviewed.jsonl")


@pytest.fixture
def served() -> Iterator[Callable[[Review], str]]:
    """``served(review)``: serve a review in a thread; return the address of its page."""
    uvicorn = pytest.importorskip("uvicorn")
    from pet.review.server import make_app

    with ExitStack() as stack:

        def start(review: Review) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server = uvicorn.Server(uvicorn.Config(make_app(review, "secret"), log_level="error", lifespan="off"))
            thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(setattr, server, "should_exit", True)
            while not server.started:
                time.sleep(0.01)
            return f"http://127.0.0.1:{listening.getsockname()[1]}/secret/"

        yield start
