"""Filling patterns, with the tokenizer of every model family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import families
import numpy as np
import pytest
from families import FAMILIES
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_text import WORDS
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pet.cloze.encode import ClozeEncoder, token_keys
from pet.cloze.frame import probe_frame
from pet.cloze.pvp import bind_pattern
from pet.cloze.ragged import Encoded, Ragged
from pet.cloze.tokens import FieldKey, PlainTextTokenizer, tokenize_fields
from pet.cloze.words import word_token
from pet.errors import PetError
from pet.task.filters import apply_filters
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer
from pet.training.batching import pad_rows

FIELDS = ("a", "b")
MAX_LENGTH = 64
PATTERNS = (
    "{mask}: {a} {b}",
    "{mask} Topic: {a} {b}",
    "{a} ({mask}) {b}",
    "[ Category: {mask} ] {a} {b}",
    "{a}. All in all, it was {mask}! {b}",
    'He said "{a}" and ({b})? {mask}.',
    "{{{a}}} is {mask} {{ {b} }}",
    "{a} {b} || Topic: {mask}.",
    "{a}? || {mask}, {b}",
    '"{a}" || {mask}. "{b}"',
)
TEXT_COLUMN = datasets.Features({"a": datasets.Value("string")})
STANDS_FOR_MASK = "terrible"  # a single token in every family
SIMPLE = [*(word for word in WORDS if word != STANDS_FOR_MASK), "river", "bridge", "he", "zebra", "quickly"]
BYTE_LEVEL = ("roberta", "modernbert")
UNIGRAM = ("xlm-r", "albert", "deberta-v2", "deberta-v3")

every_family = pytest.mark.parametrize("name", list(FAMILIES))
few = settings(max_examples=30, deadline=None)

simple_text = st.lists(st.sampled_from(SIMPLE), min_size=1, max_size=4).map(" ".join)
NASTY = "[MASK] </s> <s> <mask> <MASK> [CLS] [SEP] [sep] <pad> <PAD> [PAD] <unk> ＜/ｓ＞ ＜ｐａｄ＞ ##s ▁ Ġ"
NASTY += " { } {{ {text} || 😀 👩\u200d👩\u200d👧 é 漢字 good news x 's ."
nasty = st.sampled_from([*NASTY.split(), " ", "\n", "\t", "\x00", "\u200b", "\ufeff", "\u2028"])
nasty_text = st.one_of(st.lists(nasty, max_size=12).map("".join), st.lists(nasty, max_size=12).map(" ".join), st.text())


@pytest.fixture(scope="session")
def tokenizer_of(family_model):
    return cache(lambda name: AutoTokenizer.from_pretrained(family_model(name)))


@pytest.fixture(scope="session")
def encoder_of(tokenizer_of):
    """``encoder_of(name, pattern, max_length)``, cached."""

    @cache
    def make(name: str, pattern: str, max_length: int = MAX_LENGTH) -> ClozeEncoder:
        return ClozeEncoder(tokenizer_of(name), parse_template(pattern, FIELDS), max_length)

    return make


def tokens_of(encoder: ClozeEncoder, rows: Sequence[Mapping[str, str]]) -> dict[FieldKey, Ragged]:
    """Like `tokenize_fields`, without a table."""
    table = {}
    for key in token_keys([encoder]):
        texts = [apply_filters(row[key.name], key.filters) for row in rows]
        ids = encoder.plain.encode(texts, space_before=key.space_before, continuation=key.continuation)
        table[key] = Ragged.from_rows(ids)
    return table


def fill(encoder: ClozeEncoder, *rows: Mapping[str, str]) -> Encoded:
    return encoder.encode(tokens_of(encoder, rows))


def own_encoding(tokenizer: Any, pattern: str, row: Mapping[str, str]) -> tuple[list[int], list[int]]:
    """Return the ids and types that the tokenizer itself produces for the filled pattern.

    A word is encoded in place of the mask and then replaced by it, as in pretraining: directly after
    a special token, some tokenizers see the start of a word where there is none.
    """
    template = parse_template(pattern, FIELDS)
    texts = template.render(row, mask=STANDS_FOR_MASK).split(" || ")
    encoded = tokenizer(*texts)
    ids = list(encoded["input_ids"])
    types = list(encoded.get("token_type_ids", [0] * len(ids)))
    starts_segment = any(text.startswith(STANDS_FOR_MASK) for text in texts)
    if starts_segment:
        word = tokenizer(STANDS_FOR_MASK, add_special_tokens=False)["input_ids"]
    else:
        word = _word_in_place(tokenizer, pattern)
    places = [i for i in range(len(ids)) if ids[i : i + len(word)] == word]
    assert len(places) == 1, (texts, tokenizer.convert_ids_to_tokens(ids))
    at, stop = places[0], places[0] + len(word)
    return [*ids[:at], tokenizer.mask_token_id, *ids[stop:]], types[: at + 1] + types[stop:]


def _word_in_place(tokenizer: Any, pattern: str) -> list[int]:
    """Return the ids of the word after a space, or after the bracket before the pattern's mask."""
    if "({mask}" not in pattern:
        return word_token(tokenizer, STANDS_FOR_MASK)
    before = tokenizer("they (", add_special_tokens=False)["input_ids"]
    return tokenizer(f"they ({STANDS_FOR_MASK}", add_special_tokens=False)["input_ids"][len(before) :]


# --- splicing ----------------------------------------------------------------------------------------


@every_family
@few
@given(pattern=st.sampled_from(PATTERNS), a=simple_text, b=simple_text)
def test_spliced_ids_equal_those_of_the_tokenizer(encoder_of, tokenizer_of, name, pattern, a, b):
    row = {"a": a, "b": b}
    encoded = fill(encoder_of(name, pattern), row)
    ids, types = own_encoding(tokenizer_of(name), pattern, row)
    show = tokenizer_of(name).convert_ids_to_tokens
    assert show(list(encoded.ids[0])) == show(ids)
    assert list(encoded.types) == types
    assert not encoded.cut.any()


@every_family
@few
@given(
    pattern=st.sampled_from(PATTERNS),
    rows=st.lists(st.fixed_dictionaries({"a": nasty_text, "b": nasty_text}), min_size=1, max_size=3),
    max_length=st.sampled_from([26, 40, MAX_LENGTH]),
)
def test_every_row_has_exactly_one_mask_whatever_the_text(encoder_of, tokenizer_of, name, pattern, rows, max_length):
    encoder, tokenizer = encoder_of(name, pattern, max_length), tokenizer_of(name)
    rows = [*rows, {"a": "good news " * 40, "b": rows[0]["b"] * 9}]
    encoded = fill(encoder, *rows)
    assert len(encoded) == len(rows)
    known = {i for piece in encoder._pieces for i in piece.ids} | {tokenizer.unk_token_id}
    for i in range(len(rows)):
        ids = list(encoded.ids[i])
        assert encoder.fixed_length <= len(ids) <= max_length
        assert [p for p, token in enumerate(ids) if token == tokenizer.mask_token_id] == [encoded.mask_position[i]]
        ordinary = encoded.ordinary[encoded.ids.offsets[i] : encoded.ids.offsets[i + 1]]
        # only the frame and the mask are special, nothing from the user's text
        special = [token in tokenizer.all_special_ids for token in ids]
        assert list(~ordinary) == special
        assert set(np.array(ids)[special]) <= known
        assert (
            sum(special) - ids.count(tokenizer.unk_token_id)
            == 1 + probe_frame(tokenizer, len(encoder.template.segments)).size
        )


@every_family
def test_encoding_a_row_does_not_depend_on_the_other_rows(encoder_of, name):
    encoder = encoder_of(name, "{a}? || {mask}, {b}")
    rows = [{"a": "good " * n, "b": "bad " * (40 - n)} for n in (3, 0, 40, 17)]
    tokens = tokens_of(encoder, rows)
    whole = encoder.encode(tokens)
    some = encoder.encode(tokens, np.array([2, 0]))
    for i, row in enumerate((2, 0)):
        assert list(some.ids[i]) == list(whole.ids[row])
        assert some.mask_position[i] == whole.mask_position[row]
        assert some.cut[i] == whole.cut[row]


# --- users' text -------------------------------------------------------------------------------------


@every_family
@few
@given(texts=st.lists(nasty_text, min_size=1, max_size=4), space_before=st.booleans(), continuation=st.booleans())
def test_no_text_is_encoded_to_a_special_token(tokenizer_of, name, texts, space_before, continuation):
    tokenizer = tokenizer_of(name)
    plain = _plain(tokenizer)
    forbidden = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for text, ids in zip(texts, plain.encode(texts, space_before=space_before, continuation=continuation), strict=True):
        assert not forbidden & set(ids), (text, tokenizer.convert_ids_to_tokens(ids))


@cache
def _plain(tokenizer: Any) -> PlainTextTokenizer:
    return PlainTextTokenizer(tokenizer, 10_000)


@every_family
@pytest.mark.parametrize("continuation", [False, True])
@pytest.mark.parametrize(
    "text",
    ["[MASK]", "a</s>b </s> c", "<mask>", "{x} {{y}} }{", "<pad> and <PAD>", "[SEP][CLS]", "<s>s</s>s"],
)
def test_text_like_a_special_token_is_encoded_as_characters(tokenizer_of, name, text, continuation):
    tokenizer = tokenizer_of(name)
    ids = _plain(tokenizer).encode([text], continuation=continuation)[0]
    assert tokenizer.unk_token_id not in ids
    shown = "".join(tokenizer.decode(ids, clean_up_tokenization_spaces=False).split())
    assert shown.lower() == "".join(text.split()).lower()


@every_family
@pytest.mark.parametrize("text", ["", "   ", "\n\t \u2003"])
def test_whitespace_alone_has_no_tokens(tokenizer_of, name, text):
    for space_before in (False, True):
        for continuation in (False, True):
            assert _plain(tokenizer_of(name)).encode([text], space_before=space_before, continuation=continuation) == [
                []
            ]


@every_family
def test_emoji_have_tokens_and_leave_one_mask(encoder_of, tokenizer_of, name):
    encoded = fill(encoder_of(name, "{mask}: {a} {b}"), {"a": "😀😀", "b": "😀"})
    ids = list(encoded.ids[0])
    assert len(ids) > encoder_of(name, "{mask}: {a} {b}").fixed_length
    assert ids.count(tokenizer_of(name).mask_token_id) == 1


@every_family
def test_texts_of_100_000_characters_are_truncated(encoder_of, tokenizer_of, name):
    encoder = encoder_of(name, "{a} || It was {mask}. {b}")
    texts = ["good news " * 10_000, "x" * 100_000, "😀" * 100_000, "</s>[MASK]" * 10_000, " " * 100_000]
    encoded = fill(encoder, *({"a": text, "b": "short"} for text in texts))
    for i in range(len(texts)):
        ids = list(encoded.ids[i])
        assert len(ids) <= MAX_LENGTH
        assert ids.count(tokenizer_of(name).mask_token_id) == 1
    assert encoded.cut[0]
    assert not encoded.cut[4]
    assert encoded.ids.lengths[0] == MAX_LENGTH


# --- the leading space -------------------------------------------------------------------------------


@every_family
def test_the_effect_of_a_preceding_space_is_detected(tokenizer_of, name):
    plain = _plain(tokenizer_of(name))
    assert plain.spaces_matter == (name in BYTE_LEVEL)
    assert plain.continuation_matters == (name in UNIGRAM)
    mark = "Ġ" if name in BYTE_LEVEL else "▁" if name in UNIGRAM else ""

    def shown(**place: bool) -> str:
        return "".join(tokenizer_of(name).convert_ids_to_tokens(plain.encode(["good"], **place)[0]))

    assert shown(space_before=True) == mark + "good"
    assert shown(continuation=True).replace("##", "") == "good"
    assert shown().replace("##", "") == ("▁good" if name in UNIGRAM else "good")


@every_family
def test_punctuation_after_a_word_has_no_word_start_marker(tokenizer_of, name):
    tokenizer = tokenizer_of(name)
    for sign in (".", ":", ",", ")", "?"):
        ids = _plain(tokenizer).literal(sign, space_before=False, continuation=True)
        assert tokenizer.convert_ids_to_tokens(ids) == [sign]


@every_family
def test_patterns_share_a_tokenized_field_where_possible(tokenizer_of, name):
    templates = [parse_template(pattern, FIELDS) for pattern in ("{a} {mask}", "It {a} {mask}", "({a}) {mask}")]
    keys = token_keys(ClozeEncoder(tokenizer_of(name), template, 32) for template in templates)
    assert len(keys) == (2 if name in BYTE_LEVEL + UNIGRAM else 1)


def test_tokenized_fields_are_equal_in_memory_and_memory_mapped(tokenizer_of, tmp_path: Path):
    rows = [{"a": f"Good news {n} " * (n % 4), "b": "No!" * n, "unused": 1} for n in range(23)]
    table = datasets.Dataset.from_list(rows)
    templates = [parse_template(p, FIELDS) for p in ("{a|lower_first} {mask} {b}", "{b|strip_punct}: {mask} {a}")]
    plain = PlainTextTokenizer(tokenizer_of("roberta"), 12)
    keys = token_keys(ClozeEncoder(plain.tokenizer, template, 32) for template in templates)
    assert len(keys) == 4
    memory = tokenize_fields(table, keys, plain, batch_size=5)
    (tmp_path / "ids").mkdir()
    mapped = tokenize_fields(table, keys, plain, folder=tmp_path / "ids", batch_size=7)
    for key in keys:
        texts = [apply_filters(row[key.name], key.filters) for row in rows]
        expected = plain.encode(texts, space_before=key.space_before, continuation=key.continuation)
        assert max(map(len, expected)) <= 12 < sum(map(len, expected))
        for tokens in (memory, mapped):
            assert [list(tokens[key][i]) for i in range(len(rows))] == expected
        assert isinstance(mapped[key].values, np.memmap)


def test_empty_tables_and_empty_texts_have_no_tokens(tokenizer_of, tmp_path: Path):
    plain = PlainTextTokenizer(tokenizer_of("bert"), 16)
    keys = [FieldKey("a", (), False)]
    for texts in ([], ["", " "]):
        table = datasets.Dataset.from_dict({"a": texts}, features=TEXT_COLUMN)
        for folder in (None, tmp_path):
            tokens = tokenize_fields(table, keys, plain, folder=folder)
            assert list(tokens[keys[0]].lengths) == [0] * len(texts)


# --- cutting -----------------------------------------------------------------------------------------


@every_family
def test_the_longest_field_is_truncated_at_its_end(encoder_of, name):
    encoder = encoder_of(name, "{a} is {mask}. {b}", 24)
    row = {"a": " ".join(SIMPLE * 5), "b": "good bad"}
    tokens = tokens_of(encoder, [row])
    first, second = (tokens[key][0] for key in encoder.keys)
    encoded = encoder.encode(tokens)
    ids = list(encoded.ids[0])
    assert encoded.cut[0]
    assert len(ids) == 24
    start = probe_frame(encoder.plain.tokenizer, 1).gaps[0]
    room = 24 - encoder.fixed_length - len(second)
    assert ids[: len(start) + room] == [*start, *first[:room]]
    stop = len(ids) - len(probe_frame(encoder.plain.tokenizer, 1).gaps[1])
    assert ids[stop - len(second) : stop] == list(second)


@every_family
def test_a_field_marked_keep_is_not_truncated(encoder_of, name):
    encoder = encoder_of(name, "{a!keep} is {mask}. {b}", 24)
    row = {"a": "good bad good bad good", "b": "river " * 40}
    tokens = tokens_of(encoder, [row])
    encoded = encoder.encode(tokens)
    kept = list(tokens[encoder.keys[0]][0])
    start = len(probe_frame(encoder.plain.tokenizer, 1).gaps[0])
    assert list(encoded.ids[0][start : start + len(kept)]) == kept
    assert encoded.ids.lengths[0] == 24


@every_family
def test_a_kept_field_that_does_not_fit_is_rejected(encoder_of, name):
    encoder = encoder_of(name, "{a!keep} is {mask}. {b}", 24)
    fits, too_long = {"a": "good", "b": "bad"}, {"a": "good " * 40, "b": "bad"}
    with pytest.raises(PetError, match=r"!keep \(a\).* 24 tokens .*row 2;.*--max-length"):
        fill(encoder, fits, too_long)


@every_family
def test_a_pattern_that_leaves_no_room_for_text_is_rejected(tokenizer_of, name):
    with pytest.raises(PetError, match=r"no room for text in 8;.*--max-length"):
        ClozeEncoder(tokenizer_of(name), parse_template("All in all it was {mask}. {a}", FIELDS), 8)


def test_a_tokenizer_without_a_mask_token_is_rejected(family_model):
    tokenizer = AutoTokenizer.from_pretrained(family_model("bert"))
    tokenizer.mask_token = None
    with pytest.raises(PetError, match="no mask token"):
        ClozeEncoder(tokenizer, parse_template("{a} {mask}", FIELDS), 32)


# --- frames, types and ids ---------------------------------------------------------------------------


@every_family
def test_the_frame_equals_the_special_tokens_that_the_tokenizer_adds(tokenizer_of, name):
    tokenizer = tokenizer_of(name)
    for segments in (1, 2):
        frame = probe_frame(tokenizer, segments)
        assert frame.size == tokenizer.num_special_tokens_to_add(pair=segments == 2)
        assert len(frame.gaps) == len(frame.gap_types) == segments + 1
        assert all(i in tokenizer.all_special_ids for gap in frame.gaps for i in gap)
        assert frame.has_types == FAMILIES[name].token_types
        assert frame.segment_types == ((0, 1) if frame.has_types else (0, 0))[:segments]


def test_token_id_0_is_an_ordinary_token():
    special = {**families._BERT_NAMES}
    backend = families._wordpiece([], list(special.values()), "[UNK]")
    backend.post_processor = families._bert_frame(backend)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    assert tokenizer.convert_ids_to_tokens(0) == "!"
    pattern = Pattern(parse_template("{a}{mask}", FIELDS), Verbalizer({"loud": ("!",), "still": (".",)}))
    pvp = bind_pattern(pattern, ["loud", "still"], tokenizer, 16)
    assert pvp.words[0] == 0
    np.testing.assert_array_equal(pvp.word_to_label, np.eye(2))
    encoded = fill(pvp.encoder, {"a": "!!"}, {"a": "good bad good bad"})
    batch, ordinary = pad_rows(encoded, np.array([0, 1]), int(tokenizer.pad_token_id))
    assert list(batch["input_ids"][0, 1:3]) == [0, 0]
    assert batch["attention_mask"][0, :5].all()
    assert ordinary[0, 1:3].all()


def test_word_to_label_averages_the_words_of_a_label(tokenizer_of):
    words = Verbalizer({"x": ("good", "great"), "y": ("bad",)})
    pvp = bind_pattern(Pattern(parse_template("{a} {mask}", FIELDS), words), ["x", "y"], tokenizer_of("bert"), 32)
    np.testing.assert_array_equal(pvp.word_to_label, [[0.5, 0], [0.5, 0], [0, 1]])
    tokens = tokenizer_of("bert").convert_ids_to_tokens(list(map(int, pvp.words)))
    assert tokens == ["good", "great", "bad"]
