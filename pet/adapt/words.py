"""Add whole words to a WordPiece tokenizer and its model.

A word that a tokenizer splits is known only by its pieces and is a poor label word. Added words are part of the
vocabulary, not "added tokens", so pre-tokenization and the greedy longest match stay as they are: only the tokens of
added words change, and of longer words that start with one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pet.adapt.vocabulary import change_rows, change_tokens, check_rows, load_spec
from pet.data.documents import read_lines
from pet.errors import PetError
from pet.settings import shorten

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MOST_WORDS = 10**6
MIN_LETTERS = 3
MIN_DOCUMENTS = 5  # a word of fewer documents is likely a name, a typo or a word of one author
# Letters between spaces or punctuation, but no part of "don't" or "ex-wife".
_WORD = re.compile(rf"(?<![\w'’-])[^\W\d_]{{{MIN_LETTERS},}}(?![\w'’-])")


def read_words(wanted: str | None) -> dict[str, str] | int:
    """Read the value of ``--add-words``.

    Parameters
    ----------
    wanted : a number, or a file of words separated by spaces or line breaks, in which ``#`` starts a comment

    Returns
    -------
    int or dict
        How many words to choose from the text, or each word of the file with its place, for messages.

    Raises
    ------
    PetError
        If the number is out of range, or the file cannot be read or has no words.
    """
    if wanted is None:
        return 0
    if re.fullmatch(r"-?[0-9]+", wanted):
        number = int(wanted[:20])
        if not 1 <= number <= MOST_WORDS:
            raise PetError(f"--add-words {shorten(wanted)}: choose a number from 1 to {MOST_WORDS:,}, or name a file")
        return number
    places: dict[str, str] = {}
    for line, text in read_lines(wanted):
        for word in text.partition("#")[0].split():
            places.setdefault(word, f"{wanted}, line {line}")
    if not places:
        raise PetError(f"{wanted}: contains no words; write words separated by spaces or line breaks")
    return places


def choose_words(
    wanted: Mapping[str, str] | int, documents: Sequence[str], tokenizer: PreTrainedTokenizerBase, name: str
) -> tuple[list[str], list[str]]:
    """Return the words to add to a tokenizer, and the words of a file that are one token already.

    Parameters
    ----------
    wanted : returned by `read_words`
    documents : the text to train on; a document that is read several times is repeated
    name : of the model, for messages

    Raises
    ------
    PetError
        If the vocabulary is not WordPiece, or an entry of the file is not one word.
    """
    if not wanted:
        return [], []
    kind = load_spec(tokenizer)["model"]["type"] if tokenizer.is_fast else "slow"
    if kind != "WordPiece":
        raise PetError(
            f"--add-words: the tokenizer of {name} is {kind}; words can only be added to WordPiece vocabularies "
            "(such as those of BERT, DistilBERT, ELECTRA and MPNet); leave the option out"
        )
    if isinstance(wanted, int):
        return frequent_words(Counter(documents), tokenizer, wanted), []
    return split_words(wanted, tokenizer)


def frequent_words(
    documents: Mapping[str, int], tokenizer: PreTrainedTokenizerBase, count: int, min_documents: int = MIN_DOCUMENTS
) -> list[str]:
    """Return the most frequent words that a tokenizer splits, most frequent first.

    A word has at least three letters, is mostly written in lower case (so names are left out), and occurs in several
    documents.

    Parameters
    ----------
    documents : mapping of document to how often it is read
    count : number of words, at most
    min_documents : fewest different documents that must contain a word

    Returns
    -------
    list of str: as the tokenizer's normalizer spells them
    """
    seen: Counter[str] = Counter()  # spelled as in the text
    found_in: Counter[str] = Counter()
    for document, times in documents.items():
        words = Counter(_WORD.findall(document))
        found_in.update(words.keys())
        for word, number in words.items():
            seen[word] += number * times
    all_cases: Counter[str] = Counter()
    for word, number in seen.items():
        all_cases[word.lower()] += number
    vocabulary = tokenizer.get_vocab()
    chosen: dict[str, None] = {}
    for word, number in seen.most_common():
        if len(chosen) == count:
            break
        if word != word.lower() or found_in[word] < min_documents or 2 * number < all_cases[word]:
            continue
        spelled = _normalized(word, tokenizer)
        if spelled not in vocabulary and len(spelled) >= MIN_LETTERS and _is_one_word(spelled, tokenizer):
            chosen[spelled] = None
    return list(chosen)


def split_words(places: Mapping[str, str], tokenizer: PreTrainedTokenizerBase) -> tuple[list[str], list[str]]:
    """Sort the words of a file into those that a tokenizer splits and those that are one token already.

    Raises
    ------
    PetError
        If an entry is not one word to the tokenizer, as with a hyphen.
    """
    vocabulary = tokenizer.get_vocab()
    new: dict[str, None] = {}
    known: dict[str, None] = {}
    for word, place in places.items():
        spelled = _normalized(word, tokenizer)
        if not _is_one_word(spelled, tokenizer):
            raise PetError(
                f"{place}: {shorten(word)} is not a single word to this tokenizer; use letters only, or remove it"
            )
        (known if spelled in vocabulary else new)[spelled] = None
    return list(new), list(known)


def _normalized(word: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Spell a word as it is looked up in the vocabulary: of an uncased tokenizer, in lower case."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return word if normalizer is None else str(normalizer.normalize_str(word)).strip()


def _is_one_word(word: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    splitter, limit = tokenizer.backend_tokenizer.pre_tokenizer, tokenizer.backend_tokenizer.model
    parts = [part for part, _ in splitter.pre_tokenize_str(word)] if splitter is not None else word.split()
    return parts == [word] and len(word) <= getattr(limit, "max_input_chars_per_word", len(word))


def grow_tokenizer(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> PreTrainedTokenizerBase:
    """Return a WordPiece tokenizer with more words, after all of its other tokens."""
    size = len(tokenizer)
    return change_tokens(tokenizer, {**tokenizer.get_vocab(), **{word: size + i for i, word in enumerate(words)}})


def grow_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    words: Sequence[str],
    grown: PreTrainedTokenizerBase,
    counts: np.ndarray,
) -> PreTrainedModel:
    """Add a row for each word to a model's embeddings and output layer.

    The vectors are the means of the vectors of the pieces that the word was split into. The output bias is that of a
    token of the same frequency: a line through the biases of the old tokens over the logarithm of their counts. (A mean
    over the pieces, which are more frequent, would make the word too probable.)

    Parameters
    ----------
    tokenizer : the tokenizer before the words were added
    grown : the tokenizer with them
    counts : int array of shape (vocabulary with words,)
        How often each token occurs in the text.
    """
    check_rows(model, len(tokenizer))
    pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    old, logs = len(tokenizer), np.log1p(counts)

    def more_rows(tensor: torch.Tensor) -> torch.Tensor:
        kept = tensor[:old]
        if tensor.dim() > 1:
            return torch.cat([kept, torch.stack([kept[ids].mean(dim=0) for ids in pieces])])
        used = counts[:old] > 0
        line = np.polyfit(logs[:old][used], kept.float().numpy()[used], 1) if used.sum() > 1 else [0.0]
        return torch.cat([kept, torch.from_numpy(np.polyval(line, logs[old:])).to(kept)])

    return change_rows(model, more_rows, old + len(words), grown)
