"""`pet adapt`: text to blocks, masking, shrinking, training that can be stopped, and what comes out."""

from __future__ import annotations

import gzip
import json
import lzma
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_text import WORDS, training_text
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from pet.adapt import build, card, corpus, masking, packing, samples, schedule, shrink
from pet.adapt.head import logits_at
from pet.adapt.recipe import Start, Text, adapt, vocabulary_of
from pet.adapt.train import Settings, Vocabulary, rows_of_step
from pet.cli.main import main
from pet.errors import PetError

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

DOCUMENTS = list(training_text())
QUICK = Settings(max_steps=6, batch_tokens=128, micro_tokens=128, lr=1e-3, eval_tokens=128)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(DOCUMENTS), encoding="utf-8")
    return path


def load(folder: Path) -> tuple[Any, Any]:
    return AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


# --- text --------------------------------------------------------------------------------------------


def test_reads_lines_paragraphs_files_and_fields(tmp_path: Path) -> None:
    plain = tmp_path / "a.txt"
    plain.write_text("\ufeffone\ntwo  words\n\n \nthree\n", encoding="utf-8")
    packed = tmp_path / "a.txt.xz"
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    rows = tmp_path / "a.jsonl.gz"
    rows.write_bytes(gzip.compress(b'{"h": "head", "b": "body"}\n\n{"h": null, "b": "more"}\n', mtime=0))
    assert corpus.read_documents([str(plain)]) == ["one", "two words", "three"]
    assert corpus.read_documents([str(packed)], document="blank") == ["one two words", "three"]
    assert corpus.read_documents([str(packed)], document="file") == ["one two words three"]
    assert corpus.read_documents([str(plain), str(rows)], ["h", "b"])[3:] == ["head body", "more"]


@pytest.mark.parametrize(
    ("name", "content", "fields", "message"),
    [
        ("none.txt", None, (), "no such file"),
        ("empty.txt", b" \n\n", (), "no text in it"),
        ("latin.txt", "Zürich".encode("latin-1"), (), "not UTF-8"),
        ("cut.txt.xz", lzma.compress(b"text " * 99)[:40], (), "cut off"),
        ("cut.txt.gz", gzip.compress(b"text " * 99, mtime=0)[:20], (), "cut off"),
        ("a.jsonl", b'{"text": "x"}', (), "--field"),
        ("a.jsonl", b'{"text": "x"}\n{"text', ("text",), "line 2: is not JSON"),
        ("a.jsonl", b"[1]", ("text",), "line 1: is not a JSON object"),
        ("a.jsonl", b'{"text": "x"}', ("body",), "no field 'body'"),
        ("a.jsonl", b'{"text": 3}', ("text",), "is not text but int"),
    ],
)
def test_bad_text_is_named(
    tmp_path: Path, name: str, content: bytes | None, fields: tuple[str, ...], message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PetError, match=message) as caught:
        corpus.read_documents([str(path)], fields)
    assert name in str(caught.value)


def test_overlapping_documents_are_left_out(tmp_path: Path) -> None:
    secret = "The quick brown fox jumps over the lazy dog today"
    other = tmp_path / "test.jsonl"
    other.write_text(json.dumps({"id": 1, "deep": [{"text": secret}]}), encoding="utf-8")
    texts = corpus.read_strings(str(other))
    assert texts == [secret]
    documents = [
        "so THE quick, brown fox - jumps over the lazy... cat",  # eight words in a row, else spelled
        "the quick brown fox jumps over the tired dog",  # seven
        "nothing of it",
    ]
    assert corpus.drop_overlapping(documents, texts, 8) == (documents[1:], 1)
    assert corpus.drop_overlapping(documents, [], 8) == (documents, 0)


def test_hold_out_is_a_partition() -> None:
    documents = [str(i) for i in range(50)]
    training, held = corpus.hold_out(documents, 0.1, seed=3)
    assert len(held) == 5 and sorted(training + held) == sorted(documents)
    assert (training, held) == corpus.hold_out(documents, 0.1, seed=3)
    assert len(corpus.hold_out(["a", "b"], 0.9, 0)[0]) == 1
    with pytest.raises(PetError, match="held out"):
        corpus.hold_out(["a"], 0.1, 0)


def test_a_source_is_read_several_times_in_a_pass(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    often = tmp_path / "often.txt"
    documents = [f"{WORDS[i % len(WORDS)]} is the word of day {i}" for i in range(40)]
    often.write_text("\n".join(documents), encoding="utf-8")
    sources = (str(text_file), str(often))
    times = corpus.read_repeats([f"{often}=3"], sources)
    assert times == dict.fromkeys(documents, 3)
    start, text = Start(model=str(tiny_model)), Text(sources, length=32)
    once = adapt(text, start, QUICK, tmp_path / "once")
    thrice = adapt(replace(text, repeat=(f"{often}=3",)), start, QUICK, tmp_path / "thrice")
    # The same documents are held back, and those of the one source that are not are there twice more.
    for same in ("documents_trained", "documents_held_out", "characters", "text_sha256"):
        assert once[same] == thrice[same]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    _, held = corpus.hold_out(DOCUMENTS + documents, 0.01, 0)
    more = sum(len(ids) for ids in packing.encode(tokenizer, [d for d in documents if d not in held]))
    assert thrice["tokens_in_text"] == once["tokens_in_text"] + 2 * more
    assert thrice["settings"]["text"]["repeat"] == ["often.txt=3"]


@pytest.mark.parametrize(("repeat", "message"), [("a.txt", "whole number"), ("a.txt=0", "N"), ("b.txt=2", "no --text")])
def test_refuses_a_repeat_of_nothing(repeat: str, message: str) -> None:
    with pytest.raises(PetError, match=message):
        corpus.read_repeats([repeat], ["a.txt"])


# --- packing -----------------------------------------------------------------------------------------


def test_packing_loses_no_token_and_pads_nothing() -> None:
    documents = [np.arange(10 * i, 10 * i + i + 1, dtype=np.int32) for i in range(1, 8)]
    stream = packing.join(documents, [3], seed=0)
    assert sorted(stream[stream != 3]) == sorted(np.concatenate(documents)[np.concatenate(documents) != 3])
    blocks = packing.pack(stream, 8, [1], [2])
    body = blocks[:, 1:-1].reshape(-1)
    assert (blocks[:, 0] == 1).all() and (blocks[:, -1] == 2).all() and blocks.shape[1] == 8
    assert (body[: len(stream)] == stream).all()
    assert (body[len(stream) :] == stream[: len(body) - len(stream)]).all()  # filled up from the start


def test_packing_of_little_and_of_nothing() -> None:
    assert packing.pack(np.array([7, 8]), 16, [1], [2]).tolist() == [[1, 7, 8, 2]]
    with pytest.raises(PetError, match="no tokens"):
        packing.pack(np.array([], dtype=np.int32), 16, [1], [2])
    with pytest.raises(PetError, match="--length 2"):
        packing.pack(np.array([7]), 2, [1], [2])


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-r", "albert"])
def test_frame_and_word_pieces_of_each_tokenizer(family: str, family_model: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(family_model(family))
    before, after = packing.frame(tokenizer)
    assert tokenizer("the river")["input_ids"] == [
        *before,
        *tokenizer("the river", add_special_tokens=False)["input_ids"],
        *after,
    ]
    ids = tokenizer(" the zzz river", add_special_tokens=False)["input_ids"]
    goes_on = packing.continuations(tokenizer)[ids]
    words = np.count_nonzero(~goes_on)
    assert words == 3 < len(ids)


# --- masking -----------------------------------------------------------------------------------------

SPECIAL = np.array([i < 5 for i in range(1000)])


def test_masking_shares() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 1000, size=(200, 102))
    ids[:, 0], ids[:, -1] = 1, 2
    chosen = masking.choose(ids, SPECIAL, 0.15, rng)
    assert (chosen.sum(1) == 15).all()
    assert not chosen[SPECIAL[ids]].any()
    assert chosen[:, 1:-1].mean(0).std() < 0.05  # no place is preferred
    inputs = masking.corrupt(ids, chosen, 4, np.flatnonzero(~SPECIAL), rng)
    assert (inputs[~chosen] == ids[~chosen]).all()
    assert (inputs[chosen] == 4).mean() == pytest.approx(0.8, abs=0.03)
    assert (inputs[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.03)
    noise = inputs[chosen & (inputs != 4) & (inputs != ids)]
    assert len(noise) / chosen.sum() == pytest.approx(0.1, abs=0.03) and not SPECIAL[noise].any()


def test_masking_differs_each_time_and_short_text_has_one_mask() -> None:
    ids = np.full((1, 60), 9)
    one, two = (masking.choose(ids, SPECIAL, 0.2, np.random.default_rng([0, step])) for step in (1, 2))
    assert (one != two).any()
    assert masking.choose(np.array([[1, 9, 2]]), SPECIAL, 0.15, np.random.default_rng(0)).sum() == 1
    assert masking.choose(np.array([[1, 2]]), SPECIAL, 0.15, np.random.default_rng(0)).sum() == 0


def test_whole_words_are_masked_whole() -> None:
    continues = np.arange(1000) >= 500
    rng = np.random.default_rng(1)
    ids = rng.integers(5, 1000, size=(300, 80))
    ids[:, 0], ids[:, 40], ids[:, -1] = 1, 2, 2
    ids[:, 41] = 600  # a piece right after a special token is a word of its own
    chosen = masking.choose(ids, SPECIAL, 0.15, rng, continues)
    assert not chosen[SPECIAL[ids]].any()
    inside = continues[ids] & ~SPECIAL[np.roll(ids, 1, axis=1)]
    assert (chosen[inside] == np.roll(chosen, 1, axis=1)[inside]).all()
    assert chosen.sum() / (~SPECIAL[ids]).sum() == pytest.approx(0.15, abs=0.01)
    assert chosen.any(1).all()


# --- the start ---------------------------------------------------------------------------------------


def counts_of(tokenizer: Any, texts: list[str]) -> np.ndarray:
    return np.bincount(np.concatenate(packing.encode(tokenizer, texts)), minlength=len(tokenizer))


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "xlm-r", "albert", "electra", "distilbert", "deberta-v2", "mpnet"]
)
def test_pruned_vocabulary_keeps_tokens_and_logits(
    family: str, family_model: Callable[[str], Path], tmp_path: Path
) -> None:
    model, tokenizer = load(family_model(family))
    texts = DOCUMENTS[:8]
    keep = shrink.choose_tokens(tokenizer, counts_of(tokenizer, texts), 700, ["great", "sports"])
    assert keep == sorted(set(keep)) and len(keep) < len(tokenizer)
    small_tokenizer = shrink.prune_tokenizer(tokenizer, keep)
    small = shrink.prune_model(model, keep, {"pad_token_id": small_tokenizer.pad_token_id}).eval()
    assert small.get_input_embeddings().weight.shape[0] == len(keep) == small.config.vocab_size
    small.save_pretrained(tmp_path / "small")
    small_tokenizer.save_pretrained(tmp_path / "small")
    small, small_tokenizer = load(tmp_path / "small")
    names = small_tokenizer.convert_ids_to_tokens(range(len(keep)))
    assert names == tokenizer.convert_ids_to_tokens(keep)
    for text in [*texts, f"{texts[0]} {tokenizer.mask_token} sports great."]:
        old, new = (t(text, return_tensors="pt") for t in (tokenizer, small_tokenizer))
        assert tokenizer.convert_ids_to_tokens(old["input_ids"][0]) == small_tokenizer.convert_ids_to_tokens(
            new["input_ids"][0]
        )
        with torch.no_grad():
            expected, found = model(**old).logits[..., keep], small(**new).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_pruning_says_when_it_cannot(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    with pytest.raises(PetError, match="--vocab 3"):
        shrink.choose_tokens(tokenizer, np.ones(len(tokenizer), dtype=int), 3)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "deberta-v2"])
def test_layers_are_kept_as_they_were(family: str, family_model: Callable[[str], Path]) -> None:
    model, tokenizer = load(family_model(family))
    one = shrink.keep_layers(model, [1]).eval()
    assert one.config.num_hidden_layers == 1
    assert sum(p.numel() for p in one.parameters()) < sum(p.numel() for p in model.parameters())
    both = shrink.keep_layers(model, [0, 1]).eval()
    ids = tokenizer(DOCUMENTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(both(input_ids=ids).logits, model(input_ids=ids).logits)
        assert not torch.allclose(one(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("family", ["albert", "modernbert"])
def test_layers_that_cannot_be_left_out(family: str, family_model: Callable[[str], Path]) -> None:
    with pytest.raises(PetError, match="--keep-layers"):
        shrink.keep_layers(load(family_model(family))[0], [0])


def test_wrong_layers_are_named(tiny_model: Path) -> None:
    with pytest.raises(PetError, match="0 to 1"):
        shrink.keep_layers(load(tiny_model)[0], [0, 2])


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_narrow_keeps_the_strongest_units(family: str, family_model: Callable[[str], Path]) -> None:
    model, tokenizer = load(family_model(family))
    with torch.no_grad():  # units 10 to 63 do nothing, so leaving them out changes nothing
        for name, p in model.named_parameters():
            if name.endswith(("intermediate.dense.weight", "ffn.lin1.weight")):
                p[10:] = 0
            if name.endswith((".output.dense.weight", "ffn.lin2.weight")) and "attention" not in name:
                p[:, 10:] = 0
    narrow = shrink.narrow(model, 10).eval()
    ids = tokenizer(DOCUMENTS[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(narrow(input_ids=ids).logits, model(input_ids=ids).logits)
    with pytest.raises(PetError, match="this model has 64"):
        shrink.narrow(model, 64)


def test_narrow_says_when_it_cannot(family_model: Callable[[str], Path]) -> None:
    with pytest.raises(PetError, match="--feed-forward"):
        shrink.narrow(load(family_model("modernbert"))[0], 8)


def test_encoder_gets_a_head_tied_to_its_embeddings(tiny_model: Path, tmp_path: Path) -> None:
    encoder, tokenizer = AutoModel.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _, new_head = build.from_checkpoint(str(tmp_path))
    assert new_head
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    torch.testing.assert_close(model.get_input_embeddings().weight, encoder.get_input_embeddings().weight)
    assert not build.from_checkpoint(str(tiny_model))[2]
    counts = np.arange(len(tokenizer))
    build.set_output_bias(model, counts)
    bias = model.get_output_embeddings().bias.detach().numpy()
    assert (np.diff(bias) > 0).all() and abs(bias.mean()) < 1e-5


def test_model_without_a_mask_token_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    AutoModelForMaskedLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    with pytest.raises(PetError, match="no mask token"):
        build.from_checkpoint(str(tmp_path))


def test_trained_tokenizer_has_the_ordinary_special_tokens() -> None:
    tokenizer = build.train_tokenizer(DOCUMENTS, 300)
    assert len(tokenizer) == 300 and tokenizer.mask_token == "[MASK]" and tokenizer.pad_token_id == 0
    assert tokenizer.unk_token_id not in tokenizer("The river ROSE in the night.")["input_ids"]
    pair = tokenizer("the river", "the night")
    assert pair["input_ids"].count(tokenizer.sep_token_id) == 2 and 1 in pair["token_type_ids"]
    with pytest.raises(PetError, match="--vocab 7"):
        build.train_tokenizer(DOCUMENTS, 7)


# --- training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "electra", "distilbert", "deberta-v2", "mpnet"])
def test_logits_at_positions_are_the_same(family: str, family_model: Callable[[str], Path]) -> None:
    model, tokenizer = load(family_model(family))
    ids = torch.randint(5, len(tokenizer) - 2, (3, 20))
    chosen = torch.zeros(3, 20, dtype=torch.bool)
    chosen[0, 3] = chosen[0, 9] = chosen[2, 5] = True
    with torch.no_grad():
        torch.testing.assert_close(logits_at(model, ids, chosen), model(input_ids=ids).logits[chosen])
    assert not model.base_model._forward_hooks


def test_each_pass_sees_each_sequence_once() -> None:
    seen = np.concatenate([rows_of_step(step, 4, 10, seed=0) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_schedule_is_fitted_to_the_nearer_end() -> None:
    assert schedule.progress(5, 10, 0.0, None) == 0.5
    assert schedule.progress(5, 10, 90.0, 100.0) == 0.9
    assert schedule.progress(500, None, 200.0, 100.0) == 1.0
    with pytest.raises(ValueError, match="end"):
        schedule.progress(1, None, 1.0, None)
    assert schedule.factor(0.05, 0.1) == pytest.approx(0.5)
    assert schedule.factor(0.1, 0.1) == pytest.approx(1.0)
    assert schedule.factor(0.55, 0.1) == pytest.approx(0.5)
    assert schedule.factor(1.0, 0.1) == 0.0
    assert schedule.factor(0.0, 0.0) == 1.0


def run(source: Path, model: Path, out: Path, settings: Settings = QUICK, **options: Any) -> dict[str, Any]:
    text = Text((str(source),), held_out=0.1, length=32)
    return adapt(text, Start(model=str(model)), settings, out, **options)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "training.json"}


def test_resumed_training_ends_with_the_same_bytes(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, dropout=0.1, whole_word=True, micro_tokens=64)
    whole = run(text_file, tiny_model, tmp_path / "whole" / "m", settings)
    assert whole["finished"] and whole["step"] == 6

    calls = iter([False, False, True])  # stopped after three steps, as by Ctrl-C
    half = run(text_file, tiny_model, tmp_path / "halves" / "m", settings, stop=lambda: next(calls))
    assert not half["finished"] and half["step"] == 3
    assert not (tmp_path / "halves" / "m").exists()
    rest = run(text_file, tiny_model, tmp_path / "halves" / "m", settings)
    assert rest["finished"] and rest["evaluation"] == whole["evaluation"]
    one, two = (load_file(tmp_path / name / "m" / "model.safetensors") for name in ("whole", "halves"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    one_bytes, two_bytes = files_of(tmp_path / "whole" / "m"), files_of(tmp_path / "halves" / "m")
    one_bytes.pop("README.md"), two_bytes.pop("README.md")  # they tell the time it took
    assert one_bytes == two_bytes
    assert not list(tmp_path.glob("*/*.work"))


def test_other_settings_do_not_go_on_with_a_training(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    run(text_file, tiny_model, tmp_path / "m", stop=lambda: True)
    with pytest.raises(PetError, match=r"settings\.lr differ"):
        run(text_file, tiny_model, tmp_path / "m", replace(QUICK, lr=9e-4))


def test_accumulation_does_not_change_the_result(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    losses = [
        run(text_file, tiny_model, tmp_path / f"m{micro}", replace(QUICK, micro_tokens=micro))["evaluation"]["loss"]
        for micro in (32, 128)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_minutes_end_the_training_and_fit_the_schedule(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    settings = replace(QUICK, max_steps=None, max_minutes=1.0)
    result = run(text_file, tiny_model, tmp_path / "m", settings, clock=clock)
    # The clock is read twice a step: 60 seconds are 30 steps.
    assert result["step"] == pytest.approx(30, abs=1) and result["seconds"] >= 59
    assert result["epochs"] == pytest.approx(result["step"] * 128 / 32 / blocks_of(result), rel=0.2)


def blocks_of(result: dict[str, Any]) -> float:
    return float(result["tokens"]) / 32 / result["epochs"]


def test_training_learns_and_writes_a_whole_model(tmp_path: Path) -> None:
    said: list[str] = []
    text_file = tmp_path / "text.txt"  # one word all through a document: what is hidden stands beside it
    text_file.write_text("\n".join(f"{word} " * 60 for word in WORDS * 6), encoding="utf-8")
    start = Start(vocab=200, layers=1, hidden=64, positions=64)
    settings = replace(QUICK, max_steps=40, lr=5e-3, batch_tokens=512, micro_tokens=512, eval_tokens=512)
    text = Text((str(text_file),), held_out=0.1, length=32)
    record = adapt(
        text,
        start,
        settings,
        tmp_path / "new",
        save_dtype="fp16",
        prompts=["great great {mask} great"],
        command="pet adapt",
        say=said.append,
    )
    assert record["evaluation"]["loss"] < record["start"]["loss"] - 0.5
    assert record["evaluation"]["perplexity"] == pytest.approx(math.exp(record["evaluation"]["loss"]))
    model, tokenizer = load(tmp_path / "new")
    assert next(model.parameters()).dtype == torch.float16 or "fp16" in record["save_dtype"]
    weights = load_file(tmp_path / "new" / "model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())
    assert tokenizer.model_max_length == 64 and len(tokenizer) <= 200
    fillings = samples.fill(model.float(), tokenizer, ["great great {mask} great"], np.empty((0, 0)))
    assert len(fillings[0]["words"]) == 5
    readme = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert "trained from scratch" in readme and f"{record['parameters']:,}" in readme
    assert str(tmp_path) not in readme and str(tmp_path) not in (tmp_path / "new" / "training.json").read_text()
    assert any("before training" in line for line in said)


def test_shrunk_encoder_is_trained_on(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_model).save_pretrained(tmp_path / "encoder")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "encoder")
    start = Start(
        model=str(tmp_path / "encoder"),
        keep_layers=(1,),
        feed_forward=48,
        vocab=500,
        keep_words=("terrible",),
    )
    text = Text((str(text_file),), held_out=0.1, length=32)
    record = adapt(text, start, replace(QUICK, max_steps=8, head_share=0.5), tmp_path / "small")
    assert record["new_head"] and record["shape"]["num_hidden_layers"] == 1
    model, tokenizer = load(tmp_path / "small")
    assert model.config.intermediate_size == 48 and len(tokenizer) <= 500
    assert len(tokenizer.tokenize("terrible")) == 1
    assert record["samples"] and all(sample["hidden"] for sample in record["samples"])
    assert json.loads((tmp_path / "small" / "tokenizer.json").read_text())["truncation"] is None


def test_new_head_is_first_trained_alone(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, head_share=0.99)  # of six steps all but the one at the very end
    run(text_file, tiny_model, tmp_path / "m", settings, stop=iter([False, True]).__next__)
    before = load_file(tmp_path / "m.work" / "start" / "model.safetensors")
    after = load_file(tmp_path / "m.work" / "checkpoint" / "model.safetensors")
    moved = {key for key in after if key in before and not torch.equal(after[key], before[key])}
    assert moved and not any(key.startswith("bert.") for key in moved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.0}, "--lr 0.0"),
        ({"mask_rate": 0.0}, "--mask-rate 0"),
        ({"warmup": 1.0}, "--warmup 1.0"),
        ({"max_minutes": -1.0}, "--max-minutes -1.0"),
    ],
)
def test_bad_settings_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PetError, match=message):
        Settings(**change)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (Start(), "--model"),
        (Start(layers=2, hidden=32), "--vocab"),
        (Start(layers=2, hidden=32, vocab=300, keep_layers=(0,)), "shrink a checkpoint"),
        (Start(model="x", layers=2), "from scratch"),
        (Start(layers=2, hidden=33, vocab=300), "--hidden 33"),
        (Start(layers=0, hidden=32, vocab=300), "--layers 0"),
    ],
)
def test_bad_starts_are_named(start: Start, message: str, text_file: Path, tmp_path: Path) -> None:
    with pytest.raises(PetError, match=message):
        adapt(Text((str(text_file),)), start, QUICK, tmp_path / "out")


def test_too_long_sequences_existing_folders_and_bad_prompts(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(PetError, match="--length 4000"):
        adapt(Text((str(text_file),), length=4000), Start(model=str(tiny_model)), QUICK, tmp_path / "out")
    with pytest.raises(PetError, match="--sample"):
        run(text_file, tiny_model, tmp_path / "out", prompts=["no blank"])
    (tmp_path / "there").mkdir()
    with pytest.raises(PetError, match="exists already"):
        run(text_file, tiny_model, tmp_path / "there")


def test_card_cannot_be_broken_by_text() -> None:
    assert card.command_line(["adapt", "--text", "/home/me/a b.txt", "../x.txt"]) == (
        "pet adapt --text 'a b.txt' ../x.txt"
    )
    assert "\n" not in card._line("a\n| b <script>") and "<" not in card._line("<b>")


def test_masking_leaves_padding_rows_of_the_embedding_alone(tiny_model: Path) -> None:
    model, tokenizer = load(tiny_model)
    model.resize_token_embeddings(len(tokenizer) + 7)
    words = vocabulary_of(tokenizer, model)
    assert isinstance(words, Vocabulary) and words.special[-7:].all() and words.ordinary.max() < len(tokenizer)


# --- the command -------------------------------------------------------------------------------------


def test_command_line(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    arguments = f"adapt --text {text_file} --model {tiny_model} --length 32 --max-steps 3 --batch-tokens 64 -o {out}"
    result = CliRunner().invoke(main, arguments.split())
    assert result.exit_code == 0, result.output
    assert "after" in result.stdout and f"pet run TASK --model {out}" in result.stdout
    assert "before training" in result.stderr
    again = CliRunner().invoke(main, arguments.split())
    assert again.exit_code == 2 and "exists already" in again.stderr
    as_json = CliRunner().invoke(main, [*arguments.split(), "--overwrite", "--json", "-q"])
    assert as_json.exit_code == 0 and json.loads(as_json.stdout)["step"] == 3
