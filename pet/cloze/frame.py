"""The special tokens that a tokenizer puts around one text or two, found by looking."""

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
    gaps : ids before the first segment, (between the two,) and after the last
    gap_types : token type of each of those ids
    segment_types : token type of the tokens of each segment
    has_types : whether the tokenizer gives token types at all
    """

    gaps: tuple[tuple[int, ...], ...]
    gap_types: tuple[tuple[int, ...], ...]
    segment_types: tuple[int, ...]
    has_types: bool

    @property
    def size(self) -> int:
        return sum(map(len, self.gaps))


def _find(row: list[int], part: list[int], start: int) -> int:
    for i in range(start, len(row) - len(part) + 1):
        if row[i : i + len(part)] == part:
            return i
    return -1


def probe_frame(tokenizer: PreTrainedTokenizerBase, segments: int) -> Frame:
    """Encode known words and see what stands around them.

    Raises
    ------
    PetError
        If the words cannot be found again in the tokenizer's own output.
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
                f"tokenizer {tokenizer.name_or_path}: cannot see which special tokens it puts around "
                f"{segments} text(s); use a tokenizer of an encoder model (BERT, RoBERTa, DeBERTa, ...)"
            )
        gaps.append(tuple(row[end:at]))
        gap_types.append(tuple(types[end:at]))
        segment_types.append(types[at])
        end = at + len(part)
    gaps.append(tuple(row[end:]))
    gap_types.append(tuple(types[end:]))
    return Frame(tuple(gaps), tuple(gap_types), tuple(segment_types), "token_type_ids" in full)
