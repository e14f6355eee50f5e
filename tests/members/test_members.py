"""Training a member, and scoring texts with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_text import LABELS, news_rows
from torch.nn import functional as F
from transformers import AutoTokenizer

from pet.backbones.masked import MaskedLM
from pet.backbones.trained import load_masked_lm
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.ragged import Ragged
from pet.cloze.tokens import TokenTable
from pet.members import scoring
from pet.members.scoring import score_rows
from pet.members.training import ClozeData, MemberObjective, member_batches, train_member
from pet.recipe import make_recipe
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer

ROWS = news_rows()
GOLD = np.array([LABELS.index(row["label"]) for row in ROWS])
WORDS = {
    "World": ("world", "terrible"),
    "Sports": ("sports",),
    "Business": ("business",),
    "Technology": ("technology",),
}
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def pvp(tokenizer) -> PVP:
    template = parse_template("{mask} : {text} || Topic: news.", ["text"])
    return bind_pattern(Pattern(template, Verbalizer(WORDS)), LABELS, tokenizer, 32)


def _tokens(pvp: PVP, texts: list[str]) -> TokenTable:
    key = pvp.encoder.keys[0]
    ids = pvp.encoder.plain.encode(texts, space_before=key.space_before, continuation=key.continuation)
    return {key: Ragged.from_rows(ids)}


@pytest.fixture(scope="module")
def tokens(pvp) -> TokenTable:
    return _tokens(pvp, [row["text"] for row in ROWS])


def _lm(folder: Path) -> MaskedLM:
    return MaskedLM(load_masked_lm(str(folder)))


def _recipe(**settings: Any) -> Any:
    return make_recipe("default", {"steps": 40, "labeled_batch": 8, "unlabeled_batch": 4, "max_length": 32, **settings})


# --- learning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("auxiliary", [False, True])
def test_a_member_learns_an_easy_task(tiny_model, tokenizer, pvp, tokens, accelerator, auxiliary):
    lm = _lm(tiny_model)
    before = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=2048).argmax(axis=1)
    data = ClozeData(tokens, GOLD, tokens if auxiliary else None)
    losses = train_member(lm, pvp, data, _recipe(steps=120).with_settings(learning_rate=3e-3), 1, accelerator)
    after = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=2048).argmax(axis=1)
    assert (before == GOLD).mean() < 0.6
    assert (after == GOLD).mean() > 0.95
    assert losses[-1] < 0.3 * losses[0]


def test_the_auxiliary_loss_lowers_the_mlm_loss_of_unlabeled_texts(tiny_model, tokenizer, pvp, tokens, accelerator):
    """With alpha 1 nothing but the masked tokens counts, and they become less surprising."""
    data = ClozeData(tokens, GOLD, tokens)
    recipe = _recipe(alpha=1.0, unlabeled_batch=16, labeled_batch=1, warmup=0.0)
    losses = train_member(_lm(tiny_model), pvp, data, recipe.with_settings(learning_rate=5e-3), 1, accelerator)
    assert losses[0] > 5
    assert losses[-1] < 0.9 * losses[0]


def test_the_same_seed_gives_the_same_weights(tiny_model, tokenizer, pvp, tokens, accelerator):
    def trained(seed: int, noise: int) -> bytes:
        torch.manual_seed(noise)  # what was drawn before must not matter
        lm = _lm(tiny_model)
        data = ClozeData(tokens, GOLD, tokens)
        train_member(
            lm, pvp, data, _recipe(steps=4, accumulation=2).with_settings(learning_rate=1e-3), seed, accelerator
        )
        return b"".join(p.detach().numpy().tobytes() for p in lm.parameters())

    first = trained(1, 10)
    assert trained(1, 11) == first
    assert trained(2, 10) != first


# --- batches and their loss --------------------------------------------------------------------------


def _first_batches(count: int, tokenizer: Any, pvp: PVP, data: ClozeData, seed: int = 0, **settings: Any) -> list[Any]:
    lm = _lm(Path(tokenizer.name_or_path))
    stream = member_batches(lm, pvp, data, _recipe(**settings).member, CPU, seed)
    return [next(stream) for _ in range(count)]


def test_batches_hold_labeled_rows_before_unlabeled_rows(tokenizer, pvp, tokens):
    data = ClozeData(tokens, GOLD, _tokens(pvp, ["The zebra slept in the stadium all night long again"] * 3))
    seen = []
    for batch in _first_batches(10, tokenizer, pvp, data, mlm_probability=0.3):
        ids, labels = batch["input_ids"], batch["labels"]
        assert ids.shape[0] == 8 + 4
        assert len(labels) == 8
        assert batch["rows"][:8].tolist() == list(range(8))
        assert (ids[batch["rows"][:8], batch["positions"][:8]] == tokenizer.mask_token_id).all()
        assert (ids[:8] == tokenizer.mask_token_id).sum() == 8  # nothing is hidden in labeled rows
        hidden = batch["rows"][8:]
        assert len(hidden) == len(batch["targets"]) >= 1
        assert (hidden >= 8).all()
        special = torch.tensor(tokenizer.all_special_ids)
        assert not torch.isin(batch["targets"], special).any()
        own_masks = batch["positions"][8:] == 1
        assert not own_masks.any()  # the pattern's own mask, which stands first, is never asked for
        seen += labels.tolist()
    assert sorted(seen) == sorted([*GOLD, *GOLD])  # two epochs of 40 rows


def test_labels_stay_with_their_rows(tokenizer, pvp, tokens):
    data = ClozeData(tokens, GOLD, None)
    by_text = {
        tuple(tokenizer(row["text"], add_special_tokens=False)["input_ids"]): label
        for row, label in zip(ROWS, GOLD, strict=True)
    }
    for batch in _first_batches(5, tokenizer, pvp, data):
        assert len(batch["targets"]) == 0
        for ids, label in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            assert by_text[tuple(ids[3 : ids.index(tokenizer.sep_token_id)])] == label


def test_masked_tokens_differ_between_batches_and_repeat_with_the_seed(tokenizer, pvp, tokens):
    data = ClozeData(tokens, GOLD, _tokens(pvp, ["The zebra slept in the stadium all night long"]))
    first, second = _first_batches(2, tokenizer, pvp, data, unlabeled_batch=1, mlm_probability=0.5)
    assert not torch.equal(first["input_ids"][8:], second["input_ids"][8:])
    again = _first_batches(2, tokenizer, pvp, data, unlabeled_batch=1, mlm_probability=0.5)[1]
    for name, values in second.items():
        assert torch.equal(values, again[name])
    other = _first_batches(1, tokenizer, pvp, data, seed=1, unlabeled_batch=1, mlm_probability=0.5)[0]
    assert not torch.equal(first["labels"], other["labels"])


@pytest.mark.parametrize("auxiliary", [False, True])
def test_the_loss_equals_that_of_the_full_model_output(tiny_model, tokenizer, pvp, tokens, auxiliary):
    lm = _lm(tiny_model).eval()
    data = ClozeData(tokens, GOLD, tokens if auxiliary else None)
    batch = _first_batches(1, tokenizer, pvp, data)[0]
    logits = lm.model(**{n: batch[n] for n in ("input_ids", "attention_mask", "token_type_ids")}).logits
    at = logits[batch["rows"], batch["positions"]]
    words = at[: len(batch["labels"])][:, pvp.words]
    scores = torch.stack([words[:, :2].mean(dim=1), words[:, 2], words[:, 3], words[:, 4]], dim=1)
    expected = F.cross_entropy(scores, batch["labels"])
    if auxiliary:
        expected = 0.7 * expected + 0.3 * F.cross_entropy(at[len(batch["labels"]) :], batch["targets"])
    torch.testing.assert_close(MemberObjective(lm, pvp, 0.3)(batch), expected)


# --- scoring -----------------------------------------------------------------------------------------


def _one_by_one(lm: MaskedLM, tokenizer: Any, pvp: PVP, texts: list[str]) -> np.ndarray:
    """Scores from the tokenizer's own encoding and the whole model, a row at a time."""
    rows = []
    for text in texts:
        encoded = tokenizer(f"[MASK] : {text}", "Topic: news.", return_tensors="pt")
        place = encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)
        with torch.no_grad():
            logits = lm.model(**encoded).logits[0, place]
        words = {label: [tokenizer.convert_tokens_to_ids(word) for word in group] for label, group in WORDS.items()}
        rows.append([float(logits[words[label]].mean()) for label in LABELS])
    return np.array(rows)


def test_scores_equal_those_of_single_rows_for_any_token_budget(tiny_model, tokenizer, pvp, accelerator, monkeypatch):
    texts = [" ".join([row["text"]] * (1 + i % 2)) for i, row in enumerate(ROWS[:20])] + ["", "no"]
    texts = [" ".join(text.split()[:12]) for text in texts]
    lm = _lm(tiny_model).eval()
    tokens = _tokens(pvp, texts)
    assert not pvp.encoder.encode(tokens).cut.any()
    expected = _one_by_one(lm, tokenizer, pvp, texts)
    monkeypatch.setattr(scoring, "CHUNK_ROWS", 9)
    for max_tokens in (1, 100, 100_000):
        done: list[int] = []
        found = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=max_tokens, on_rows=done.append)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert sum(done) == len(texts)


def test_scores_can_be_written_to_a_memory_map(tiny_model, tokenizer, pvp, tokens, accelerator, tmp_path: Path):
    out = np.lib.format.open_memmap(tmp_path / "s.npy", mode="w+", dtype=np.float32, shape=(len(ROWS), 4))
    lm = _lm(tiny_model)
    assert score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=512, out=out) is out
    out.flush()
    expected = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=512)
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), expected)


def test_an_empty_table_can_be_scored(tiny_model, tokenizer, pvp, accelerator):
    scores = score_rows(_lm(tiny_model), tokenizer, pvp, _tokens(pvp, []), accelerator, max_tokens=512)
    assert scores.shape == (0, 4)
