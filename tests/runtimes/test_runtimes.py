"""ONNX Runtime and OpenVINO give the results of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from tiny_text import LABELS, news_rows

from pet.errors import PetError
from pet.extras import is_installed
from pet.runtimes.build import build_engine, fastest
from pet.runtimes.engines import open_engine
from pet.runtimes.graph import FeaturesGraph, LogitsGraph
from pet.runtimes.int8 import quantize_graph
from pet.student.classifier import Classifier, TextInput, new_classifier
from pet.student.exported import classifier_engine, use_engine
from pet.task.grammar import parse_template

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
NO_OPENVINO = pytest.mark.skipif(not is_installed("openvino"), reason="openvino is not installed")
RUNTIMES = ["onnx", pytest.param("openvino", marks=NO_OPENVINO)]


def made(model: Path) -> Classifier:
    text = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
    return new_classifier(str(model), text, LABELS, 48)


@pytest.fixture(scope="module")
def table() -> Dataset:
    rows = [{"id": row["id"], "text": row["text"]} for row in news_rows()]
    return Dataset.from_list([*rows, {"id": "empty", "text": ""}, {"id": "long", "text": "long words " * 60}])


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_an_engine_gives_the_logits_of_torch(
    family_model: Any, table: Dataset, accelerator: Any, family: str, runtime: str
):
    classifier = made(family_model(family))
    expected = classifier.scores(table, accelerator)
    use_engine(classifier, classifier_engine(classifier, family, runtime, "fp32"))
    np.testing.assert_allclose(classifier.scores(table, accelerator), expected, atol=2e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_int8_stays_close_to_the_logits_of_torch(tiny_model: Path, table: Dataset, accelerator: Any, runtime: str):
    classifier = made(tiny_model)
    expected = classifier.scores(table, accelerator)
    engine = classifier_engine(classifier, "tiny", runtime, "fp32", table)
    assert engine.precision == "int8"
    use_engine(classifier, engine)
    found = classifier.scores(table, accelerator)
    assert 0 < np.abs(found - expected).max() < 0.2 * np.ptp(expected)


def test_static_scales_move_outliers_into_the_weights(tiny_model: Path):
    """One channel that is a hundred times larger than the others costs the others nothing."""
    graph = LogitsGraph(made(tiny_model).model)
    encoder: Any = graph.encoder
    linear = encoder.layers[0].attention.self.query
    embeddings = encoder.base.embeddings.LayerNorm
    with torch.no_grad():
        embeddings.weight[3] *= 100
        linear.weight[:, 3] /= 100
    ids = torch.arange(5, 25).view(2, 10)
    batch = (ids, torch.ones_like(ids), torch.zeros_like(ids))[: len(graph.inputs)]
    hidden = encoder.base.embeddings(input_ids=ids)
    exact = linear(hidden)
    quantize_graph(graph, [batch], "tiny")
    rounded = encoder.layers[0].attention.self.query(hidden)
    error = (rounded - exact).abs().max() / exact.abs().max()
    plain = hidden.abs().max() / 127 * linear.weight.abs().sum(1).max()
    assert error < 0.05 and plain / exact.abs().max() > error


def test_a_graph_of_hidden_states_reads_one_position_a_row(tiny_model: Path):
    from pet.backbones.masked import MaskedLM
    from pet.backbones.trained import load_masked_lm

    lm = MaskedLM(load_masked_lm(str(tiny_model)))
    ids = torch.arange(5, 35).view(3, 10)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    positions = torch.tensor([4, 5, 0])
    engine = build_engine(FeaturesGraph(lm.model), "onnx", "fp32", "tiny")
    values = {name: tensor.numpy() for name, tensor in batch.items()} | {"positions": positions.numpy()}
    with torch.inference_mode():
        expected = lm.eval()._hidden(batch, torch.arange(3), positions)
    np.testing.assert_allclose(engine(values), expected.numpy(), atol=2e-5)


def test_a_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(PetError, match=r"model\.onnx.*export"):
        open_engine("onnx", path)


def test_onnx_runtime_has_no_bf16(tmp_path: Path):
    with pytest.raises(PetError, match=r"bf16.*fp32"):
        open_engine("onnx", tmp_path / "model.onnx", "bf16")


def test_a_runtime_that_is_missing_comes_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pet.runtimes.engines.is_installed", lambda module: False)
    with pytest.raises(PetError, match=r"openvino.*pip install.*\[openvino\]"):
        open_engine("openvino", tmp_path / "model.onnx")


def test_the_median_decides_and_the_first_call_does_not_count():
    times = iter([0, 99, 0, 1, *([0, 1, 0, 5] * 3)])
    assert fastest({"quick": list, "slow": list}, lambda: next(times)) == "quick"


def test_models_whose_graphs_fit_one_length_are_refused():
    config = transformers.FunnelConfig(vocab_size=50, block_sizes=[1], d_model=8, n_head=2, d_head=4, d_inner=16)
    with pytest.raises(PetError, match="funnel run by torch only"):
        LogitsGraph(transformers.FunnelForSequenceClassification(config))
