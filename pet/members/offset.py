"""What is subtracted from the scores of a member, in training from the first update on, and afterwards.

A pretrained model prefers some label words whatever the text says, and a member that starts with this preference has
to unlearn it from a few texts. So the offset of a new member makes its first predictions for the labeled texts right
on average: their mean is the label shares of these texts, as if only an intercept had been fitted to them.

If a text may have several labels, a label is not compared with the scores of the other labels but with the score of its
own words in a text without content: what is above that speaks for the label. The rest is its log-odds for a text about
which nothing else is known: the logarithm of share / (1 - share), where the share is that of the labeled texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable, join_rows
from pet.ensemble.combine import prior_correction
from pet.errors import PetError
from pet.members.null_text import null_texts
from pet.members.scoring import score_rows
from pet.members.seam import Array
from pet.members.shared import Shared
from pet.members.training import ClozeData
from pet.training.losses import label_sums

if TYPE_CHECKING:
    from pet.backbones.base import LanguageModel

FILE = "offset.safetensors"
_MOST = 256  # labeled texts that are scored


def start_offset(
    lm: LanguageModel, pvp: PVP, shared: Shared, data: ClozeData, before: Path | None = None
) -> Array | None:
    """Return the offset of a member that is going to be trained: float32 array of shape (L,), or None for zeros.

    Parameters
    ----------
    lm, pvp : the model before its first update, and the pattern
    shared : what members share
    data : training data
    before : folder of the member to continue training from, whose offset stays
    """
    if before is not None and (before / FILE).is_file():
        return read_offset(before, len(shared.task.labels))
    if pvp.names is not None:
        return None
    if data.independent:
        return null_offset(lm, pvp, shared) - label_log_odds(data.labels)
    return text_offset(lm, pvp, shared, data) if shared.recipe.member.even_start else None


def text_offset(lm: LanguageModel, pvp: PVP, shared: Shared, data: ClozeData) -> Array:
    """Return the offset with which the mean prediction for labeled texts is their label shares.

    Each share counts one text more than there is, so that a label without examples can be predicted. Of many texts,
    evenly spaced rows are used.

    Parameters
    ----------
    lm, pvp, shared, data : see `start_offset`

    Returns
    -------
    float32 array of shape (L,), adding up to 0
    """
    rows = np.linspace(0, len(data.labels) - 1, min(_MOST, len(data.labels))).astype(np.int64)
    shares = label_sums(data.labels[rows], len(shared.task.labels)) + 1
    scores = _scores(lm, pvp, shared, join_rows([(data.labeled, rows)]))
    return -prior_correction(scores, shares / shares.sum()).astype(np.float32)


def null_offset(lm: LanguageModel, pvp: PVP, shared: Shared) -> Array:
    """Return the mean score of each label for texts without content: float32 array of shape (L,).

    Parameters
    ----------
    lm, pvp : an untrained model and a pattern
    shared : what members share
    """
    return np.asarray(_scores(lm, pvp, shared, null_texts(shared).tokens).mean(axis=0))


def _scores(lm: LanguageModel, pvp: PVP, shared: Shared, tokens: TokenTable) -> Array:
    most = shared.recipe.inference.tokens
    return score_rows(lm, shared.tokenizer, pvp, tokens, shared.accelerator, max_tokens=most)


def label_log_odds(labels: Array) -> Array:
    """Return the log-odds of each label for a text about which nothing is known: float32 array of shape (L,).

    Parameters
    ----------
    labels : 0 or 1 for each label of the labeled texts, or probabilities, shape (rows, L)

    Examples
    --------
    >>> label_log_odds(np.array([[1, 0], [1, 0]])).round(3).tolist()
    [1.0989999771118164, -1.0989999771118164]
    """
    share = (labels.sum(axis=0) + 1) / (len(labels) + 2)
    return np.asarray(np.log(share) - np.log1p(-share), dtype=np.float32)


def save_offset(folder: Path, offset: Array) -> None:
    """Write what is subtracted from the scores of a member to its folder."""
    save_file({"offset": np.ascontiguousarray(offset, np.float32)}, folder / FILE)


def read_offset(folder: Path, labels: int) -> Array:
    """Read what `save_offset` wrote.

    Parameters
    ----------
    folder : of the member
    labels : number of labels of the task

    Raises
    ------
    PetError
        If the file is missing or damaged, or has other labels.
    """
    path = folder / FILE
    try:
        offset: Array = load_file(path)["offset"]
    except (OSError, KeyError, SafetensorError) as error:
        raise PetError(f"{path}: cannot be read ({error}); train this member again") from error
    if offset.shape != (labels,):
        raise PetError(f"{path}: does not have {labels} labels; train this member again")
    return offset
