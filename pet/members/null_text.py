"""Scores relative to texts without content: what a model says about these is its bias toward some labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from pet.backbones.masks import plan_masks
from pet.ensemble.settings import CONTEXTUAL, NOT_CALIBRATED, PMI
from pet.members.scoring import mass_rows, score_rows
from pet.members.seam import OnRows, ignore
from pet.members.texts import Texts
from pet.numerics import log_mean_softmax

if TYPE_CHECKING:
    from pet.backbones.base import LanguageModel
    from pet.cloze.pvp import PVP
    from pet.members.shared import Shared

Array = NDArray[Any]
NULL_TEXTS = ("", "N/A", "...")


def null_texts(shared: Shared) -> Texts:
    """Return a table whose fields are all one of `NULL_TEXTS`."""
    columns = {field: list(NULL_TEXTS) for field in shared.task.fields}
    return Texts(Dataset.from_dict({"id": list(map(str, range(len(NULL_TEXTS))))} | columns), lambda: shared.plan)


def label_bias(scores: Array, calibration: str) -> Array:
    """Return what to subtract from the scores of all texts.

    Parameters
    ----------
    scores : scores of `NULL_TEXTS`, shape (texts, L)
    calibration : ``contextual``: log of the mean probabilities (Zhao et al. 2021, arXiv 2102.09690); ``pmi``: the
        scores of the empty text (Holtzman et al. 2021, arXiv 2104.08315); anything else: the mean scores

    Returns
    -------
    float64 array of shape (L,)

    Examples
    --------
    >>> null = np.log([[0.5, 0.3, 0.2]])
    >>> from pet.numerics import softmax
    >>> softmax(np.log([0.7, 0.2, 0.1]) - label_bias(null, "contextual")).round(6).tolist()
    [0.545455, 0.25974, 0.194805]
    """
    scores = np.asarray(scores, dtype=np.float64)
    if calibration == CONTEXTUAL:
        return log_mean_softmax(scores)
    return np.asarray(scores[0] if calibration == PMI else scores.mean(axis=0))


def score_texts(
    shared: Shared,
    lm: LanguageModel,
    pvp: PVP,
    texts: Texts,
    out: Array,
    on_rows: OnRows = ignore,
    *,
    untrained: bool = False,
    offset: Array | None = None,
) -> None:
    """Write the scores of texts into an array, calibrated as the recipe says.

    Parameters
    ----------
    shared : tokenizer, recipe and device
    lm, pvp : the language model and the pattern
    texts, out, on_rows : see `pet.members.seam.Scorer.scores`
    untrained : the model is not trained. Then the scores are also relative to texts without content if the words of a
        masked language model differ in their number of tokens, because it prefers those of fewer tokens, and if labels
        do not exclude each other.
    offset : array of shape (L,) that is subtracted from the scores; see `pet.members.offset`
    """

    def score(texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        score_rows(
            lm,
            shared.tokenizer,
            pvp,
            texts.tokens,
            shared.accelerator,
            max_tokens=shared.recipe.inference.tokens,
            out=out,
            on_rows=on_rows,
        )
        if offset is not None:
            out -= offset

    score(texts, out, on_rows)
    calibration = NOT_CALIBRATED if shared.task.multi_label else shared.recipe.merging.calibration
    mixed = pvp.encoder.blank.repeated and len(plan_masks(pvp.before).sizes) > 1
    if calibration != NOT_CALIBRATED or (untrained and (mixed or shared.task.multi_label)):
        null = np.empty((len(NULL_TEXTS), out.shape[1]), dtype=np.float32)
        score(null_texts(shared), null)
        out -= label_bias(null, calibration).astype(np.float32)


def text_mass(shared: Shared, lm: LanguageModel, pvp: PVP, texts: Texts) -> Array:
    """Return how much more probable label words are at the blank than in texts without content.

    Parameters
    ----------
    shared : tokenizer, recipe and device
    lm, pvp : the language model and the pattern
    texts : the table

    Returns
    -------
    float32 array of shape (rows,): the log of the total probability of all label words, minus its mean over
    `NULL_TEXTS`
    """

    def mass(texts: Texts) -> Array:
        most = shared.recipe.inference.tokens
        return mass_rows(lm, shared.tokenizer, pvp, texts.tokens, shared.accelerator, max_tokens=most)

    return np.asarray(mass(texts) - mass(null_texts(shared)).mean())
