"""Tokenize each text field once; patterns then splice the ids without the tokenizer.

Fields are tokenized separately, as ordinary text: anything that looks like a special token (``[MASK]``,
``</s>``) in a user's text is encoded as its characters. Ids are stored as ragged ``int32`` arrays, in
memory or memory-mapped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.beginning import beginnings
from pet.cloze.ragged import Ragged, ragged_index
from pet.data.pick import pick_columns
from pet.task.filters import apply_filters
from pet.task.grammar import Field

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

IntArray = NDArray[Any]


@dataclass(frozen=True)
class FieldKey:
    """One way of tokenizing a text field.

    Attributes
    ----------
    name : name of the field
    filters : filters to apply to its text
    space_before : True if the field follows a space and its tokens depend on that
    continuation : True if the field directly follows other text and its tokens depend on that
    """

    name: str
    filters: tuple[str, ...]
    space_before: bool
    continuation: bool = False


TokenTable = Mapping[FieldKey, Ragged]

# Prefixes for tokenizing text that continues other text: words would merge with letters, signs with brackets.
_BEFORE_WORDS = ("(", '"', ")")
_BEFORE_SIGNS = ("word", "one", ")")


class PlainTextTokenizer:
    """Tokenizes text without ever producing special tokens.

    Parameters
    ----------
    tokenizer : a ``transformers`` tokenizer, fast or slow
    max_tokens : maximum number of ids per text; fields are truncated at the end, so more is never needed
    reserved : text -> id of additional tokens that no text may be encoded to
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int, reserved: Mapping[str, int] | None = None):
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        reserved = reserved or {}
        self.special_ids = frozenset(int(i) for i in tokenizer.all_special_ids) | frozenset(reserved.values())
        # The unknown token is legitimate: it stands for characters outside the vocabulary.
        self._forbidden = self.special_ids - {tokenizer.unk_token_id}
        texts = {*filter(None, map(str, tokenizer.all_special_tokens)), *reserved}
        names = sorted(texts, key=lambda text: (-len(text), text))
        self._specials = re.compile("|".join(map(re.escape, names)), re.IGNORECASE) if names else None
        alone = self._ids(["word"])[0]
        # Does a word after the first need a space before it? (Byte-level BPE: yes. WordPiece: no. Llama 2: no, its
        # tokenizer adds one itself, so there would be two.)
        start, joined = self._ids(["one", "one word"])
        behind = joined[len(start) :] if joined[: len(start)] == start else self._ids([" word"])[0]
        self.spaces_matter = alone != behind
        # Does a word directly after a bracket lose its word-start marker? (SentencePiece: yes.)
        self.continuation_matters = alone != self._continue(["word"])[0]

    def key(self, field: Field, *, first: bool) -> FieldKey:
        """Return how to tokenize a field in its position. `first`: it starts its segment, so it continues nothing."""
        continuation = self.continuation_matters and not first and not field.space_before
        return FieldKey(field.name, field.filters, field.space_before and self.spaces_matter, continuation)

    def encode(
        self, texts: Sequence[str], *, space_before: bool = False, continuation: bool = False
    ) -> list[list[int]]:
        """Return the token ids of each text, at most ``max_tokens``; an empty text has none.

        Parameters
        ----------
        texts : texts, treated as ordinary text whatever they contain
        space_before : tokenize as if the text followed a space
        continuation : tokenize as if the text directly followed other characters
        """
        prefix = " " if space_before and self.spaces_matter else ""
        texts = beginnings([text.strip() for text in texts], self.max_tokens, self._ids)
        texts = [prefix + text if text else "" for text in texts]
        rows = self._continue(texts) if continuation else self._ids(texts)
        for i, row in enumerate(rows):
            if not self._forbidden.isdisjoint(row):
                rows[i] = self._without_specials(texts[i], continuation)
        return [row[: self.max_tokens] for row in rows]

    def literal(self, text: str, *, space_before: bool, continuation: bool) -> list[int]:
        """Return the ids of a pattern's own words; see `encode`."""
        return self.encode([text], space_before=space_before, continuation=continuation)[0]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        rows: list[list[int]] = encoded["input_ids"]
        return rows

    def _continue(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids of texts that directly follow other characters.

        A tokenizer that marks word starts would mark ":" or "Hello" on their own, but not directly after
        a word or a bracket. So tokenize with such a prefix and remove the prefix ids, provided that the
        prefix tokenizes to the same ids as on its own.
        """
        rows: list[list[int] | None] = [None if text else [] for text in texts]
        for tried in range(len(_BEFORE_WORDS)):
            starts: dict[str, list[int]] = {}
            for i, text in enumerate(texts):
                if rows[i] is None:
                    anchors = _BEFORE_WORDS if text[0].isalnum() else _BEFORE_SIGNS
                    starts.setdefault(anchors[tried], []).append(i)
            for anchor, group in starts.items():
                before = self._ids([anchor])[0]
                for i, joined in zip(group, self._ids([anchor + texts[i] for i in group]), strict=True):
                    if joined[: len(before)] == before:
                        rows[i] = joined[len(before) :]
        return [self._ids([text])[0] if row is None else row for text, row in zip(texts, rows, strict=True)]

    def _without_specials(self, text: str, continuation: bool) -> list[int]:
        """Tokenize again, splitting the text of every special token after its first character.

        Unigram vocabularies contain "</s>" as an ordinary piece and would match it in a user's text.
        """
        if self._specials is None or not self._specials.search(text):
            # The tokenizer's normalization created it, for example from full-width "＜/ｓ＞".
            text = unicodedata.normalize("NFKC", text)
        pieces: list[str] = []
        start = 0
        for found in self._specials.finditer(text) if self._specials else ():
            pieces.append(text[start : found.start() + 1])
            start = found.start() + 1
        pieces.append(text[start:])
        rows = self._continue(pieces) if continuation else self._ids(pieces[:1]) + self._continue(pieces[1:])
        return [i for row in rows for i in row if i not in self._forbidden]


def join_rows(parts: Sequence[tuple[TokenTable, IntArray]]) -> dict[FieldKey, Ragged]:
    """Concatenate selected rows of several token tables, in memory.

    Parameters
    ----------
    parts : pairs of a token table and an int array of row numbers, in order; all tables have the same keys
    """
    joined = {}
    for key in parts[0][0]:
        taken = [(table[key].values, table[key].offsets[rows], table[key].lengths[rows]) for table, rows in parts]
        values = [flat[ragged_index(starts, lengths)] for flat, starts, lengths in taken]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([lengths for _, _, lengths in taken]))])
        joined[key] = Ragged(np.concatenate(values), offsets.astype(np.int64))
    return joined


def _batches(table: Dataset, names: list[str], size: int) -> Iterator[dict[str, list[str]]]:
    columns = pick_columns(table, names)
    for start in range(0, len(table), size):
        yield columns[start : start + size]


def tokenize_fields(
    table: Dataset,
    keys: Sequence[FieldKey],
    plain: PlainTextTokenizer,
    *,
    folder: Path | None = None,
    batch_size: int = 2048,
) -> dict[FieldKey, Ragged]:
    """Tokenize the text fields of a table in batches.

    Parameters
    ----------
    table : datasets.Dataset with a string column for each field named in `keys`
    keys : the fields and how to tokenize them
    plain : the tokenizer
    folder : folder for memory-mapped ids; default: keep them in memory
    batch_size : number of rows to tokenize at once

    Returns
    -------
    dict of FieldKey to Ragged, with one row per row of the table
    """
    offsets = {key: np.zeros(len(table) + 1, dtype=np.int64) for key in keys}
    names = list(dict.fromkeys(key.name for key in keys))
    chunks: dict[FieldKey, list[IntArray]] = {key: [] for key in keys}
    files = {key: (folder / f"{i}.ids").open("wb") for i, key in enumerate(keys)} if folder else {}
    try:
        start = 0
        for batch in _batches(table, names, batch_size) if names else ():
            for key in keys:
                texts = [apply_filters(text, key.filters) for text in batch[key.name]]
                rows = Ragged.from_rows(
                    plain.encode(texts, space_before=key.space_before, continuation=key.continuation)
                )
                stop = start + len(rows)
                offsets[key][start + 1 : stop + 1] = rows.offsets[1:] + offsets[key][start]
                if folder:
                    rows.values.tofile(files[key])
                else:
                    chunks[key].append(rows.values)
            start += len(next(iter(batch.values())))
    finally:
        for file in files.values():
            file.close()
    empty = np.zeros(0, dtype=np.int32)
    tokens: dict[FieldKey, Ragged] = {}
    for i, key in enumerate(keys):
        if folder and offsets[key][-1]:
            values: IntArray = np.memmap(folder / f"{i}.ids", dtype=np.int32, mode="r")
        else:
            values = np.concatenate([empty, *chunks[key]])
        tokens[key] = Ragged(values, offsets[key])
    return tokens
