"""A model folder may come from anyone: it is data, and every mistake in it is one message."""

from __future__ import annotations

import ast
import builtins
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from small_run import pet, refused, run_options, write_inputs

from pet.backbones import folder as folders
from pet.backbones.info import ModelInfo
from pet.backbones.kinds import open_model
from pet.backbones.load import check_model, load_config, load_tokenizer, model_fingerprint
from pet.errors import PetError
from pet.preflight.check_task import CheckOptions, check_task
from pet.student.classifier import TextInput, new_classifier
from pet.task.grammar import parse_template
from pet.task.task import Task

ROOT = Path(__file__).resolve().parents[2]
CODE = "open({marker!r}, 'w').close()\nclass Mine: pass\n"
TEXT = TextInput(("text",), parse_template("{text}", ["text"], mask=False))


@pytest.fixture(autouse=True)
def nobody_asks(monkeypatch: pytest.MonkeyPatch):
    def ask(*_: object) -> str:
        raise AssertionError("a library asked on standard output")

    monkeypatch.setattr(builtins, "input", ask)


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny BERT, to be damaged."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change(folder: Path, file: str = "config.json", **values: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def problem(folder: Path) -> str:
    """The message of whoever opens the model: a run, a student, a tokenizer."""
    with pytest.raises(PetError) as caught:
        check_model(str(folder))
        info = ModelInfo(str(folder))
        _ = info.kind, info.tokenizer, info.parameters
        info.open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file, values",
    [
        ("config.json", {"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine"}}),
        ("config.json", {"model_type": "mine", "auto_map": {"AutoConfig": "owner/repo--code.Mine"}}),
        ("config.json", {"decoder": {"model_type": "mine", "auto_map": {"AutoModel": "code.Mine"}}}),
        (
            "tokenizer_config.json",
            {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["code.Mine", None]}},
        ),
    ],
)
def test_code_of_a_folder_is_not_run(model: Path, tmp_path: Path, file: str, values: dict[str, Any]):
    marker = tmp_path / "ran"
    (model / "code.py").write_text(CODE.format(marker=str(marker)), encoding="utf-8")
    change(model, file, **values)
    if file == "config.json":
        message = problem(model)
        assert str(model) in message and "auto_map" in message and "transformers" in message
    else:  # recent versions of the library take a tokenizer of their own
        with suppress(PetError):
            assert load_tokenizer(str(model)).mask_token_id is not None
    assert not marker.exists()


def test_an_architecture_of_the_library_needs_no_code_even_if_the_folder_has_some(model: Path, tmp_path: Path):
    marker = tmp_path / "ran"
    (model / "code.py").write_text(CODE.format(marker=str(marker)), encoding="utf-8")
    change(model, auto_map={"AutoConfig": "code.Mine", "AutoModelForMaskedLM": "code.Mine"})
    open_model(str(model))
    assert not marker.exists()


def test_code_for_generating_text_is_not_run(family_model: Callable[[str], Path], tmp_path: Path):
    folder = Path(shutil.copytree(family_model("gpt2"), tmp_path / "model"))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(CODE.format(marker=str(tmp_path / "ran")), encoding="utf-8")
    (folder / "chat_template.jinja").write_text("{{ cycler.__init__.__globals__.os.mkdir('ran') }}", encoding="utf-8")
    open_model(str(folder))
    load_tokenizer(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "file, values, words",
    [
        ("config.json", {"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine"}}, "auto_map"),
        ("config.json", {"num_hidden_layers": 10**7}, "num_hidden_layers"),
        ("tokenizer_config.json", {"vocab_file": "../secret"}, "vocab_file"),
        ("adapter_config.json", {}, "adapter"),
    ],
)
def test_models_of_the_hub_are_checked_alike(
    model: Path, monkeypatch: pytest.MonkeyPatch, file: str, values: dict[str, Any], words: str
):
    def cached_file(name: str, wanted: str) -> str | None:
        assert name == "somebody/model"
        return str(model / wanted) if (model / wanted).exists() else None

    (model / file).touch()
    (model / file).write_text(json.dumps(json.loads((model / file).read_text() or "{}") | values), encoding="utf-8")
    monkeypatch.setattr("pet.backbones.load.cached_file", cached_file)
    with pytest.raises(PetError, match=words) as caught:
        load_config("somebody/model")
    assert "model somebody/model" in str(caught.value)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_kernels_of_the_hub_are_not_run(model: Path, key: str):
    change(model, **{key: "somebody/kernel:attention"})
    message = problem(model)
    assert key in message and "somebody/kernel" in message


def test_two_modules_ask_a_library_to_open_a_model():
    """Its calls never trust remote code."""
    openers = [ROOT / "pet" / "backbones" / name for name in ("load.py", "gguf.py")]
    trusting = []
    for path in sorted((ROOT / "pet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in ("from_pretrained", "from_config", "pipeline", "get_tokenizer"):
                continue
            assert path in openers, f"{path}:{node.lineno}: use pet.backbones.load"
            trusting.append([ast.unparse(k.value) for k in node.keywords if k.arg == "trust_remote_code"])
    assert len(trusting) >= 4 and all(values == ["False"] for values in trusting)


# --- other files -----------------------------------------------------------------------------------------


def test_weights_are_copied_by_the_thread_that_opens_them(model: Path, monkeypatch: pytest.MonkeyPatch):
    loading = pytest.importorskip("transformers.core_model_loading", reason="transformers 5 copies weights in threads")
    monkeypatch.setattr(loading, "ThreadPoolExecutor", lambda **_: pytest.fail("weights are copied in threads"))
    open_model(str(model))


@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json", "model.safetensors", "config.json"])
def test_links_out_of_a_folder_are_not_followed(model: Path, tmp_path: Path, file: str):
    outside = tmp_path / f"secret-{file}"
    if (model / file).exists():
        shutil.move(model / file, outside)
    else:
        outside.write_text("secret", encoding="utf-8")
    (model / file).symlink_to(outside)
    message = problem(model)
    assert str(model) in message and file in message and str(outside) in message
    with pytest.raises(PetError, match=file):
        model_fingerprint(str(model))


def test_links_in_a_folder_and_to_a_folder_are_followed(model: Path, tmp_path: Path):
    shutil.move(model / "model.safetensors", model / "weights.safetensors")
    (model / "model.safetensors").symlink_to("weights.safetensors")
    (tmp_path / "latest").symlink_to(model)
    open_model(str(tmp_path / "latest"))


@pytest.mark.parametrize("blobs", ["../../blobs", "../../../blobs"])
def test_a_snapshot_in_the_cache_of_the_hub_may_link_to_its_blobs(tiny_model: Path, tmp_path: Path, blobs: str):
    snapshot = tmp_path / "models--somebody--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / blobs).resolve().mkdir()
    for path in tiny_model.iterdir():
        shutil.copy(path, snapshot / blobs / path.name)
        (snapshot / path.name).symlink_to(f"{blobs}/{path.name}")
    open_model(str(snapshot))
    load_tokenizer(str(snapshot))
    (snapshot / "vocab.txt").symlink_to(tmp_path / "secret")
    assert "vocab.txt" in problem(snapshot)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_waited_for(model: Path):
    os.mkfifo(model / "vocab.txt")
    assert "vocab.txt" in problem(model)


@pytest.mark.parametrize("file", ["tokenizer.json", "config.json", "added_tokens.json"])
def test_huge_files_are_not_read(model: Path, file: str):
    with open(model / file, "a") as stream:
        stream.truncate(600 << 20)
    message = problem(model)
    assert file in message and "600" in message


@pytest.mark.parametrize(
    "file, values",
    [
        ("tokenizer_config.json", {"vocab_file": "/etc/passwd"}),
        ("tokenizer_config.json", {"merges_file": "../other/merges.txt"}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["../tokenizer.4.0.0.json"]}),
        ("config.json", {"transformers_weights": "../other/model.safetensors"}),
    ],
)
def test_files_of_other_folders_are_not_opened(model: Path, file: str, values: dict[str, Any]):
    change(model, file, **values)
    message = problem(model)
    assert file in message and next(iter(values)) in message


def sharded(model: Path, names: tuple[str, str]) -> None:
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    keys = sorted(tensors)
    parts = dict(zip(names, (keys[::2], keys[1::2]), strict=True))
    for name, part in parts.items():
        save_file({key: tensors[key] for key in part}, model / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, part in parts.items() for key in part}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def test_shards_are_files_of_the_folder(model: Path):
    sharded(model, ("a.safetensors", "b.safetensors"))
    open_model(str(model))
    (model / "b.safetensors").rename(model.parent / "b.safetensors")
    message = problem(model)
    assert "b.safetensors" in message and "shards" in message
    index = model / "model.safetensors.index.json"
    index.write_text(index.read_text(encoding="utf-8").replace('"b.safe', '"../b.safe'), encoding="utf-8")
    assert "'../b.safetensors'" in problem(model)


# --- damage ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "5", "[" * 100_000, '{"a": ' * 5000, '{"a": 1' + "0" * 9999 + "}"]
)
def test_broken_json_is_one_message(model: Path, file: str, text: str):
    (model / file).write_text(text, encoding="utf-8")
    assert str(model) in problem(model)


@pytest.mark.parametrize(
    "header",
    [
        (1 << 62).to_bytes(8, "little") + b"{}",
        (1 << 20).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        (71).to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": [99999999999999], "data_offsets": [0, 4]}',
        b"",
    ],
)
def test_an_absurd_header_of_weights_is_one_message(model: Path, header: bytes):
    (model / "model.safetensors").write_bytes(header)
    assert "model.safetensors" in problem(model)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(model: Path, number: float):
    tensors = load_file(model / "model.safetensors")
    key = next(key for key in tensors if "layer.1.output.dense.weight" in key)
    tensors[key][0, 3] = number
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    message = problem(model)
    assert str(model) in message and key in message and "NaN" in message


def test_other_kinds_of_folders_are_named(model: Path):
    (model / "model.safetensors").rename(model / "tf_model.h5")
    assert "TensorFlow" in problem(model) and "safetensors" in problem(model)
    (model / "tf_model.h5").rename(model / "model-q4.gguf")
    assert "GGUF" in problem(model)
    change(model, quantization_config={"quant_method": "gptq"})
    assert "quantized" in problem(model)
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/other"}', encoding="utf-8")
    assert "adapter" in problem(model) and "merge" in problem(model)


def test_pickled_weights_need_consent(model: Path):
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    assert "--allow-pickle" in problem(model)
    open_model(str(model), allow_pickle=True)
    (model / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(PetError, match="weights"):
        open_model(str(model), allow_pickle=True)


# --- sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"num_hidden_layers": 10**7},
        {"num_hidden_layers": 90_000},
        {"hidden_size": 10**6},
        {"hidden_size": 10**12},
        {"intermediate_size": 10**9},
        {"vocab_size": 10**12},
        {"max_position_embeddings": 10**12},
        {"num_labels": 10**9},
        {"type_vocab_size": 10**10},
    ],
)
def test_a_configuration_much_larger_than_the_weights_is_refused_at_once(model: Path, values: dict[str, Any]):
    change(model, **values)
    start = time.perf_counter()
    message = problem(model)
    with pytest.raises(PetError):
        new_classifier(str(model), TEXT, ("a", "b"), 32)
    assert time.perf_counter() - start < 30
    assert str(model) in message and "config" in message


def test_weights_of_layers_that_the_model_would_not_use_are_refused(model: Path):
    change(model, num_hidden_layers=1)
    message = problem(model)
    assert "layer.1" in message and "config.json" in message


def test_a_student_has_all_layers_of_its_model(model: Path):
    change(model, num_hidden_layers=3)
    with pytest.raises(PetError, match=r"layer\.2"):
        new_classifier(str(model), TEXT, ("a", "b"), 32)


# --- tokenizers ------------------------------------------------------------------------------------------


def larger_tokenizer(model: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["brontosaurus", "quetzalcoatl"])
    tokenizer.save_pretrained(model)


@pytest.mark.parametrize(
    "options", [["--method", "supervised"], [], ["--student-model", "{model}", "--model", "{good}"]]
)
def test_tokens_that_the_model_does_not_know_are_found_before_a_run(
    model: Path, tiny_model: Path, tmp_path: Path, options: list[str]
):
    larger_tokenizer(model)
    inputs = write_inputs(tmp_path / "in")
    options = [option.format(model=model, good=tiny_model) for option in options]
    message = refused(*run_options(inputs, model), *options, "-o", tmp_path / "run")
    assert str(model) in message and "tokenizer" in message
    assert not (tmp_path / "run").exists()


def test_check_finds_tokens_that_the_model_does_not_know(model: Path, tmp_path: Path):
    larger_tokenizer(model)
    inputs = write_inputs(tmp_path / "in")
    options = ["--train", inputs / "train.jsonl", "-m", model, "--max-length", 64]
    result = pet("check", inputs / "task.yaml", *options, expect=2)
    assert str(model) in result.stderr and "tokenizer" in result.stderr and "resize_token_embeddings" in result.stderr


def test_rows_without_tokens_do_no_harm(model: Path, tmp_path: Path):
    larger_tokenizer(model)
    network = transformers.AutoModelForMaskedLM.from_pretrained(model)
    network.resize_token_embeddings(len(transformers.AutoTokenizer.from_pretrained(model)), pad_to_multiple_of=64)
    network.save_pretrained(model)
    inputs = write_inputs(tmp_path / "in")
    pet(*run_options(inputs, model, parts=["train"]), "-q", "-o", tmp_path / "run")


def test_a_tokenizer_without_vocabulary_is_not_a_tokenizer(model: Path):
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (model / name).unlink(missing_ok=True)
    with pytest.raises(PetError, match="tokenizer"):
        load_tokenizer(str(model))
    with pytest.raises(PetError, match="tokenizer"):
        new_classifier(str(model), TEXT, ("a", "b"), 32)


@pytest.mark.parametrize("length", [-1, 0, "512", [512], float("nan"), True])
def test_a_length_that_is_not_one_is_named(model: Path, length: Any):
    change(model, "tokenizer_config.json", model_max_length=length)
    with pytest.raises(PetError, match="model_max_length"):
        load_tokenizer(str(model))


@pytest.mark.parametrize("length", [10**30, 1e30, None, 64])
def test_an_endless_length_is_fine(model: Path, length: Any):
    change(model, "tokenizer_config.json", model_max_length=length)
    load_tokenizer(str(model))


def test_outputs_are_what_the_package_expects(model: Path):
    change(model, return_dict=False, output_hidden_states=True, torchscript=True, chunk_size_feed_forward=7)
    config = load_config(str(model))
    assert config.return_dict and not config.output_hidden_states and not config.chunk_size_feed_forward


@pytest.mark.parametrize("start", [10**7, -1, 1e30, "x"])
def test_a_decoder_starts_with_one_of_its_tokens(family_model: Callable[[str], Path], tmp_path: Path, start: Any):
    folder = Path(shutil.copytree(family_model("t5"), tmp_path / "model"))
    change(folder, decoder_start_token_id=start)
    assert "decoder_start_token_id" in problem(folder)


# --- every key, every wrong kind -------------------------------------------------------------------------

WRONG: list[Any] = [
    *(None, True, -1, 0, 1, 10**7, 1e30, 10**30, 0.5, float("nan")),
    *("x", "", [], {}, [1, "a"], {"a": 1}),
]
MORE_KEYS = {
    "config.json": [
        *("num_labels", "id2label", "problem_type", "return_dict", "output_attentions", "output_hidden_states"),
        *("is_encoder_decoder", "chunk_size_feed_forward", "auto_map", "quantization_config", "attn_implementation"),
        *("transformers_weights", "text_config", "rope_scaling", "pruned_heads", "tokenizer_class", "torch_dtype"),
    ],
    "tokenizer_config.json": [
        *("padding_side", "truncation_side", "mask_token", "pad_token", "unk_token", "added_tokens_decoder"),
        *("extra_special_tokens", "additional_special_tokens", "chat_template", "split_special_tokens", "init_inputs"),
        *("vocab_file", "tokenizer_file", "fast_tokenizer_files", "model_input_names", "do_lower_case", "auto_map"),
    ],
}


def mutants(folder: Path) -> list[tuple[str, str, Any]]:
    """(file, key, wrong value) for each key of the files that describe a model, and more keys."""
    keys = {file: [*json.loads((folder / file).read_text(encoding="utf-8")), *more] for file, more in MORE_KEYS.items()}
    return [(file, key, value) for file, names in keys.items() for key in dict.fromkeys(names) for value in WRONG]


def harmless(folder: Path, inputs: Path, task: Task) -> None:
    """Open the model in every way: it works or raises a PetError."""
    options = CheckOptions({"train": str(inputs / "train.jsonl")}, settings={"max_length": 64}, rows=4, device="cpu")
    attempts: list[Callable[[], object]] = [
        lambda: check_task(task, str(folder), options),
        lambda: new_classifier(str(folder), TEXT, ("a", "b"), 32),
    ]
    for attempt in attempts:
        try:
            attempt()
        except PetError as error:
            assert str(folder) in str(error)


def try_mutants(tiny_model: Path, tmp_path: Path, chosen: list[tuple[str, str, Any]]) -> None:
    inputs = write_inputs(tmp_path / "in")
    task = Task.load(str(inputs / "task.yaml"))
    for number, (file, key, value) in enumerate(chosen):
        folder = Path(shutil.copytree(tiny_model, tmp_path / str(number)))
        change(folder, file, **{key: value})
        start = time.perf_counter()
        try:
            harmless(folder, inputs, task)
        except Exception as error:
            raise AssertionError(f"{file}: {key}={value!r}") from error
        assert time.perf_counter() - start < 60, (file, key, value)
        shutil.rmtree(folder)


def test_wrong_kinds_in_the_files_that_describe_a_model_are_one_message(tiny_model: Path, tmp_path: Path):
    chosen = random.Random(14).sample(mutants(tiny_model), 24)
    try_mutants(tiny_model, tmp_path, chosen)


@pytest.mark.parametrize(
    ("name", "file", "key", "value"),
    [
        ("bert", "tokenizer_config.json", "unk_token", ""),
        ("deberta-v3", "config.json", "pad_token_id", None),
        ("deberta-v3", "tokenizer_config.json", "pad_token", "x"),
        ("modernbert", "config.json", "local_attention", 10**30),
        ("t5", "config.json", "relative_attention_max_distance", 0),
    ],
)
def test_wrong_kinds_that_libraries_notice_late(
    family_model: Callable[[str], Path], tmp_path: Path, name: str, file: str, key: str, value: Any
):
    try_mutants(family_model(name), tmp_path, [(file, key, value)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "roberta", "deberta-v3", "modernbert", "t5", "gpt2", "llama"])
def test_all_wrong_kinds_are_one_message(family_model, name: str, tmp_path: Path):
    try_mutants(family_model(name), tmp_path, mutants(family_model(name)))


def test_the_readers_limits_leave_room_for_real_models():
    embedded = ROOT / "models" / "mini-en"
    folders.check_files(embedded)
    weights = folders.check_weights(embedded, allow_pickle=False)
    assert weights.tensors > 50 and weights.bytes == (embedded / "model.safetensors").stat().st_size
