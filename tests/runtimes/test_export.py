"""``pet export``: ONNX files that compute the same, in the layout that other programs read."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import Watched
from small_run import pet, refused, write_inputs
from tiny_text import LABELS

from pet.backbones.load import load_config, load_tokenizer
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.export import classifier as exporting
from pet.export.classifier import Export
from pet.export.page import PAGE, write_page
from pet.inference.classifier import accelerator_for, open_classifier
from pet.inference.options import ComputeOptions
from pet.report.card import CardTask, student_card
from pet.run.settings import RunSettings
from pet.student.classifier import TextInput, new_classifier
from pet.student.exported import longest_input
from pet.task.grammar import parse_template

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
NODE_MODULES = os.environ.get("PET_NODE_MODULES")  # where npm installed @huggingface/transformers
needs_npm = pytest.mark.skipif(not NODE_MODULES, reason="PET_NODE_MODULES names no folder with transformers.js")


@pytest.fixture(scope="module")
def place(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier in ``student``, texts in ``in/pool.jsonl``, and its export in ``onnx``."""
    place = tmp_path_factory.mktemp("export")
    write_inputs(place / "in")
    (place / "student").mkdir()
    text = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
    new_classifier(str(tiny_model), text, LABELS, 48).save(place / "student")
    options = ("--node-modules", NODE_MODULES) if NODE_MODULES else ()
    files = ("--onnx", "--int8", "--texts", place / "in" / "pool.jsonl", *options)
    pet("export", place / "student", "-o", place / "onnx", *files, "-q")
    return place


def predicted(place: Path, model: Path, name: str, *options: str) -> list[dict[str, Any]]:
    output = place / f"{name}.jsonl"
    files = ("--input", place / "in" / "pool.jsonl", "-o", output, "--device", "cpu", "--force")
    pet("predict", model, *files, *options)
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def probabilities(rows: list[dict[str, Any]]) -> Any:
    return np.array([list(row["probabilities"].values()) for row in rows])


def test_the_folder_has_the_layout_of_optimum_and_figures(place: Path):
    there = {path.relative_to(place / "onnx").as_posix() for path in (place / "onnx").rglob("*") if path.is_file()}
    wanted = {"config.json", "tokenizer.json", "tokenizer_config.json", "pet.json", "demo.html"}
    assert wanted | {"onnx/model.onnx", "onnx/model_quantized.onnx"} <= there
    figures = json.loads((place / "onnx" / "export.json").read_text(encoding="utf-8"))
    full, int8 = figures["files"]["onnx/model.onnx"], figures["files"]["onnx/model_quantized.onnx"]
    assert figures["texts"] == 16 and full["labels_kept"] == 1 and full["difference"] < 1e-4
    assert int8["bytes"] < full["bytes"] and int8["difference"] > full["difference"]


@pytest.mark.parametrize("runtime", ["auto", "onnx", "openvino"])
def test_predict_reads_the_folder(place: Path, runtime: str):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    expected = probabilities(predicted(place, place / "student", "torch"))
    found = probabilities(predicted(place, place / "onnx", runtime, "--runtime", runtime))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_card_names_what_opens_the_files(tmp_path: Path, place: Path):
    student = shutil.copytree(place / "student", tmp_path / "student")
    card = student_card(CardTask("topics", LABELS), "distill", "bert")
    (student / "README.md").write_text(card, encoding="utf-8")
    pet("export", student, "-o", tmp_path / "onnx", "--onnx", "--texts", place / "in" / "pool.jsonl", "-q")
    found = (tmp_path / "onnx" / "README.md").read_text(encoding="utf-8")
    assert "from transformers import" in card and "from transformers import" not in found
    assert "pet predict" in found and "\nlibrary_name: transformers.js\n" in found
    assert "onnx/model.onnx" in pet("push", tmp_path / "onnx", "someone/x", "--dry-run").stdout


def test_files_are_computed_on_the_processor(place: Path, monkeypatch: pytest.MonkeyPatch):
    files = ("--input", place / "in" / "pool.jsonl", "-o", place / "no.jsonl")
    assert "--device cuda" in refused("predict", place / "onnx", *files, "--device", "cuda")
    monkeypatch.setattr("pet.training.device._best_device", lambda: torch.device("meta"))  # as on a machine with a GPU
    saved = open_classifier(str(place / "onnx"), ComputeOptions(precision="auto"))
    assert accelerator_for(saved.classifier, ComputeOptions()).device.type == "cpu"


def test_predict_reads_the_int8_file_on_request(place: Path):
    full = probabilities(predicted(place, place / "onnx", "full", "--runtime", "onnx"))
    int8 = probabilities(predicted(place, place / "onnx", "int8", "--quantize"))
    assert 0 < np.abs(full - int8).max() < 0.1


def test_the_folder_has_no_weights_for_torch(place: Path):
    files = ("--input", place / "in" / "pool.jsonl", "-o", place / "no.jsonl")
    assert "--runtime onnx" in refused("predict", place / "onnx", *files, "--runtime", "torch")


def test_texts_are_required_without_a_run(place: Path, tmp_path: Path):
    assert "--texts" in refused("export", place / "student", "-o", tmp_path / "out", "--onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("family", "most"), [("roberta", 96), ("bert", 96), ("xlnet", 1 << 20)])
def test_texts_are_cut_to_the_positions_of_the_model(family_model: Any, family: str, most: int):
    """RoBERTa-like models do not use their first positions."""
    name = str(family_model(family))
    config, tokenizer = load_config(name), load_tokenizer(name)
    tokenizer.model_max_length = 1 << 40  # as that of a tokenizer without a limit
    assert longest_input(name, config, tokenizer) == most
    tokenizer.model_max_length = 20
    assert longest_input(name, config, tokenizer) == 20


def test_the_texts_of_a_run_are_read_as_the_run_has_read_them(tmp_path: Path):
    (tmp_path / "pool.csv").write_bytes("text;more\ngröße, or not;1\n".encode("cp437"))
    form = {"encoding": "cp437", "delimiter": ";"}
    there = str(tmp_path / "pool.csv")
    parts = {"train": None, "unlabeled": there, "test": None}
    settings = RunSettings(task={}, model="m", method="zero-shot", table_format=form, **parts)
    found = exporting.compared_texts("run", Export(), settings, ["text"], {}, TableOptions())
    assert list(found["text"]) == ["größe, or not"]
    gone = replace(settings, unlabeled=str(tmp_path / "gone.csv"))
    with pytest.raises(PetError, match=r"gone\.csv.*--texts"):
        exporting.compared_texts("run", Export(), gone, ["text"], {}, TableOptions())


def test_a_graph_that_computes_something_else_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exporting, "EQUAL", -1.0)
    files = ("--onnx", "--texts", place / "in" / "pool.jsonl")
    assert "differ" in refused("export", place / "student", "-o", tmp_path / "out", *files, "-q")
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_not_replaced(place: Path):
    files = ("--onnx", "--texts", place / "in" / "pool.jsonl", "--force")
    assert "not empty" in refused("export", place / "student", "-o", place / "in", *files)


def test_scripts_must_be_the_known_ones(tmp_path: Path):
    (tmp_path / "n" / "@huggingface" / "transformers" / "dist").mkdir(parents=True)
    (tmp_path / "n" / "@huggingface" / "transformers" / "dist" / "transformers.min.js").write_text("evil()")
    with pytest.raises(PetError, match=r"transformers\.min\.js.*npm install"):
        write_page(tmp_path, tmp_path / "n")


def test_the_page_allows_its_import_map_and_no_other_inline_script():
    page = (PAGE / "demo.html").read_text(encoding="utf-8")
    inline = page.split('<script type="importmap">')[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(inline.encode("utf-8")).digest()).decode("ascii")
    assert f"'sha256-{digest}'" in page and "unsafe-inline" not in page and "https:" not in page


@pytest.fixture
def served(place: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(place / "onnx"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@needs_npm
@pytest.mark.browser
def test_the_page_classifies_in_a_browser_from_local_files(place: Path, served: str, watched: Watched):
    watched.page.goto(f"{served}demo.html")
    watched.page.wait_for_selector("#classify:enabled", timeout=60_000)
    text = json.loads((place / "in" / "pool.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    watched.page.fill("#text", text)
    watched.page.click("#classify")
    watched.page.wait_for_selector("body[data-done]", timeout=30_000)
    best = predicted(place, place / "onnx", "web", "--quantize")[0]
    cells = watched.page.locator("#scores td").all_inner_texts()
    assert cells[0] == best["label"] and abs(float(cells[1].removesuffix("%")) / 100 - best["confidence"]) < 0.02
    assert all(address.startswith(served) or address.startswith("data:") for address in watched.requests)


@needs_npm
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_transformers_js_classifies_in_node(place: Path, tmp_path: Path):
    text = json.loads((place / "in" / "pool.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    script = tmp_path / "classify.mjs"
    module = Path(str(NODE_MODULES)).resolve() / "@huggingface" / "transformers" / "dist" / "transformers.node.mjs"
    script.write_text(
        f"import {{pipeline, env}} from {json.dumps(module.as_uri())};\n"
        f"env.allowRemoteModels = false; env.localModelPath = {json.dumps(str(place) + '/')};\n"
        'const classify = await pipeline("text-classification", "onnx", {dtype: "fp32"});\n'
        f"console.log(JSON.stringify(await classify({json.dumps(text)}, {{top_k: null}})));\n",
        encoding="utf-8",
    )
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = {row["label"]: row["score"] for row in json.loads(done.stdout)}
    best = predicted(place, place / "student", "torch")[0]
    assert abs(found[best["label"]] - best["confidence"]) < 1e-3
