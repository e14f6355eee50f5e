"""``--quantize``: int8 linear layers, and the commands that use them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from families import FAMILIES
from small_run import TASK, pet, refused, run_options, write_inputs
from tiny_text import LABELS, news_rows
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pet.backbones import int8
from pet.backbones.int8 import Int8Linear, check_int8, quantize_linears, quantize_rows
from pet.backbones.kinds import open_model
from pet.backbones.masked import MaskedLM
from pet.backbones.trained import load_masked_lm
from pet.cloze.encode import token_keys
from pet.cloze.pvp import bind_pattern
from pet.cloze.tokens import tokenize_fields
from pet.compat import has_int8_instructions
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.inference.evaluate_file import evaluate_file
from pet.inference.label_file import label_file
from pet.inference.options import ComputeOptions
from pet.members.scoring import score_rows
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer

pytestmark = pytest.mark.usefixtures("one_thread")
INT8 = ComputeOptions(device="cpu", quantize=True)


def test_every_row_has_its_own_scale():
    values = torch.tensor([[0.5, -1.0, 0.25], [254.0, 1.0, -3.0], [0.0, 0.0, 0.0]])
    numbers, scale = quantize_rows(values)
    # row 0: 63.5 rounds to the even 64, 31.75 to 32; row 1: half a step rounds to 0, -1.5 to -2
    assert numbers.tolist() == [[64, -127, 32], [127, 0, -2], [0, 0, 0]]
    torch.testing.assert_close(scale[:2, 0], torch.tensor([1 / 127, 2.0]))
    assert torch.isfinite(scale).all()


def test_an_int8_layer_matches_a_product_worked_out_by_hand():
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.27, 0.5], [-2.54, 2.54]]))
        linear.bias.copy_(torch.tensor([10.0, -1.0]))
    # weights 127, 50 (x 0.01) and -127, 127 (x 0.02); inputs 127, 32 (x 1/127; 31.75 rounds up)
    found = Int8Linear(linear)(torch.tensor([[[1.0, 0.25]]]))
    expected = [(127 * 127 + 50 * 32) * 0.01 / 127 + 10, (-127 * 127 + 127 * 32) * 0.02 / 127 - 1]
    torch.testing.assert_close(found, torch.tensor([[expected]]), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_an_int8_layer_approximates_the_original(bias: bool):
    torch.manual_seed(0)
    linear, inputs = nn.Linear(64, 48, bias=bias), torch.randn(3, 5, 64)
    inputs[0, 0] *= 1000  # a large row does not affect the precision of others
    small = Int8Linear(linear)
    expected, found = linear(inputs), small(inputs)
    error = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error.min() > 0 and error.max() < 0.02
    assert torch.equal(small(inputs[1:2]), found[1:2])  # independent of the rest of the batch


def _scores(lm: MaskedLM, folder: Path, accelerator: Any) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = Verbalizer({label: (label.lower(),) for label in LABELS})
    pvp = bind_pattern(Pattern(parse_template("{mask} news : {text}", ["text"]), words), LABELS, tokenizer, 48)
    table = datasets.Dataset.from_list([{"text": row["text"]} for row in news_rows()])
    tokens = tokenize_fields(table, token_keys([pvp.encoder]), pvp.encoder.plain)
    return score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=512)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_int8_scores_approximate_the_original_in_every_family(family_model, accelerator, name: str):
    lm = MaskedLM(load_masked_lm(str(family_model(name))))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in lm.parameters():  # untrained tiny models hardly distinguish texts
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    before = _scores(lm, family_model(name), accelerator)
    assert quantize_linears(lm.model, name) >= 2
    after = _scores(lm, family_model(name), accelerator)
    assert 0 < np.abs(after - before).max() < 0.15 * np.ptp(before)


def test_only_linear_layers_of_the_encoder_are_replaced(family_model):
    class Watched(nn.Linear):
        pass

    model = load_masked_lm(str(family_model("bert")))
    model.base_model.encoder.layer[0].output.dense = Watched(2, 2)
    count = quantize_linears(model, "bert")
    kinds = [type(m) for m in model.base_model.modules() if isinstance(m, (nn.Linear, Int8Linear))]
    assert kinds.count(Int8Linear) == count and kinds.count(Watched) == 1 and nn.Linear not in kinds
    assert isinstance(model.cls.predictions.transform.dense, nn.Linear)


@pytest.mark.parametrize("name", ["t5", "mt5", "qwen2", "xlnet"])
def test_the_head_is_not_quantized(family_model, name: str):
    model = open_model(str(family_model(name)))
    head = model.get_output_embeddings()
    quantize_linears(model, name)
    assert type(head) is nn.Linear and model.get_output_embeddings() is head
    left = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert left == [head] and any(isinstance(module, Int8Linear) for module in model.modules())


def test_a_model_without_linear_layers_is_rejected():
    model = nn.Sequential(nn.Embedding(3, 3), nn.LayerNorm(3))
    with pytest.raises(PetError, match=r"model mine: .*Embedding, LayerNorm"):
        quantize_linears(model, "mine")


def test_int8_requires_a_cpu_and_a_recent_torch(monkeypatch: pytest.MonkeyPatch):
    check_int8(torch.device("cpu"))
    with pytest.raises(PetError, match=r"--quantize.* cuda.*--device cpu"):
        check_int8(torch.device("cuda", 0))
    monkeypatch.delattr(int8.torch, "_int_mm")
    with pytest.raises(PetError, match=r"int8.*update torch"):
        check_int8(torch.device("cpu"))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"architecture": "x86_64", "avx512_vnni": True, "amx_int8": False}, True),
        ({"architecture": "x86_64", "avx2": True, "avx512_f": True, "avx512_vnni": False}, False),
        ({"architecture": "aarch64", "neon": True, "dot": True}, True),
        (None, None),
    ],
)
def test_int8_instructions_are_detected_if_torch_reports_them(
    monkeypatch: pytest.MonkeyPatch, found: Any, expected: bool | None
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    if found is None:  # older versions of torch
        monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert has_int8_instructions() is expected


# --- commands --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("int8") / "in")


@pytest.fixture(scope="module")
def run(inputs: Path, tiny_model: Path) -> Path:
    folder = inputs.parent / "run"
    pet(*run_options(inputs, tiny_model), "-q", "-o", folder)
    return folder


def _label(run: Path, inputs: Path, output: Path, *options: str) -> Any:
    return pet("label", run, "--input", inputs / "pool.jsonl", "-o", output, "--device", "cpu", *options)


def _probabilities(path: Path) -> Any:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return np.asarray([list(row["probabilities"].values()) for row in rows])


def _said(stderr: str, texts: int) -> int:
    found = re.search(rf"int8: (\d+) of the first {texts} texts", stderr)
    assert found, stderr
    return int(found[1])


def test_label_works_in_int8(run: Path, inputs: Path, tmp_path: Path):
    plain = _probabilities(run / "g0" / "labels.jsonl")
    result = _label(run, inputs, tmp_path / "a.jsonl", "--quantize", "--json")
    small = _probabilities(tmp_path / "a.jsonl")
    assert 0 < np.abs(small - plain).max() < 0.1
    same = int((small.argmax(axis=1) == plain.argmax(axis=1)).sum())
    assert _said(result.stderr, 16) == same
    assert json.loads(result.stdout)["int8_agreement"] == same / 16
    assert "int8_agreement" not in json.loads(_label(run, inputs, tmp_path / "b.jsonl", "--json").stdout)


def test_agreement_is_measured_on_the_first_texts_and_all_are_int8(
    run: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def label(name: str, chunk_rows: int) -> Any:
        path = tmp_path / name
        table = TableOptions(chunk_rows=chunk_rows)
        counts = label_file(run, str(inputs / "pool.jsonl"), path, table=table, compute=INT8)
        return counts, _probabilities(path)

    whole, expected = label("whole.jsonl", 100)
    monkeypatch.setattr("pet.inference.quantize.SAMPLE_ROWS", 3)
    monkeypatch.setattr("pet.members.models.KEEP_BYTES", 0)  # then members are reopened for each chunk
    pieces, found = label("pieces.jsonl", 5)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert whole.texts == pieces.texts == 16
    assert pieces.agreement in (0, 1 / 3, 2 / 3, 1)


def test_a_student_predicts_and_is_evaluated_in_int8(run: Path, inputs: Path, tmp_path: Path):
    test = inputs / "test.jsonl"
    plain, small = tmp_path / "plain.jsonl", tmp_path / "small.jsonl"
    pet("predict", run, "--input", test, "-o", plain, "--device", "cpu")
    result = pet("predict", run, "--input", test, "-o", small, "--device", "cpu", "--quantize")
    exact, rounded = _probabilities(plain), _probabilities(small)
    assert 0 < np.abs(exact - rounded).max() < 0.1
    assert _said(result.stderr, 12) == int((exact.argmax(axis=1) == rounded.argmax(axis=1)).sum())
    result = pet("evaluate", run, "--input", test, "--device", "cpu", "--quantize", "--json")
    gold = [json.loads(line)["label"] for line in test.read_text().splitlines()]
    right = sum(LABELS[i] == label for i, label in zip(rounded.argmax(axis=1), gold, strict=True))
    assert json.loads(result.stdout)["accuracy"] == pytest.approx(right / 12)


def test_a_cpu_without_int8_instructions_gives_a_warning(
    run: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commands = (
        ("label", run, "--input", inputs / "pool.jsonl", "-o", tmp_path / "l.jsonl"),
        ("predict", run, "--input", inputs / "test.jsonl", "-o", tmp_path / "p.jsonl"),
        ("evaluate", run, "--input", inputs / "test.jsonl"),
    )
    for known, warned in ((False, 1), (True, 0), (None, 0)):
        monkeypatch.setattr("pet.inference.quantize.has_int8_instructions", lambda known=known: known)
        for command in commands:
            force = () if command[0] == "evaluate" else ("--force",)
            said = pet(*command, *force, "--device", "cpu", "--quantize").stderr
            assert len(re.findall("warning: int8: .*VNNI", said)) == warned
    assert "int8" not in pet(*commands[0], "--device", "cpu", "--force").stderr


@pytest.mark.parametrize("name", ["t5", "gpt2"])
def test_generative_members_label_in_int8(inputs: Path, family_model: Any, tmp_path: Path, name: str):
    (inputs / "behind.yaml").write_text(TASK.replace("{mask}: {text}", "{text} Topic: {mask}"), encoding="utf-8")
    command, _, *options = run_options(inputs, family_model(name), parts=("train", "unlabeled"))
    folder, output = tmp_path / "run", tmp_path / "labels.jsonl"
    pet(command, inputs / "behind.yaml", *options, "-q", "-o", folder)
    if name == "gpt2":  # its layers are not nn.Linear
        arguments = ("label", folder, "--input", inputs / "pool.jsonl", "-o", output, "--device", "cpu", "--quantize")
        assert re.search(r"its encoder has none .*Conv1D", refused(*arguments)) and not output.exists()
        return
    said = _label(folder, inputs, output, "--quantize").stderr
    plain, small = _probabilities(folder / "g0" / "labels.jsonl"), _probabilities(output)
    assert 0 < np.abs(small - plain).max() < 0.1
    assert _said(said, 16) == int((small.argmax(axis=1) == plain.argmax(axis=1)).sum())


def test_members_that_share_a_model_are_rejected_in_int8(inputs: Path, tiny_model: Path, tmp_path: Path):
    folder = tmp_path / "run"
    pet(*run_options(inputs, tiny_model, parts=("train", "unlabeled")), "--tuning", "bitfit", "-q", "-o", folder)
    output = tmp_path / "labels.jsonl"
    arguments = ("label", folder, "--input", inputs / "pool.jsonl", "-o", output, "--device", "cpu", "--quantize")
    assert "members of --tuning bitfit share one model" in refused(*arguments)
    assert not output.exists()


def test_a_model_without_linear_layers_is_rejected_and_leaves_no_output(inputs: Path, tiny_model: Path, tmp_path: Path):
    """GPT-2's layers are not nn.Linear."""
    from transformers import GPT2Config

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=8, n_layer=1, n_head=2, num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)), pad_token_id=0,
    )  # fmt: skip
    folder, output = tmp_path / "gpt2", tmp_path / "predictions.jsonl"
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    with pytest.raises(PetError, match=r"--quantize.*Conv1D"):
        evaluate_file(str(folder), str(inputs / "test.jsonl"), compute=INT8)
    arguments = ("predict", folder, "--input", inputs / "test.jsonl", "-o", output, "--device", "cpu")
    message = refused(*arguments, "--quantize")
    assert "--quantize" in message and "Conv1D" in message and not output.exists()
