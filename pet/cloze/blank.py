"""How a kind of language model is shown the place that it fills, by its tokenizer alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pet.errors import PetError
from pet.task.grammar import Mask, Template, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MOST_SENTINELS = 100
_WORD_START = "▁"  # SentencePiece's mark: mT5 has its sentinels as pieces that begin a word


@dataclass(frozen=True)
class Blank:
    """What stands for ``{mask}``.

    Attributes
    ----------
    ids : its tokens; none where the model goes on from the end of the text
    several : whether a word of a label may be several tokens
    reserved : text -> id of tokens, beside the special ones, that no user's text may turn into
    """

    ids: tuple[int, ...]
    several: bool = False
    reserved: Mapping[str, int] = field(default_factory=dict)

    @property
    def at_end(self) -> bool:
        """Whether the word stands behind everything else, and the model sees only what is before it."""
        return not self.ids


def mask_blank(tokenizer: PreTrainedTokenizerBase) -> Blank:
    """The mask token of a masked language model.

    Raises
    ------
    PetError
        If the tokenizer has none.
    """
    if tokenizer.mask_token_id is None:
        raise PetError(
            f"model {tokenizer.name_or_path}: its tokenizer has no mask token, and a pattern needs one; use a masked "
            "language model (BERT, RoBERTa, DeBERTa, ModernBERT, ...)"
        )
    return Blank((int(tokenizer.mask_token_id),))


def sentinel_blank(tokenizer: PreTrainedTokenizerBase) -> Blank:
    """The first sentinel of T5 and its kin, behind which the decoder writes what is missing.

    Raises
    ------
    PetError
        If the tokenizer has none.
    """
    found = sentinels(tokenizer)
    if not found:
        raise PetError(
            f"model {tokenizer.name_or_path}: this encoder-decoder has no sentinels (<extra_id_0>) to stand for "
            "{mask}; use T5, mT5, UMT5 or another model that was trained to fill in spans"
        )
    return Blank((found[0],), several=True, reserved={f"<extra_id_{k}>": token for k, token in enumerate(found)})


def end_blank() -> Blank:
    """The end of the text, where a causal language model goes on."""
    return Blank((), several=True)


def sentinels(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of ``<extra_id_0>``, ``<extra_id_1>``, ... as far as there are any (Raffel et al. 2020, arXiv 1910.10683)."""
    found: list[int] = []
    for number in range(_MOST_SENTINELS):
        for name in (f"<extra_id_{number}>", f"{_WORD_START}<extra_id_{number}>"):
            token = tokenizer.convert_tokens_to_ids(name)
            if token is not None and token != tokenizer.unk_token_id:
                found.append(int(token))
                break
        else:
            break
    return found


def check_mask_at_end(template: Template) -> None:
    """Refuse a pattern that goes on behind its mask, but for punctuation that closes a sentence or a bracket.

    Raises
    ------
    PetError
        Naming what stands there.
    """
    parts = template.segments[-1]
    masks = [i for i, part in enumerate(parts) if isinstance(part, Mask)]
    behind = parts[masks[0] + 1 :] if masks else ()
    if masks and all(isinstance(part, Text) and _is_punctuation(part.text) for part in behind):
        return
    raise PetError(
        f"pattern {template.source!r}: a causal language model reads from left to right and fills in the end alone; "
        "write the pattern so that it ends in {mask} (punctuation may follow, and is left out), or use a masked "
        "language model or T5"
    )


def _is_punctuation(text: str) -> bool:
    return all(char.isspace() or unicodedata.category(char).startswith("P") for char in text)


def line_break(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Tokens of a line break behind a sentence; none where the tokenizer drops white space."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    for anchor in ("word", "word.", "one"):
        before, both = ids(anchor), ids(anchor + "\n")
        if both[: len(before)] == before:
            return tuple(both[len(before) :])
    return ()
