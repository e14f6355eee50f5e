"""Prompts of one model mapped onto another: a linear map between the word embeddings of the two.

Su et al. 2021 (arXiv 2111.06719) train their projector on prompts of the same task in both models, or through the
task itself, and find it good for like tasks only. Here there is nothing to learn from but the words that both models
know: the map is that of least squares between their embeddings. A trained prompt lies far from any word, so that
little of it may be left; a start from a projected prompt need not beat a fresh one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.backbones.kinds import open_model
from pet.backbones.load import load_tokenizer, model_fingerprint
from pet.cloze.tokens import PlainTextTokenizer
from pet.errors import PetError
from pet.prompts.library import Prompt, as_name, check_name, portable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]
_HELD_OUT = 10  # one shared word in so many tells how well the map carries over


def shared_words(source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase) -> tuple[Array, Array]:
    """Words that are one token for each of two tokenizers, behind a space: their ids in both, int64 of shape (k,)."""
    texts = sorted({source.convert_tokens_to_string([token]).strip() for token in source.get_vocab()})
    texts = [text for text in texts if text.isprintable() and text]
    rows = []
    for tokenizer in (source, target):
        plain = PlainTextTokenizer(tokenizer, 2)
        ids = plain.encode(texts, space_before=True)
        rows.append([row[0] if len(row) == 1 and row[0] not in plain.special_ids else -1 for row in ids])
    found = np.asarray(rows, dtype=np.int64)
    found = found[:, (found >= 0).all(axis=0)]
    _, first = np.unique(found[0], return_index=True)  # "Word" and "word" may be one token: each counts once
    return found[0, first], found[1, first]


def fit_map(source: Array, target: Array) -> Array:
    """The affine map of least squares between rows.

    Parameters
    ----------
    source : shape (k, D)
    target : shape (k, E)

    Returns
    -------
    float64 array of shape (D + 1, E), the offset in its last row

    Raises
    ------
    PetError
        When there are not enough rows to tell the map.
    """
    if len(source) <= source.shape[1]:
        raise PetError(
            f"the two models share {len(source)} words, and a map of vectors of {source.shape[1]} numbers needs more "
            "than that; these models are too different, train a new prompt"
        )
    found: Array = np.linalg.lstsq(_with_one(source), np.asarray(target, dtype=np.float64), rcond=None)[0]
    return found


def apply_map(vectors: Array, matrix: Array) -> Array:
    """Vectors of shape (n, D) through a map of `fit_map`: float32 of shape (n, E)."""
    return (_with_one(vectors) @ matrix).astype(np.float32)


def _with_one(rows: Array) -> Array:
    return np.concatenate([np.asarray(rows, dtype=np.float64), np.ones((len(rows), 1))], axis=1)


def explained(source: Array, target: Array) -> float | None:
    """Share of the variance of held-out rows that a map of the others explains (R²); None for too few rows.

    Every tenth row is held out. 1 is perfect, 0 no better than the mean.
    """
    held = np.arange(len(source)) % _HELD_OUT == 0
    if (~held).sum() <= source.shape[1]:
        return None
    error = apply_map(source[held], fit_map(source[~held], target[~held])) - target[held]
    spread = target[held] - target[~held].mean(axis=0)
    total = float((spread.astype(np.float64) ** 2).sum())
    return 1 - float((error.astype(np.float64) ** 2).sum()) / total if total else None


def model_map(source: str, target: str, *, allow_pickle: bool = False) -> tuple[Array, dict[str, Any]]:
    """The map from one model's word embeddings to another's.

    Parameters
    ----------
    source, target : folders, embedded models or hub names

    Returns
    -------
    matrix : of `fit_map`
    figures : ``words`` that both know, and ``explained`` as of `explained`
    """
    ours, theirs = shared_words(load_tokenizer(source), load_tokenizer(target))
    before = _embeddings(source, allow_pickle)[ours]
    after = _embeddings(target, allow_pickle)[theirs]
    return fit_map(before, after), {"words": len(ours), "explained": explained(before, after)}


def default_name(prompt: Prompt, model: str) -> str:
    """What a prompt is called after it was mapped onto a model."""
    return as_name(f"{prompt.name}-on-{portable(model)}")


def project_prompt(prompt: Prompt, source: str, target: str, name: str, *, allow_pickle: bool = False) -> Prompt:
    """A prompt of one model mapped onto another.

    Parameters
    ----------
    prompt : what to map
    source : the model that it belongs to
    target : the other model
    name : of the new prompt

    Raises
    ------
    PetError
        When it belongs to another model than `source`, or the two share too few words.
    """
    fingerprint = model_fingerprint(source)
    if prompt.fingerprint != fingerprint:
        raise PetError(
            f"prompt {prompt.name} belongs to the model {prompt.backbone} (hash {prompt.fingerprint[:12]}), and "
            f"{source} is another one (hash {fingerprint[:12]}); name that model with --from"
        )
    matrix, figures = model_map(source, target, allow_pickle=allow_pickle)
    origin = {"prompt": prompt.name, "from": prompt.backbone, "hash": prompt.fingerprint, **figures}
    about = {**prompt.about, "kind": "projected", "metrics": {}, "origin": origin}
    vectors = apply_map(prompt.vectors, matrix)
    return Prompt(check_name(name), vectors, portable(target), model_fingerprint(target), about)


def _embeddings(name: str, allow_pickle: bool) -> Array:
    weight = open_model(name, allow_pickle=allow_pickle).get_input_embeddings().weight
    return np.asarray(weight.detach().numpy())
