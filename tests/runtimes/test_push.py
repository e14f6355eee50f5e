"""``pet push``: what goes to the hub, and what does not."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from small_run import pet, refused
from tiny_text import LABELS

from pet.ensemble.combine import SoftLabels, SoftLabelSets
from pet.ensemble.soft_labels import writing_soft_labels
from pet.export.hub import About, labels_upload
from pet.inference.none_of_these import FIT
from pet.report.card import CardTask, student_card
from pet.student.classifier import TextInput, new_classifier
from pet.task.grammar import parse_template


@pytest.fixture(scope="module")
def student(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push") / "student"
    folder.mkdir()
    text = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
    new_classifier(str(tiny_model), text, LABELS, 48).save(folder)
    card = student_card(CardTask(name="topics", labels=LABELS), "pet", "mini-en", metrics={})
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "test-logits.npy").write_bytes(b"secret")
    (folder / "notes.txt").write_text("secret", encoding="utf-8")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    rows = [{"id": str(i), "probabilities": {"a": 0.25, "b": 0.75}} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's interface that an upload uses; keeps what it receives."""

    seen: list[tuple[str, str]]
    files: dict[str, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.seen.append((self.path, self.headers.get("authorization", "")))
        kind = "datasets/" if b'"dataset"' in body or "/datasets/" in self.path else ""
        place = f"http://{self.headers['host']}/{kind}someone/x"
        answer: dict[str, Any] = {"url": place, "name": "someone/x"}
        if "preupload" in self.path:
            given = json.loads(body)["files"]
            answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in given]}
        elif "commit" in self.path:
            for line in body.decode("utf-8").splitlines():
                part = json.loads(line)
                if part["key"] == "file":
                    self.files[part["value"]["path"]] = base64.b64decode(part["value"]["content"])
            answer = {"commitUrl": f"{place}/commit/1", "commitOid": "1", "pullRequestUrl": None}
        self._send(200, answer)

    def do_GET(self) -> None:
        self._send(404, {"error": "not found"})

    def _send(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode("utf-8")
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    Hub.seen, Hub.files = [], {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield Hub
        server.shutdown()


def test_only_what_belongs_there_is_sent(student: Path, hub: type[Hub]):
    result = pet("push", student, "someone/x", "--license", "apache-2.0", "--language", "en")
    assert {"config.json", "model.safetensors", "tokenizer.json", "pet.json", "README.md"} <= set(hub.files)
    assert not {"test-logits.npy", "notes.txt"} & set(hub.files) and "test-logits.npy" in result.stdout
    assert hub.files["model.safetensors"] == (student / "model.safetensors").read_bytes()
    card = huggingface_hub.ModelCard(hub.files["README.md"].decode("utf-8"))
    assert card.data.license == "apache-2.0" and card.data.language == ["en"] and card.data.base_model is None
    assert all(token == "Bearer hf_test" for _, token in hub.seen)
    assert "hf_test" not in result.stdout + result.stderr


def test_a_dry_run_lists_and_sends_nothing(student: Path, hub: type[Hub]):
    result = pet("push", student, "someone/x", "--dry-run", "--json")
    listed = json.loads(result.stdout)
    assert hub.seen == [] and "model.safetensors" in listed["files"]
    assert listed["left_out"] == ["notes.txt", "test-logits.npy"] and listed["commit"] is None


def test_soft_labels_are_a_data_set_that_can_be_loaded(labels: Path, tmp_path: Path, hub: type[Hub]):
    import datasets

    pet("push", labels, "someone/x", "--labels", "--private")
    assert "/api/datasets/someone/x/commit/main" in [path for path, _ in hub.seen]
    for name, data in hub.files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
    found = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    assert found["id"] == ["0", "1", "2"]
    text = hub.files["README.md"].decode("utf-8")
    assert yaml.safe_load(text.split("---")[1])["task_categories"] == ["text-classification"]


def test_a_folder_of_soft_labels_is_one_data_set(tmp_path: Path):
    (tmp_path / "labels").mkdir()
    for shard in range(2):
        columns = {"id": [f"{shard}a", f"{shard}b"], "probabilities": [[0.25, 0.75], [1.0, 0.0]]}
        table = pa.table(columns).replace_schema_metadata({"labels": '["a", "b"]'})
        pq.write_table(table, tmp_path / "labels" / f"part-{shard}.parquet")
    listed = json.loads(pet("push", tmp_path / "labels", "someone/x", "--labels", "--dry-run", "--json").stdout)
    assert {*listed["files"]} == {"README.md", "data/train-00000.parquet", "data/train-00001.parquet"}
    card = labels_upload(str(tmp_path / "labels"), About()).files["README.md"]
    assert isinstance(card, bytes)
    assert "Labels of 4 texts" in card.decode("utf-8")
    configs = yaml.safe_load(card.decode("utf-8").split("---")[1])["configs"]
    assert configs[0]["data_files"][0]["path"] == "data/*.parquet"


def test_a_run_has_soft_labels(workplace: Path):
    run = workplace / "runs" / "reviews"
    listed = json.loads(pet("push", run, "someone/x", "--labels", "--dry-run", "--json").stdout)
    assert listed["files"]["data/train.parquet"] == (run / "g0" / "labels.parquet").stat().st_size


def test_columns_that_were_copied_from_the_texts_are_not_sent(labels: Path):
    rows = [json.loads(line) | {"customer": "Ann"} for line in labels.read_text(encoding="utf-8").splitlines()]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    message = refused("push", labels, "someone/x", "--labels", "--dry-run")
    assert "customer" in message and "--keep" in message


@pytest.mark.parametrize(
    "further",
    [
        {"text": "secret"},  # in one row only
        {"a": "secret"},  # as a label
        {"fit": "secret"},  # as what `pet label` writes
        {"p(a)": "secret"},
        {"votes": {"m": "secret"}},
        {"labels": ["secret"]},
    ],
    ids=str,
)
def test_texts_are_not_sent_whatever_their_column_is_called(labels: Path, further: dict[str, Any]):
    first, *rest = labels.read_text(encoding="utf-8").splitlines()
    last = json.dumps({"id": "9", "probabilities": {"a": 0.5, "b": 0.5}} | further)
    for lines in ([json.dumps(json.loads(first) | further), *rest], [first, *rest, last]):
        labels.write_text("\n".join(lines) + "\n", encoding="utf-8")
        assert next(iter(further)) in refused("push", labels, "someone/x", "--labels", "--dry-run")


def test_all_that_label_writes_is_sent(labels: Path):
    row = {
        "confidence": 0.75,
        "entropy": None,
        "agreement": 1,
        "fit": -2.5,
        "votes": {"m": "b", "n": None},
        "label": "b",
    }
    rows = [json.loads(line) | row for line in labels.read_text(encoding="utf-8").splitlines()]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pet("push", labels, "someone/x", "--labels", "--dry-run")
    lines = ["id,p(a),p(b),label,confidence,vote(m)", "0,0.25,0.75,b,0.75,b", "1,1,0,a,1,"]
    table = labels.with_suffix(".csv")
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pet("push", table, "someone/x", "--labels", "--dry-run")
    table.write_text("\n".join([*lines, "2,0.5,0.5,a,0.5,secret"]) + "\n", encoding="utf-8")
    assert "'vote(m)'" in refused("push", table, "someone/x", "--labels", "--dry-run")


@pytest.mark.parametrize(
    "options", [("--license", "no such"), ("--language", "English!"), ("--dataset", "../x")], ids=lambda pair: pair[0]
)
def test_metadata_that_the_hub_would_refuse_is_named(student: Path, options: tuple[str, str]):
    assert f"{options[0]} {options[1]}" in refused("push", student, "someone/x", "--dry-run", *options)


@pytest.mark.parametrize("name", ["x", "a/b/c", "../x", "a/b?c"])
def test_a_repository_has_an_owner_and_a_name(student: Path, name: str):
    assert "OWNER/NAME" in refused("push", student, name, "--dry-run")


def test_a_hub_that_refuses_is_quoted(student: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Hub, "do_POST", lambda self: self._send(403, {"error": "forbidden"}))
    assert "HF_TOKEN" in refused("push", student, "someone/x")


NAMES = [["bug", "billing"], ["a;b", "c", "a;b;c"], [" x", "y "], ['["q"]', "r"], ["1", "2.0"], ["=a", "-b"]]


@pytest.mark.filterwarnings("ignore:.*begin like a formula")
@pytest.mark.parametrize("independent", [False, True], ids=["one label", "several labels"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_file_that_label_writes_can_be_sent(tmp_path: Path, ending: str, independent: bool):
    """With members that abstain, or that give a text none of the labels or all of them."""
    rows = ["one", "two", "three"]
    for number, labels in enumerate(NAMES):
        path = tmp_path / f"{number}{ending}"
        shares = np.linspace(0.1, 1, 3 * len(labels)).reshape(3, -1)
        votes = np.stack([np.full((3, len(labels)), -1), np.eye(3, len(labels)), np.ones((3, len(labels)))], axis=1)
        soft: SoftLabels = SoftLabelSets(shares, votes.astype(np.int8))
        if not independent:
            soft = SoftLabels(shares / shares.sum(axis=1, keepdims=True), np.array([[-1, 0, 1]] * 3))
        with writing_soft_labels(path, labels, ["m", "n", "o"], [FIT], independent=independent) as append:
            append(rows, soft, {"fit": np.array([0.5, -1.0, 2.0])})
        assert labels_upload(str(path), About()).files, labels
