"""The special tokens that a tokenizer adds to a text or a text pair, found by probing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Frame:
    """Special tokens before, between and after the segments.

    Attributes
    ----------
    gaps : ids before the first segment, between the segments if there are two, and after the last
    gap_types : token type of each of these ids
    segment_types : token type of each segment
    has_types : whether the tokenizer returns token types
    """

    gaps: tuple[tuple[int, ...], ...]
    gap_types: tuple[tuple[int, ...], ...]
    segment_types: tuple[int, ...]
    has_types: bool

    @property
    def size(self) -> int:
        """Number of special tokens."""
        return sum(map(len, self.gaps))


def _find(row: list[int], part: list[int], start: int) -> int:
    for i in range(start, len(row) - len(part) + 1):
        if row[i : i + len(part)] == part:
            return i
    return -1


def probe_frame(tokenizer: PreTrainedTokenizerBase, segments: int) -> Frame:
    """Find the special tokens by encoding known words.

    Parameters
    ----------
    tokenizer : a ``transformers`` tokenizer
    segments : 1 or 2

    Raises
    ------
    PetError
        If the words cannot be found in the tokenizer's output.
    """
    words = ["one", "two"][:segments]
    bare = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    full = tokenizer(*words)
    row = list(full["input_ids"])
    types = list(full.get("token_type_ids", [0] * len(row)))
    gaps: list[tuple[int, ...]] = []
    gap_types: list[tuple[int, ...]] = []
    segment_types: list[int] = []
    end = 0
    for part in bare:
        at = _find(row, list(part), end)
        if at < 0 or not part:
            raise PetError(
                f"tokenizer {tokenizer.name_or_path}: cannot determine the special tokens it adds to a "
                f"{'text' if segments == 1 else 'text pair'}; use the tokenizer of an encoder model (BERT, RoBERTa, "
                "DeBERTa, ...)"
            )
        gaps.append(tuple(row[end:at]))
        gap_types.append(tuple(types[end:at]))
        segment_types.append(types[at])
        end = at + len(part)
    gaps.append(tuple(row[end:]))
    gap_types.append(tuple(types[end:]))
    return Frame(tuple(gaps), tuple(gap_types), tuple(segment_types), "token_type_ids" in full)
