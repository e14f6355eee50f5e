"""T5-like and causal models, compared with straightforward computations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from families import CAUSAL, ENCODER_DECODERS, POSITIONS, STATEFUL
from tiny_text import LABELS, news_rows
from torch import Tensor
from transformers import AutoTokenizer

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.kinds import kind_of, language_model, open_model
from pet.backbones.masked import position_limit
from pet.backbones.words import plan_paths
from pet.cloze.blank import end_blank
from pet.cloze.encode import ClozeEncoder
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.ragged import Encoded, Ragged
from pet.cloze.tokens import TokenTable
from pet.errors import PetError
from pet.members.scoring import score_rows
from pet.members.training import ClozeData, MemberObjective, member_batches, train_member
from pet.recipe import make_recipe
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer
from pet.training.spans import IGNORED, SpanRule, corrupt_spans

EVERY = [*ENCODER_DECODERS, *CAUSAL]
SINGLE = {"World": ("world", "terrible"), "Sports": ("sports",), "Business": ("business",), "Technology": ("news",)}
# "new york" and "new yorker" share their first tokens; "good" is one token in every family.
SEVERAL = {
    "World": ("new york", "politics"),
    "Sports": ("football",),
    "Business": ("good",),
    "Technology": ("new yorker",),
}
PATTERNS = ("Topic of {text} It was {mask}.", "{text} || All in all ({mask})")
TEXTS = [
    "The team won.",
    "",
    "The river rose in the night and the old bridge was closed before the first bus came.",
    "no",
    "Zürich </s> <extra_id_0> <extra_id_5> <|endoftext|> <s>",
]
ROWS = news_rows()
GOLD = np.array([LABELS.index(row["label"]) for row in ROWS])

pytestmark = pytest.mark.usefixtures("one_thread")
every_family = pytest.mark.parametrize("name", EVERY)


def opened(folder: Path, noise: float = 0.4) -> tuple[LanguageModel, Any]:
    """A model whose scores differ between texts; those of newly initialized models hardly do."""
    model = open_model(str(folder))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += noise * torch.randn(parameter.shape, generator=generator)
    return language_model(model), AutoTokenizer.from_pretrained(folder)


def bound(folder: Path, pattern: str, words: Any, length: int = 40, **options: Any) -> PVP:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    blank = ModelInfo(str(folder)).blank
    parsed = Pattern(parse_template(pattern, ["text"]), Verbalizer(words))
    return bind_pattern(parsed, LABELS, tokenizer, length, blank=blank, **options)


def tokens_of(pvp: PVP, texts: list[str]) -> TokenTable:
    key = pvp.encoder.keys[0]
    plain = pvp.encoder.plain
    return {key: Ragged.from_rows(plain.encode(texts, space_before=key.space_before, continuation=key.continuation))}


def spelled(pvp: PVP) -> list[list[tuple[int, ...]]]:
    """Return the tokens of each label's words, from the flat arrays."""
    words: list[list[tuple[int, ...]]] = [[] for _ in LABELS]
    for i, token in enumerate(pvp.words.tolist()):
        if i + 1 == len(pvp.words) or not pvp.before[i + 1]:  # its last token
            words[int(pvp.word_to_label[i].argmax())].append((*pvp.before[i], token))
    return words


def log_probability(model: Any, row: list[int], word: tuple[int, ...], start: list[int]) -> float:
    """Score a word after a row with the whole model: one text, one word, no padding."""
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            behind = torch.tensor([[*start, *word]])
            logits = model(input_ids=torch.tensor([row]), decoder_input_ids=behind).logits[0, len(start) - 1 :]
        else:
            logits = model(input_ids=torch.tensor([[*row, *word]])).logits[0, len(row) - 1 :]
    found = logits.log_softmax(dim=-1)
    return sum(float(found[i, token]) for i, token in enumerate(word))


def plain_scores(lm: LanguageModel, pvp: PVP, rows: Encoded, mean: bool = False) -> np.ndarray:
    start = [0, *pvp.encoder.blank.ids]
    scores = [
        [
            float(
                np.mean(
                    [
                        log_probability(lm.model, rows.ids[i].tolist(), word, start) / (len(word) if mean else 1)
                        for word in words
                    ]
                )
            )
            for words in spelled(pvp)
        ]
        for i in range(len(rows))
    ]
    return np.asarray(scores)


# --- what a model reads ------------------------------------------------------------------------------


@every_family
def test_filled_patterns_equal_the_tokenizers_own_encoding(family_model, name):
    folder = family_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pvp = bound(folder, PATTERNS[0], SINGLE)
    row = pvp.encoder.encode(tokens_of(pvp, ["The team won."]))
    before = "Topic of The team won. It was"
    if name in CAUSAL:
        expected = tokenizer(before)["input_ids"]
        assert row.mask_position.tolist() == [len(expected)]
    else:
        dot = pvp.encoder.plain.literal(".", space_before=False, continuation=True)
        ids = tokenizer(before, add_special_tokens=False)["input_ids"]
        expected = [*ids, tokenizer.convert_tokens_to_ids(tokenizer.convert_ids_to_tokens(pvp.encoder.blank.ids[0]))]
        expected += [*dot, tokenizer.eos_token_id]
        assert row.mask_position.tolist() == [len(ids)]
        assert "<extra_id_0>" in tokenizer.convert_ids_to_tokens(pvp.encoder.blank.ids[0])
    assert row.ids[0].tolist() == expected


def test_no_space_is_added_for_a_tokenizer_that_adds_its_own():
    """Llama 2's tokenizer adds a space itself."""
    from tokenizers import Tokenizer, models, normalizers
    from transformers import PreTrainedTokenizerFast

    letters = {mark: i for i, mark in enumerate(sorted(set('▁.:()"-worde nthamiI')))}
    inner = Tokenizer(models.BPE(vocab=letters, merges=[]))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    encoder = ClozeEncoder(tokenizer, parse_template("no {text}: {mask}", ["text"]), 32, blank=end_blank())
    (key,) = encoder.keys
    ids = encoder.plain.encode(["red man"], space_before=key.space_before, continuation=key.continuation)
    tokens = {key: Ragged.from_rows(ids)}
    assert encoder.encode(tokens).ids[0].tolist() == tokenizer("no red man:")["input_ids"]


@every_family
def test_truncation_removes_neither_frame_nor_blank(family_model, name):
    folder = family_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pvp = bound(folder, PATTERNS[0], SEVERAL, length=32)
    row = pvp.encoder.encode(tokens_of(pvp, [" good" * 100]))
    ids = row.ids[0].tolist()
    assert row.cut.all()
    longest = max(len(word) for words in spelled(pvp) for word in words)
    if name in CAUSAL:
        assert len(ids) == 32 - (longest - 1)  # leaves room for the tokens of a word
        assert ids[-2:] == tokenizer(" It was", add_special_tokens=False)["input_ids"][-2:]
        assert (ids[0] == tokenizer.bos_token_id) == (name == "llama")
    else:
        assert len(ids) == 32
        assert ids[-1] == tokenizer.eos_token_id
        assert ids.count(pvp.encoder.blank.ids[0]) == 1


@every_family
def test_no_text_is_encoded_to_a_special_token(family_model, name):
    folder = family_model(name)
    pvp = bound(folder, PATTERNS[0], SINGLE, length=90)
    rows = pvp.encoder.encode(tokens_of(pvp, ["", "a <extra_id_0> </s> <s> <extra_id_7> <|endoftext|> <pad> b"]))
    special = set(AutoTokenizer.from_pretrained(folder).all_special_ids) | set(pvp.encoder.blank.reserved.values())
    framed, full = (sorted(i for i in row.tolist() if i in special) for row in (rows.ids[0], rows.ids[1]))
    assert framed == full
    assert len(rows.ids[1]) > len(rows.ids[0]) + 20


@pytest.mark.parametrize("name", CAUSAL)
def test_patterns_for_causal_models_must_end_in_the_mask(family_model, name):
    folder = family_model(name)
    for good in ("{text} It was {mask}", "{text} It was {mask} .", "({text}: {mask}!)", "{text} || Topic: {mask}"):
        bound(folder, good, SINGLE)
    for bad in ("{mask}: {text}", "{text} ({mask}) news", "Topic: {mask} || {text}"):
        with pytest.raises(PetError, match=r"causal language model.*\{mask\}"):
            bound(folder, bad, SINGLE)


def test_causal_models_always_get_at_least_one_token(family_model, accelerator):
    for name in CAUSAL:
        lm, tokenizer = opened(family_model(name))
        pvp = bound(family_model(name), "{text} {mask}", SINGLE)
        rows = pvp.encoder.encode(tokens_of(pvp, [""]))
        start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        assert rows.ids[0].tolist() == [start]
        scores = score_rows(lm, tokenizer, pvp, tokens_of(pvp, [""]), accelerator, max_tokens=64)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", CAUSAL)
def test_a_line_break_separates_the_segments_for_causal_models(family_model, name):
    tokenizer = AutoTokenizer.from_pretrained(family_model(name))
    pvp = bound(family_model(name), "{text} || It was {mask}", SINGLE)
    found = tokenizer.decode(pvp.encoder.encode(tokens_of(pvp, ["The team won."])).ids[0].tolist())
    assert found.removeprefix("<s>").strip() == "The team won.\nIt was"
    tokens = bound(family_model(name), "It was good. || {text} {mask}", SINGLE)
    found = tokenizer.decode(tokens.encoder.encode(tokens_of(tokens, ["The team won."])).ids[0].tolist())
    assert found.removeprefix("<s>").strip() == "It was good.\nThe team won."
    alone = bound(family_model(name), "{text} || {mask}", SINGLE)
    assert [tokenizer.decode(word) for word in spelled(alone)[1]] == ["sports"]


def test_a_word_directly_after_a_bracket_has_no_space(family_model):
    tokenizer = AutoTokenizer.from_pretrained(family_model("gpt2"))
    continuation = bound(family_model("gpt2"), "{text} ({mask})", SINGLE)
    spaced = bound(family_model("gpt2"), "{text} It is {mask}", SINGLE)
    assert tokenizer.decode(spelled(continuation)[1][0]) == "sports"
    assert tokenizer.decode(spelled(spaced)[1][0]) == " sports"


def test_equal_tokens_for_two_labels_are_rejected(family_model):
    words = {**SEVERAL, "Sports": ("new york",)}
    with pytest.raises(PetError, match=r"'new york' of label 'Sports' .* 'new york' of label 'World'"):
        bound(family_model("gpt2"), PATTERNS[0], words)


# --- scores ------------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("words", [SINGLE, SEVERAL], ids=["single", "several"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_scores_equal_a_plain_computation(family_model, accelerator, name, pattern, words):
    lm, tokenizer = opened(family_model(name))
    pvp = bound(family_model(name), pattern, words)
    tokens = tokens_of(pvp, TEXTS)
    expected = plain_scores(lm.eval(), pvp, pvp.encoder.encode(tokens))
    assert expected.std(axis=0).min() > 1e-2  # scores differ between texts
    for most in (4096, 90, 1):
        found = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=most)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize("words", [SINGLE, SEVERAL], ids=["single", "several"])
def test_recurrent_models_read_a_text_again_for_each_word(family_model, accelerator, name, words):
    """Padding must not reach their state either."""
    if not hasattr(transformers, STATEFUL[name].config):
        pytest.skip(f"this transformers has no {name}")
    lm, tokenizer = opened(family_model(name), noise=0.1)
    pvp = bound(family_model(name), PATTERNS[0], words)
    tokens = tokens_of(pvp, TEXTS)
    expected = plain_scores(lm.eval(), pvp, pvp.encoder.encode(tokens))
    for most in (4096, 1):
        found = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=most)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["rwkv", "xlstm"])
def test_models_that_read_padding_as_text_are_rejected(kind):
    with pytest.raises(PetError, match="padding"):
        kind_of(SimpleNamespace(model_type=kind, name_or_path="x", is_encoder_decoder=False))


def test_multi_token_words_make_batches_smaller(family_model, accelerator, monkeypatch):
    """The batch size accounts for the row of every word prefix."""
    lm, tokenizer = opened(family_model("gpt2"))
    sizes: dict[str, list[int]] = {"single": [], "several": []}
    for name, words in (("single", SINGLE), ("several", SEVERAL)):
        pvp = bound(family_model("gpt2"), PATTERNS[0], words)

        def noting(encoded: Encoded, rows: Any, pad: int, make: Any = lm.scoring_batch, seen: Any = sizes[name]) -> Any:
            seen.append(len(rows))
            return make(encoded, rows, pad)

        monkeypatch.setattr(lm, "scoring_batch", noting)
        score_rows(lm, tokenizer, pvp, tokens_of(pvp, ["no"] * 40), accelerator, max_tokens=256)
        monkeypatch.undo()
    assert lm.rows_per_text(pvp) > 2
    assert max(sizes["single"]) >= 2 * max(sizes["several"])
    assert sum(sizes["single"]) == sum(sizes["several"]) == 40


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_a_word_can_be_scored_by_the_mean_of_its_tokens(family_model, accelerator, name):
    lm, tokenizer = opened(family_model(name))
    pvp = bound(family_model(name), PATTERNS[0], SEVERAL, mean_of_tokens=True)
    tokens = tokens_of(pvp, TEXTS)
    expected = plain_scores(lm.eval(), pvp, pvp.encoder.encode(tokens), mean=True)
    found = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=4096)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@every_family
@pytest.mark.parametrize("words", [SINGLE, SEVERAL], ids=["single", "several"])
def test_each_text_is_read_once_for_all_words(family_model, accelerator, name, words):
    """Counts the tokens that go through the encoder, or through all layers of a causal model."""
    lm, tokenizer = opened(family_model(name))
    pvp = bound(family_model(name), PATTERNS[0], words)
    tokens = tokens_of(pvp, TEXTS[:1])
    seen: list[int] = []
    reader: Any = lm.model.get_encoder() if name in ENCODER_DECODERS else lm.model
    reader.register_forward_pre_hook(lambda _, __, given: seen.append(given["input_ids"].numel()), with_kwargs=True)
    score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=4096)
    length = len(pvp.encoder.encode(tokens).ids[0])
    paths = plan_paths(pvp.before)
    assert seen[0] == length
    further = len(paths.rows) * paths.width if name in CAUSAL else 0
    assert sum(seen) == length + further
    assert (further == 0) == (name in ENCODER_DECODERS or words is SINGLE)


def test_paths_are_the_maximal_prefixes():
    paths = plan_paths(((), (), (1,), (1, 2), (), (1,), (), (3,)))
    assert paths.rows == ((1, 2), (3,))
    assert paths.contexts == ((), (1,), (1, 2), (3,))
    assert paths.row_of == (0, 0, 0, 1)
    assert paths.padded(torch.device("cpu")).tolist() == [[1, 2], [3, 0]]
    assert plan_paths(((), ())).padded(torch.device("cpu")).shape == (1, 0)


@every_family
def test_rows_of_maximum_length_are_scored(family_model, accelerator, name):
    lm, tokenizer = opened(family_model(name))
    assert position_limit(lm.model) == (POSITIONS if name in CAUSAL else 1 << 20)
    pvp = bound(family_model(name), PATTERNS[0], SEVERAL, length=POSITIONS)
    scores = score_rows(lm, tokenizer, pvp, tokens_of(pvp, [" good" * 200]), accelerator, max_tokens=4096)
    assert np.isfinite(scores).all()


# --- training ----------------------------------------------------------------------------------------


def recipe(**settings: Any) -> Any:
    return make_recipe("default", {"steps": 40, "labeled_batch": 8, "unlabeled_batch": 4, "max_length": 40, **settings})


@every_family
def test_a_member_learns_an_easy_task(family_model, accelerator, name):
    lm, tokenizer = opened(family_model(name), noise=0)
    pvp = bound(family_model(name), PATTERNS[0], SEVERAL if name == "llama" else SINGLE)
    tokens = tokens_of(pvp, [row["text"] for row in ROWS])
    rate = 1e-2 if name in ENCODER_DECODERS else 5e-3
    data = ClozeData(tokens, GOLD, tokens)
    losses = train_member(lm, pvp, data, recipe(steps=80).with_settings(learning_rate=rate), 1, accelerator)
    after = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=2048).argmax(axis=1)
    assert losses[-1] < 0.75 * losses[0]
    assert (after == GOLD).mean() > 0.7  # chance is 0.25


@every_family
def test_the_auxiliary_loss_lowers_the_loss_of_the_text(family_model, accelerator, name):
    lm, _tokenizer = opened(family_model(name), noise=0)
    pvp = bound(family_model(name), PATTERNS[0], SINGLE)
    tokens = tokens_of(pvp, [row["text"] for row in ROWS])
    plan = recipe(alpha=1.0, unlabeled_batch=16, labeled_batch=1, warmup=0.0)
    losses = train_member(
        lm, pvp, ClozeData(tokens, GOLD, tokens), plan.with_settings(learning_rate=1e-2), 1, accelerator
    )
    assert losses[-1] < 0.9 * losses[0]


@every_family
@pytest.mark.parametrize("words", [SINGLE, SEVERAL], ids=["single", "several"])
def test_losses_of_a_batch_equal_those_of_single_rows(family_model, name, words):
    """Compare both losses with those of transformers, one row at a time."""
    lm, _tokenizer = opened(family_model(name))
    lm.eval()
    pvp = bound(family_model(name), PATTERNS[0], words)
    tokens = tokens_of(pvp, [row["text"] for row in ROWS])
    stream = member_batches(lm, pvp, ClozeData(tokens, GOLD, tokens), recipe().member, torch.device("cpu"), 0)
    batch = next(stream)
    real = batch["attention_mask"].bool()
    rows = [ids[keep].numpy() for ids, keep in zip(batch["input_ids"], real, strict=True)]
    width = len(rows)
    encoded = Encoded(Ragged.from_rows(rows), *(np.zeros(width) for _ in range(4)))
    scores = torch.from_numpy(plain_scores(lm, pvp, encoded))
    expected = 0.7 * torch.nn.functional.cross_entropy(scores, batch["labels"])
    expected += 0.3 * plain_text_loss(lm.model, batch)
    torch.testing.assert_close(MemberObjective(lm, pvp, 0.3)(batch), expected.float(), atol=1e-4, rtol=1e-4)


def plain_text_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean over all targets of the losses that transformers computes for single rows."""
    total, count = torch.zeros(()), 0
    both = model.config.is_encoder_decoder
    rows = batch["text_ids"], batch["text_attention_mask"].bool(), batch["text_targets"]
    for ids, real, targets in zip(*rows, strict=True):
        labels = targets[targets != IGNORED] if both else targets[real]
        asked = int((labels[0 if both else 1 :] != IGNORED).sum())
        total += model(input_ids=ids[real][None], labels=labels[None]).loss.detach() * asked
        count += asked
    return total / count


@pytest.mark.parametrize("name", ["t5", "gpt2"])
def test_a_saved_model_gives_the_same_scores(family_model, accelerator, name, tmp_path: Path):
    lm, tokenizer = opened(family_model(name))
    pvp = bound(family_model(name), PATTERNS[0], SEVERAL)
    tokens = tokens_of(pvp, TEXTS)
    train_member(
        lm,
        pvp,
        ClozeData(tokens, np.zeros(5, int), None),
        recipe(steps=2).with_settings(learning_rate=1e-2),
        1,
        accelerator,
    )
    expected = score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=512)
    lm.model.save_pretrained(tmp_path)
    again = language_model(open_model(str(tmp_path)))
    np.testing.assert_array_equal(score_rows(again, tokenizer, pvp, tokens, accelerator, max_tokens=512), expected)


# --- spans -------------------------------------------------------------------------------------------


def test_spans_and_remaining_tokens_make_up_the_row():
    generator = np.random.default_rng(0)
    rule = SpanRule(tuple(range(900, 800, -1)), (1,), 0, 0.3)
    for length in (2, 3, 5, 40, 200):
        ids = np.arange(10, 10 + length)
        ordinary = np.ones(length, dtype=bool)
        ordinary[-1] = False  # a row ends in a special token
        row = Encoded(Ragged.from_rows([ids]), ids * 0, ordinary, np.array([length // 2]), np.zeros(1, bool))
        for _ in range(20):
            source, attention, target = corrupt_spans(row, rule, generator)
            assert attention.all()
            spans: dict[int, list[int]] = {}
            for token in target[0, :-1].tolist():
                if token > 800:
                    spans[token] = []
                else:
                    spans[list(spans)[-1]].append(token)
            joined = [i for token in source[0].tolist() for i in spans.get(token, [token])]
            assert joined == [i for i in ids.tolist() if i != ids[length // 2]]  # all but the mask
            assert target[0, -1] == 1
            assert list(spans) == list(range(900, 900 - len(spans), -1))  # in order, plus one at the end
            assert not spans or spans[list(spans)[-1]] == []


def test_spans_have_the_given_share_and_mean_length():
    generator = np.random.default_rng(0)
    ids = np.arange(10, 510)
    row = Encoded(Ragged.from_rows([ids]), ids * 0, ids > 0, np.array([-1]), np.zeros(1, bool))
    source, _, target = corrupt_spans(row, SpanRule(tuple(range(900, 800, -1)), (1,), 0), generator)
    assert (source > 800).sum() == 25
    assert ((target > 1) & (target < 800)).sum() == 75
