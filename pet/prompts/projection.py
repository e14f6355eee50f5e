"""Map prompts from one model to another, by a linear map between the models' word embeddings.

Su et al. 2021 (arXiv 2111.06719) train their projector on prompts for the same task in both models, or on the
task itself, and find that it only helps for similar tasks. Here the map is fitted by least squares on the embeddings
of the words that both models share, without any training data. Trained prompts are far from any word embedding, so
a projected prompt may retain little, and may not be a better start than a new prompt.
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
_HELD_OUT = 10  # one in this many shared words is held out to evaluate the map


def shared_words(source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase) -> tuple[Array, Array]:
    """Find words that are single tokens after a space in both tokenizers; return their ids, int64 of shape (k,)."""
    texts = sorted({source.convert_tokens_to_string([token]).strip() for token in source.get_vocab()})
    texts = [text for text in texts if text.isprintable() and text]
    rows = []
    for tokenizer in (source, target):
        plain = PlainTextTokenizer(tokenizer, 2)
        ids = plain.encode(texts, space_before=True)
        rows.append([row[0] if len(row) == 1 and row[0] not in plain.special_ids else -1 for row in ids])
    found = np.asarray(rows, dtype=np.int64)
    found = found[:, (found >= 0).all(axis=0)]
    _, first = np.unique(found[0], return_index=True)  # "Word" and "word" may be the same token; count it once
    return found[0, first], found[1, first]


def fit_map(source: Array, target: Array) -> Array:
    """Fit an affine map between rows by least squares.

    Parameters
    ----------
    source : shape (k, D)
    target : shape (k, E)

    Returns
    -------
    float64 array of shape (D + 1, E) with the offset in the last row

    Raises
    ------
    PetError
        If there are not enough rows (k <= D).
    """
    if len(source) <= source.shape[1]:
        raise PetError(
            f"the two models share only {len(source)} words, but mapping {source.shape[1]}-dimensional vectors needs "
            "more; train a new prompt instead"
        )
    found: Array = np.linalg.lstsq(_with_one(source), np.asarray(target, dtype=np.float64), rcond=None)[0]
    return found


def apply_map(vectors: Array, matrix: Array) -> Array:
    """Apply a map from `fit_map` to vectors of shape (n, D): float32 of shape (n, E)."""
    return (_with_one(vectors) @ matrix).astype(np.float32)


def _with_one(rows: Array) -> Array:
    return np.concatenate([np.asarray(rows, dtype=np.float64), np.ones((len(rows), 1))], axis=1)


def explained(source: Array, target: Array) -> float | None:
    """Evaluate the map on held-out rows: the explained share of variance (R²), or None for too few rows.

    Every tenth row is held out. 1 is perfect, 0 is no better than the mean.
    """
    held = np.arange(len(source)) % _HELD_OUT == 0
    if (~held).sum() <= source.shape[1]:
        return None
    error = apply_map(source[held], fit_map(source[~held], target[~held])) - target[held]
    spread = target[held] - target[~held].mean(axis=0)
    total = float((spread.astype(np.float64) ** 2).sum())
    return 1 - float((error.astype(np.float64) ** 2).sum()) / total if total else None


def model_map(source: str, target: str, *, allow_pickle: bool = False) -> tuple[Array, dict[str, Any]]:
    """Fit the map from one model's word embeddings to another's.

    Parameters
    ----------
    source, target : folders, embedded models or hub names
    allow_pickle : also load pickled weights

    Returns
    -------
    matrix : the map; see `fit_map`
    figures : ``words``, the number of shared words, and ``explained``; see `explained`
    """
    ours, theirs = shared_words(load_tokenizer(source), load_tokenizer(target))
    before = _embeddings(source, allow_pickle)[ours]
    after = _embeddings(target, allow_pickle)[theirs]
    return fit_map(before, after), {"words": len(ours), "explained": explained(before, after)}


def default_name(prompt: Prompt, model: str) -> str:
    """Return the default name of a prompt mapped to a model."""
    return as_name(f"{prompt.name}-on-{portable(model)}")


def project_prompt(prompt: Prompt, source: str, target: str, name: str, *, allow_pickle: bool = False) -> Prompt:
    """Map a prompt from one model to another.

    Parameters
    ----------
    prompt : the prompt
    source : its model
    target : the other model
    name : name of the new prompt
    allow_pickle : also load pickled weights

    Raises
    ------
    PetError
        If `source` is not the prompt's model, or the models share too few words.
    """
    fingerprint = model_fingerprint(source)
    if prompt.fingerprint != fingerprint:
        raise PetError(
            f"prompt {prompt.name} was trained for model {prompt.backbone} (hash {prompt.fingerprint[:12]}), not "
            f"{source} (hash {fingerprint[:12]}); give its model with --from"
        )
    matrix, figures = model_map(source, target, allow_pickle=allow_pickle)
    origin = {"prompt": prompt.name, "from": prompt.backbone, "hash": prompt.fingerprint, **figures}
    about = {**prompt.about, "kind": "projected", "metrics": {}, "origin": origin}
    vectors = apply_map(prompt.vectors, matrix)
    return Prompt(check_name(name), vectors, portable(target), model_fingerprint(target), about)


def _embeddings(name: str, allow_pickle: bool) -> Array:
    weight = open_model(name, allow_pickle=allow_pickle).get_input_embeddings().weight
    return np.asarray(weight.detach().numpy())
