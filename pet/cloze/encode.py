"""Fill patterns by splicing token ids. Truncation never removes the mask or the pattern's own words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.blank import Blank, check_mask_at_end, line_break, mask_blank
from pet.cloze.choices import Choices
from pet.cloze.frame import Frame, probe_frame
from pet.cloze.priming import Primers, field_texts
from pet.cloze.ragged import Encoded, Ragged, ragged_index
from pet.cloze.tokens import FieldKey, PlainTextTokenizer, TokenTable
from pet.errors import PetError, TextError
from pet.task.grammar import Field, Mask, Soft, Template, Text
from pet.task.pattern import LABEL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]


def truncate_lengths(lengths: Array, budget: int | Array, keep: Sequence[bool]) -> Array:
    """Compute how many tokens of each field to keep, truncating the longest field first.

    Equivalent to removing single tokens from the end of the longest field (the last one on ties)
    until everything fits.

    Parameters
    ----------
    lengths : int array of shape (rows, fields)
    budget : maximum number of tokens per row, the same for all rows or of shape (rows,)
    keep : for each field, True if it must not be truncated

    Returns
    -------
    int64 array of shape (rows, fields); each row sums to at most `budget` if the kept fields allow it.
    Otherwise the other fields are 0 and the kept ones stay whole.

    Examples
    --------
    >>> truncate_lengths(np.array([[10, 4], [2, 3]]), 8, [False, False]).tolist()
    [[4, 4], [2, 3]]
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    kept = np.asarray(keep, dtype=bool)
    if not lengths.size or kept.all():
        return lengths.copy()
    free = lengths[:, ~kept]
    room = np.maximum(budget - lengths[:, kept].sum(axis=1), 0)
    # The largest cap with sum(min(length, cap)) <= room, by bisection for all rows at once.
    low = np.zeros(len(lengths), dtype=np.int64)
    high = np.maximum(free.max(axis=1), low)
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = np.minimum(free, middle[:, None]).sum(axis=1) <= room
        low = np.where(fits, middle, low)
        high = np.where(fits, high, middle - 1)
    stay = np.minimum(free, low[:, None])
    # Distribute the remainder: one token each to the first fields longer than the cap.
    longer = free > low[:, None]
    left = room - stay.sum(axis=1)
    stay += longer & (np.cumsum(longer, axis=1) <= left[:, None])
    result = lengths.copy()
    result[:, ~kept] = stay
    return result


@dataclass(frozen=True)
class _Piece:
    """A part of the filled pattern: fixed ids or a field."""

    type_id: int
    key: FieldKey | None = None
    keep: bool = False
    ids: tuple[int, ...] = ()
    ordinary: bool = False
    mask: bool = False

    @property
    def is_content(self) -> bool:
        """Whether the piece belongs to the pattern rather than to the special tokens around it."""
        return self.key is not None or self.ordinary or self.mask


class ClozeEncoder:
    """Splices tokenized fields into one pattern.

    Parameters
    ----------
    tokenizer : a ``transformers`` tokenizer
    template : the pattern, or a template without a mask
    max_length : maximum row length, including special tokens and soft tokens
    before : number of soft tokens to prepend to each row
    soft : True to encode ``{soft:...}`` as soft tokens, False to encode its words as text
    blank : representation of the mask; default: the tokenizer's mask token
    longest_word : number of tokens of the longest label word. If a word takes as many masks as it has tokens, or comes
        after the end of the row, `max_length` reserves room for all but one of them.

    Attributes
    ----------
    learned : for each soft token, the token to initialize it from, or None. Soft token k has the id ``-k - 1``,
        which is in no vocabulary; see `pet.tuning.soft`.
    primers : labeled examples to prepend to every text, or None
    choices : label words that come from each row, or None

    Raises
    ------
    PetError
        If the pattern leaves no room for text, or the model cannot fill its mask.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        max_length: int,
        *,
        before: int = 0,
        soft: bool = False,
        blank: Blank | None = None,
        longest_word: int = 1,
    ):
        has_mask = template.mask_segment is not None
        self.blank = blank or (mask_blank(tokenizer) if has_mask else Blank(()))
        self._mask_last = has_mask and self.blank.at_end
        if self._mask_last:
            check_mask_at_end(template)
        self.template = template
        more_words = longest_word - 1 if has_mask and (self.blank.at_end or self.blank.repeated) else 0
        self.max_length = max_length - more_words
        self.plain = PlainTextTokenizer(tokenizer, max_length, self.blank.reserved)
        self.primers: Primers | None = None
        self.choices: Choices | None = None
        self._unknown_id = tokenizer.unk_token_id
        self.learned: list[int | None] = []
        self._pieces = self._plan(tokenizer, before, soft)
        self._fields = [piece for piece in self._pieces if piece.key is not None]
        self.fixed_length = sum(len(piece.ids) for piece in self._pieces)
        if self.fixed_length >= self.max_length:
            vectors = len(self.learned)
            more = f" and {vectors} soft tokens" if vectors else ""
            more += f", plus {longest_word} for the longest label word" if more_words else ""
            fewer = ", use fewer soft tokens (--set prompt_length, prefix_length)" if vectors else ""
            raise PetError(
                f"pattern {template.source!r}: its own words take {self.fixed_length - vectors} tokens{more}, which "
                f"leaves no room for text in {max_length}; shorten the pattern{fewer} or raise --max-length"
            )

    @property
    def keys(self) -> list[FieldKey]:
        """Keys of the fields, in pattern order; a field used twice appears twice."""
        return [piece.key for piece in self._fields if piece.key is not None]

    @property
    def all_keys(self) -> list[FieldKey]:
        """Keys of the fields in the pattern and of those that label words come from."""
        return [*self.keys, *(self.choices.fields if self.choices is not None else [])]

    def _learn(self, starts: Sequence[int | None]) -> tuple[int, ...]:
        """Allocate one soft token per start and return their ids."""
        first = len(self.learned)
        self.learned += starts
        return tuple(range(-first - 1, -len(self.learned) - 1, -1))

    def _plan(self, tokenizer: PreTrainedTokenizerBase, before: int, soft: bool) -> list[_Piece]:
        frame = self._frame(tokenizer)
        pieces = [_Piece((*frame.gap_types[0], *frame.segment_types)[0], ids=self._learn([None] * before))]
        for number, parts in enumerate(self.template.segments):
            gap, types = frame.gaps[number], frame.gap_types[number]
            pieces += [_Piece(t, ids=(i,)) for i, t in zip(gap, types, strict=True)]
            kind = frame.segment_types[number]
            for position, part in enumerate(parts):
                # After a line break, nothing counts as the start of a text.
                first = position == 0 and not (number and self._mask_last)
                continuation = not first and not part.space_before
                if isinstance(part, Text):
                    ids = self.plain.literal(part.text, space_before=part.space_before, continuation=continuation)
                    pieces.append(_Piece(kind, ids=tuple(ids), ordinary=True))
                elif isinstance(part, Soft):
                    words = self.plain.literal(part.words, space_before=part.space_before, continuation=continuation)
                    if soft:
                        pieces.append(_Piece(kind, ids=self._learn(words or [None] * part.count)))
                    else:
                        pieces.append(_Piece(kind, ids=tuple(words), ordinary=True))
                elif isinstance(part, Field):
                    pieces.append(
                        _Piece(kind, key=self.plain.key(part, first=first), keep=part.keep or part.name == LABEL)
                    )
                elif isinstance(part, Mask):
                    pieces.append(_Piece(kind, ids=self.blank.ids, mask=True))
                    if self._mask_last:
                        return self._with_start(pieces, tokenizer)
        pieces += [_Piece(t, ids=(i,)) for i, t in zip(frame.gaps[-1], frame.gap_types[-1], strict=True)]
        return pieces

    def _frame(self, tokenizer: PreTrainedTokenizerBase) -> Frame:
        """Special tokens around the segments. Causal models have no text pairs: a line break joins two segments."""
        count = len(self.template.segments)
        if not self._mask_last or count == 1:
            return probe_frame(tokenizer, count)
        frame, between = probe_frame(tokenizer, 1), line_break(tokenizer)
        kind = frame.segment_types[0]
        types = (frame.gap_types[0], (kind,) * len(between), frame.gap_types[1])
        return Frame((frame.gaps[0], between, frame.gaps[1]), types, (kind, kind), frame.has_types)

    def _with_start(self, pieces: list[_Piece], tokenizer: PreTrainedTokenizerBase) -> list[_Piece]:
        """Prepend the start-of-text token if a row could be empty: a causal model needs at least one token."""
        if any(piece.ids for piece in pieces):
            return pieces
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if start is None:
            raise PetError(
                f"pattern {self.template.source!r}: an empty text would give the model no input; add words before "
                "{mask}"
            )
        return [_Piece(0, ids=(int(start),)), *pieces]

    def encode(self, tokens: TokenTable, rows: Array | None = None) -> Encoded:
        """Fill the pattern for some rows.

        Parameters
        ----------
        tokens : token table with this encoder's keys
        rows : int array of row numbers; default: all rows

        Raises
        ------
        PetError
            If a field marked ``!keep`` does not fit.
        """
        if not self._fields:
            raise PetError(f"pattern {self.template.source!r} has no field")
        if rows is None:
            rows = np.arange(len(tokens[self.keys[0]]), dtype=np.int64)
        encoded, _ = self._fill(tokens, rows)
        if self.primers is None:
            return encoded
        return self.primers.prepend_to(encoded, field_texts(tokens, self.keys), rows)

    def examples(
        self, tokens: TokenTable, rows: Array, words: Sequence[Sequence[int]], separator: Sequence[int]
    ) -> list[Array]:
        """Encode labeled examples for priming: the mask is replaced by a word, special tokens are removed.

        Parameters
        ----------
        tokens, rows : token table and the rows to encode
        words : for each row, the tokens that replace the mask
        separator : tokens to put between segments and after the row

        Returns
        -------
        list of int32 arrays, one per row
        """
        encoded, piece_lengths = self._fill(tokens, rows)
        content = [i for i, piece in enumerate(self._pieces) if piece.is_content]
        examples = []
        for number, word in enumerate(words):
            ends = np.cumsum(piece_lengths[number])
            parts: list[Sequence[int] | Array] = []
            for last, i in zip([content[0] - 1, *content[:-1]], content, strict=True):
                parts.append(separator if i > last + 1 else ())
                end, length = ends[i], piece_lengths[number, i]
                parts.append(word if self._pieces[i].mask else encoded.ids[number][end - length : end])
            examples.append(np.concatenate([np.asarray(part, dtype=np.int32) for part in (*parts, separator)]))
        return examples

    @property
    def start_length(self) -> int:
        """Number of special tokens at the start of every row."""
        first = next(i for i, piece in enumerate(self._pieces) if piece.is_content)
        return sum(len(piece.ids) for piece in self._pieces[:first])

    def _fill(self, tokens: TokenTable, rows: Array) -> tuple[Encoded, Array]:
        """Return filled rows and their number of tokens per piece, shape (rows, pieces)."""
        ragged = [tokens[key] for key in self.keys]
        lengths, stay, words = self._lengths(tokens, rows)
        piece_lengths = np.zeros((len(rows), len(self._pieces)), dtype=np.int64)
        field = 0
        for i, piece in enumerate(self._pieces):
            if piece.key is None:
                piece_lengths[:, i] = len(piece.ids)
            else:
                piece_lengths[:, i] = stay[:, field]
                field += 1
        encoded = self._splice(ragged, rows, piece_lengths, np.asarray((stay < lengths).any(axis=1)))
        return replace(encoded, choices=words), piece_lengths

    def check_kept(self, tokens: TokenTable) -> None:
        """Raise `TextError` if a field marked ``!keep`` does not fit in some row."""
        if self._fields:
            self._lengths(tokens, np.arange(len(tokens[self.keys[0]]), dtype=np.int64))

    def _lengths(self, tokens: TokenTable, rows: Array) -> tuple[Array, Array, Array | None]:
        """Return tokens per field, whole and truncated, of shape (rows, fields), and label words from the rows."""
        lengths = np.stack([tokens[key].lengths[rows] for key in self.keys], axis=1)
        budget: int | Array = self.max_length - self.fixed_length
        words = None if self.choices is None else self.choices.tokens(tokens, rows)
        if words is not None:  # a word takes as many masks as it has tokens
            budget = budget + 1 - (words >= 0).sum(axis=2).max(axis=1)
        stay = truncate_lengths(lengths, budget, [piece.keep for piece in self._fields])
        too_long = np.flatnonzero(stay.sum(axis=1) > budget)
        if len(too_long):
            names = ", ".join(piece.key.name for piece in self._fields if piece.keep and piece.key)
            raise TextError(
                f"pattern {self.template.source!r}: the fields marked !keep ({names}) do not fit into "
                f"{self.max_length} tokens in {len(too_long)} row{'s' * (len(too_long) > 1)}, "
                f"the first is row {int(rows[too_long[0]]) + 1}; "
                "raise --max-length, shorten these texts or remove !keep",
                row=int(rows[too_long[0]]),
            )
        return lengths, stay, words

    def _splice(self, ragged: list[Ragged], rows: Array, piece_lengths: Array, cut: Array) -> Encoded:
        row_lengths = piece_lengths.sum(axis=1)
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(row_lengths, out=offsets[1:])
        total = int(offsets[-1])
        ids = np.empty(total, dtype=np.int32)
        types = np.empty(total, dtype=np.int8)
        ordinary = np.empty(total, dtype=bool)
        starts = offsets[:-1].copy()
        mask_position = np.full(len(rows), -1, dtype=np.int64)
        field = 0
        for i, piece in enumerate(self._pieces):
            count = piece_lengths[:, i]
            if piece.mask:
                mask_position = starts - offsets[:-1]
            target = ragged_index(starts, count)
            if piece.key is None:
                ids[target] = np.tile(np.asarray(piece.ids, dtype=np.int32), len(rows))
            else:
                source = ragged[field]
                ids[target] = source.values[ragged_index(source.offsets[rows], count)]
                field += 1
            types[target] = piece.type_id
            ordinary[target] = piece.ordinary or piece.key is not None
            starts += count
        if self._unknown_id is not None:  # predicting unknown tokens teaches nothing
            ordinary &= ids != self._unknown_id
        return Encoded(Ragged(ids, offsets), types, ordinary, mask_position, cut)


def token_keys(encoders: Iterable[ClozeEncoder]) -> list[FieldKey]:
    """Return the distinct keys of the data's fields that all the patterns need, in order."""
    keys = dict.fromkeys(key for encoder in encoders for key in encoder.all_keys)
    return [key for key in keys if key.name != LABEL]
