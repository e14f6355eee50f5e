"""What the score of a label is compared with if a text may have several labels.

The score of a label's words says how well they fit a text. If a text has exactly one label, it is compared with the
scores of the other labels. Otherwise it is compared with the score of the same words in a text without content: what is
above that speaks for the label. The rest is its log-odds for a text about which nothing else is known: the logarithm of
share / (1 - share), where the share is that of the labeled texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pet.cloze.pvp import PVP
from pet.errors import PetError
from pet.members.null_text import null_texts
from pet.members.scoring import score_rows
from pet.members.seam import Array
from pet.members.shared import Shared

if TYPE_CHECKING:
    from pet.backbones.base import LanguageModel

FILE = "offset.safetensors"


def null_offset(lm: LanguageModel, pvp: PVP, shared: Shared) -> Array:
    """Return the mean score of each label for texts without content: float32 array of shape (L,).

    Parameters
    ----------
    lm, pvp : an untrained model and a pattern
    shared : what members share
    """
    tokens, most = null_texts(shared).tokens, shared.recipe.inference.tokens
    scores = score_rows(lm, shared.tokenizer, pvp, tokens, shared.accelerator, max_tokens=most)
    return np.asarray(scores.mean(axis=0))


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
    """Read what `save_offset` wrote. Raises PetError if the file is missing, damaged or has other labels."""
    path = folder / FILE
    try:
        offset: Array = load_file(path)["offset"]
    except (OSError, KeyError, SafetensorError) as error:
        raise PetError(f"{path}: cannot be read ({error}); train this member again") from error
    if offset.shape != (labels,):
        raise PetError(f"{path}: does not have {labels} labels; train this member again")
    return offset
