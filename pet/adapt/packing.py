"""Pack documents into full sequences: one stream of tokens, cut into blocks without padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AT_ONCE = 2048


def frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the special tokens that a tokenizer puts before and after a single text."""
    inner = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(inner) + 1):
        if whole[start : start + len(inner)] == inner:
            return whole[:start], whole[start + len(inner) :]
    raise PetError(
        f"tokenizer {tokenizer.name_or_path}: special tokens change how it splits a text; start from another model"
    )


def encode(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> list[np.ndarray]:
    """Return the token ids of each document, without special tokens."""
    encoded: list[np.ndarray] = []
    for start in range(0, len(documents), _AT_ONCE):
        batch = list(documents[start : start + _AT_ONCE])
        # Documents may be longer than the model allows: the stream is cut into blocks later.
        ids = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        encoded += [np.asarray(row, dtype=np.int32) for row in ids]
    return encoded


def join(encoded: Sequence[np.ndarray], between: Sequence[int], seed: int) -> np.ndarray:
    """Join all documents, in random order, with the tokens `between` after each."""
    order = np.random.default_rng([seed, 2]).permutation(len(encoded))
    gap = np.asarray(between, dtype=np.int32)
    pieces = [piece for i in order for piece in (encoded[i], gap)]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int32)


def pack(stream: np.ndarray, length: int, before: Sequence[int], after: Sequence[int]) -> np.ndarray:
    """Cut a stream of tokens into full sequences.

    Each sequence is ``before + tokens + after``. No token is lost: the last sequence is filled up from the beginning of
    the stream. A stream shorter than one sequence gives one short sequence.

    Parameters
    ----------
    stream : array of int, shape (tokens,)
    length : int
        Tokens in a sequence, special tokens included.

    Returns
    -------
    array of int32, shape (sequences, length)

    Raises
    ------
    PetError
        If there are no tokens, or `length` leaves no room for any.

    Examples
    --------
    >>> pack(np.array([7, 8, 9]), 4, [1], [2])
    array([[1, 7, 8, 2],
           [1, 9, 7, 2]], dtype=int32)
    """
    room = length - len(before) - len(after)
    if room < 1:
        raise PetError(f"--length {length}: leaves no room for text between the special tokens; use at least 16")
    if not len(stream):
        raise PetError("the text has no tokens in this model; check that its tokenizer covers the script")
    room = min(room, len(stream))
    count = -(-len(stream) // room)
    body = np.resize(stream, count * room).reshape(count, room)  # np.resize repeats from the start
    head = np.tile(np.asarray(before, dtype=np.int32), (count, 1))
    tail = np.tile(np.asarray(after, dtype=np.int32), (count, 1))
    return np.concatenate([head, body, tail], axis=1).astype(np.int32)


def with_words(sequences: np.ndarray, special: Sequence[int], name: str) -> np.ndarray:
    """Leave out sequences of special tokens alone, such as unknown ones: they have nothing to predict.

    Parameters
    ----------
    sequences : array of int, shape (sequences, length)
    special : ids of special tokens
    name : what the sequences are, for messages

    Raises
    ------
    PetError
        If no sequence is left.
    """
    kept = sequences[~np.isin(sequences, special).all(axis=1)]
    if not len(kept):
        raise PetError(
            f"{name} has no tokens that this model knows; check that its tokenizer covers the script, or give more text"
        )
    return kept


def continuations(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Return for each token id whether it continues the word of the token before it, as a bool array.

    This is read from the vocabulary: ``##`` of WordPiece, or a missing word mark (``Ġ``, ``▁``) of byte-level BPE and
    SentencePiece. In a vocabulary without marks, each token is a word.
    """
    vocabulary = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids)
    continues = np.zeros(max(vocabulary.values()) + 1, dtype=bool)
    marks = ("Ġ", "▁")
    marked = sum(token.startswith(marks) for token in vocabulary) > len(vocabulary) // 20
    for token, i in vocabulary.items():
        if i not in special:
            continues[i] = not token.startswith((*marks, "Ċ")) if marked else token.startswith("##")
    return continues
