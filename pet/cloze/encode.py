"""Filling a pattern: spliced token ids, with the mask in them whatever the length of the text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.cloze.blank import Blank, check_mask_at_end, line_break, mask_blank
from pet.cloze.frame import Frame, probe_frame
from pet.cloze.priming import Primers, field_texts
from pet.cloze.ragged import Encoded, Ragged, ragged_index
from pet.cloze.tokens import FieldKey, PlainTextTokenizer, TokenTable
from pet.errors import PetError
from pet.task.grammar import Field, Mask, Soft, Template, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]


def truncate_lengths(lengths: Array, budget: int, keep: Sequence[bool]) -> Array:
    """How many tokens of each field stay: the longest field gives first, from its end.

    The result is that of taking single tokens off the field that is longest at the moment (the
    later one of two that are as long) until the rest fits.

    Parameters
    ----------
    lengths : int array of shape (rows, fields)
    budget : tokens that there is room for
    keep : for each field, whether it may not be cut

    Returns
    -------
    int64 array of shape (rows, fields); rows sum to `budget` at most where the kept fields allow it.
    Where they do not, the cut fields are 0 and the kept ones stay whole.
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
    # What the cap leaves over goes, a token each, to the first fields that are longer than it.
    longer = free > low[:, None]
    left = room - stay.sum(axis=1)
    stay += longer & (np.cumsum(longer, axis=1) <= left[:, None])
    result = lengths.copy()
    result[:, ~kept] = stay
    return result


@dataclass(frozen=True)
class _Piece:
    """A stretch of the filled pattern: fixed ids, or a field."""

    type_id: int
    key: FieldKey | None = None
    keep: bool = False
    ids: tuple[int, ...] = ()
    ordinary: bool = False
    mask: bool = False

    @property
    def is_content(self) -> bool:
        """Whether it is of the pattern, and not a special token around it."""
        return self.key is not None or self.ordinary or self.mask


class ClozeEncoder:
    """Splices tokenized fields into one pattern.

    Parameters
    ----------
    tokenizer : a ``transformers`` tokenizer
    template : the pattern, or a template without a mask
    max_length : longest row, special tokens and learned vectors included
    before : learned vectors before the row
    soft : whether ``{soft:...}`` are learned vectors, or the words in them
    blank : what stands for the mask; None: the tokenizer's mask token
    longest_word : tokens of the longest label word; where it stands behind a row, all but its last one are read, too,
        and find room in `max_length`

    Attributes
    ----------
    learned : for each learned vector the token that it starts from, or None. In a row vector number k stands as
        the id ``-k - 1``, which no vocabulary has; see `pet.tuning.soft`.
    primers : labeled examples that stand before every text, or None
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
        behind = longest_word - 1 if self._mask_last else 0
        self.max_length = max_length - behind
        self.plain = PlainTextTokenizer(tokenizer, max_length, self.blank.reserved)
        self.primers: Primers | None = None
        self._unknown_id = tokenizer.unk_token_id
        self.learned: list[int | None] = []
        self._pieces = self._plan(tokenizer, before, soft)
        self._fields = [piece for piece in self._pieces if piece.key is not None]
        self.fixed_length = sum(len(piece.ids) for piece in self._pieces)
        if self.fixed_length >= self.max_length:
            vectors = len(self.learned)
            more = f" and {vectors} learned vectors" if vectors else ""
            more += f", the longest label word {longest_word}" if behind else ""
            fewer = ", take fewer vectors (--set prompt_length, prefix_length)" if vectors else ""
            raise PetError(
                f"pattern {template.source!r}: its own words take {self.fixed_length - vectors} tokens{more}, which "
                f"leaves no room for text in {max_length}; shorten the pattern{fewer} or raise --max-length"
            )

    @property
    def keys(self) -> list[FieldKey]:
        return [piece.key for piece in self._fields if piece.key is not None]

    def _learn(self, starts: Sequence[int | None]) -> tuple[int, ...]:
        """Ids of so many more learned vectors."""
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
                first = position == 0 and not (number and self._mask_last)  # behind a line break nothing is first
                glued = not first and not part.space_before
                if isinstance(part, Text):
                    ids = self.plain.literal(part.text, space_before=part.space_before, glued=glued)
                    pieces.append(_Piece(kind, ids=tuple(ids), ordinary=True))
                elif isinstance(part, Soft):
                    words = self.plain.literal(part.words, space_before=part.space_before, glued=glued)
                    if soft:
                        pieces.append(_Piece(kind, ids=self._learn(words or [None] * part.count)))
                    else:
                        pieces.append(_Piece(kind, ids=tuple(words), ordinary=True))
                elif isinstance(part, Field):
                    pieces.append(_Piece(kind, key=self.plain.key(part, first=first), keep=part.keep))
                elif isinstance(part, Mask):
                    pieces.append(_Piece(kind, ids=self.blank.ids, mask=True))
                    if self._mask_last:
                        return self._with_start(pieces, tokenizer)
        pieces += [_Piece(t, ids=(i,)) for i, t in zip(frame.gaps[-1], frame.gap_types[-1], strict=True)]
        return pieces

    def _frame(self, tokenizer: PreTrainedTokenizerBase) -> Frame:
        """Special tokens around the segments; of a causal model's, which knows no pairs, those before a text."""
        count = len(self.template.segments)
        if not self._mask_last or count == 1:
            return probe_frame(tokenizer, count)
        frame, between = probe_frame(tokenizer, 1), line_break(tokenizer)
        kind = frame.segment_types[0]
        types = (frame.gap_types[0], (kind,) * len(between), frame.gap_types[1])
        return Frame((frame.gaps[0], between, frame.gaps[1]), types, (kind, kind), frame.has_types)

    def _with_start(self, pieces: list[_Piece], tokenizer: PreTrainedTokenizerBase) -> list[_Piece]:
        """A model cannot go on from nothing: a row that may be empty begins as texts do in its pretraining."""
        if any(piece.ids for piece in pieces):
            return pieces
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if start is None:
            raise PetError(
                f"pattern {self.template.source!r}: an empty text would leave nothing to go on from; write some words "
                "before {mask}"
            )
        return [_Piece(0, ids=(int(start),)), *pieces]

    def encode(self, tokens: TokenTable, rows: Array | None = None) -> Encoded:
        """Fill the pattern for some rows (all of them by default).

        Raises
        ------
        PetError
            If a field that may not be cut does not fit.
        """
        if not self._fields:
            raise PetError(f"pattern {self.template.source!r} has no field")
        if rows is None:
            rows = np.arange(len(tokens[self.keys[0]]), dtype=np.int64)
        encoded, _ = self._fill(tokens, rows)
        if self.primers is None:
            return encoded
        return self.primers.put_before(encoded, field_texts(tokens, self.keys), rows)

    def examples(
        self, tokens: TokenTable, rows: Array, words: Sequence[Sequence[int]], separator: Sequence[int]
    ) -> list[Array]:
        """Rows with a word in their blank and without special tokens, as they stand before other texts.

        Parameters
        ----------
        tokens, rows : the texts, and which of them
        words : for each of these the tokens that fill the blank
        separator : tokens in place of what stands between segments, and behind the row
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
        """Special tokens at the front of every row."""
        first = next(i for i, piece in enumerate(self._pieces) if piece.is_content)
        return sum(len(piece.ids) for piece in self._pieces[:first])

    def _fill(self, tokens: TokenTable, rows: Array) -> tuple[Encoded, Array]:
        """Filled rows, and how many tokens of each piece are in them: shape (rows, pieces)."""
        ragged = [tokens[key] for key in self.keys]
        lengths = np.stack([r.lengths[rows] for r in ragged], axis=1)
        budget = self.max_length - self.fixed_length
        stay = truncate_lengths(lengths, budget, [piece.keep for piece in self._fields])
        self._check_kept(stay, budget, rows)
        piece_lengths = np.zeros((len(rows), len(self._pieces)), dtype=np.int64)
        field = 0
        for i, piece in enumerate(self._pieces):
            if piece.key is None:
                piece_lengths[:, i] = len(piece.ids)
            else:
                piece_lengths[:, i] = stay[:, field]
                field += 1
        return self._splice(ragged, rows, piece_lengths, np.asarray((stay < lengths).any(axis=1))), piece_lengths

    def _check_kept(self, stay: Array, budget: int, rows: Array) -> None:
        too_long = np.flatnonzero(stay.sum(axis=1) > budget)
        if len(too_long):
            names = ", ".join(piece.key.name for piece in self._fields if piece.keep and piece.key)
            raise PetError(
                f"pattern {self.template.source!r}: in {len(too_long)} row(s), the first being row "
                f"{int(rows[too_long[0]]) + 1}, the field(s) marked !keep ({names}) do not fit into {self.max_length} "
                "tokens; raise --max-length, shorten these texts or take !keep away"
            )

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
        if self._unknown_id is not None:  # nothing is to be learnt from guessing an unknown token
            ordinary &= ids != self._unknown_id
        return Encoded(Ragged(ids, offsets), types, ordinary, mask_position, cut)


def token_keys(encoders: Iterable[ClozeEncoder]) -> list[FieldKey]:
    """Return the distinct field keys that all the patterns need, in order."""
    return list(dict.fromkeys(key for encoder in encoders for key in encoder.keys))
