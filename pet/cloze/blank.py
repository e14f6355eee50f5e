"""How each kind of language model represents the mask. Needs only the tokenizer."""

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
_WORD_START = "▁"  # SentencePiece's word-start marker; mT5's sentinels are word-start pieces


@dataclass(frozen=True)
class Blank:
    """The representation of ``{mask}``.

    Attributes
    ----------
    ids : its tokens; empty if the model continues at the end of the text
    repeated : whether a label word of several tokens takes as many masks
    reserved : text -> id of tokens, besides the special ones, that no user text may be encoded to
    """

    ids: tuple[int, ...]
    repeated: bool = False
    reserved: Mapping[str, int] = field(default_factory=dict)

    @property
    def at_end(self) -> bool:
        """Whether the label word comes after the end of the text."""
        return not self.ids


def mask_blank(tokenizer: PreTrainedTokenizerBase) -> Blank:
    """Return the mask token of a masked language model.

    Raises
    ------
    PetError
        If the tokenizer has no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise PetError(
            f"model {tokenizer.name_or_path}: its tokenizer has no mask token, which patterns need; use a masked "
            "language model (BERT, RoBERTa, DeBERTa, ModernBERT, ...)"
        )
    return Blank((int(tokenizer.mask_token_id),), repeated=True)


def sentinel_blank(tokenizer: PreTrainedTokenizerBase) -> Blank:
    """Return the first sentinel of T5-like models, after which the decoder generates the missing span.

    Raises
    ------
    PetError
        If the tokenizer has no sentinels.
    """
    found = sentinels(tokenizer)
    if not found:
        raise PetError(
            f"model {tokenizer.name_or_path}: this encoder-decoder has no sentinel tokens (<extra_id_0>) to represent "
            "{mask}; use T5, mT5, UMT5 or another model pretrained with span corruption"
        )
    return Blank((found[0],), reserved={f"<extra_id_{k}>": token for k, token in enumerate(found)})


def end_blank() -> Blank:
    """Return the end of the text, where a causal language model continues."""
    return Blank(())


def sentinels(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of ``<extra_id_0>``, ``<extra_id_1>``, ... (Raffel et al. 2020, arXiv 1910.10683)."""
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
    """Check that nothing but punctuation follows the mask, as causal language models require.

    Raises
    ------
    PetError
        If the pattern has no mask or continues after it.
    """
    parts = template.segments[-1]
    masks = [i for i, part in enumerate(parts) if isinstance(part, Mask)]
    behind = parts[masks[0] + 1 :] if masks else ()
    if masks and all(isinstance(part, Text) and _is_punctuation(part.text) for part in behind):
        return
    raise PetError(
        f"pattern {template.source!r}: a causal language model reads from left to right and can only fill in the end; "
        "end the pattern in {mask} (punctuation after it is dropped), or use a masked language model or T5"
    )


def _is_punctuation(text: str) -> bool:
    return all(char.isspace() or unicodedata.category(char).startswith("P") for char in text)


def line_break(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens of a line break after a sentence; empty if the tokenizer drops whitespace."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    for anchor in ("word", "word.", "one"):
        before, both = ids(anchor), ids(anchor + "\n")
        if both[: len(before)] == before:
            return tuple(both[len(before) :])
    return ()
