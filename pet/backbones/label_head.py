"""Learned verbalizers: labels are scored by vectors at the mask instead of words.

`LabelVectors` has one vector per label, as in WARP (arXiv 2101.00121). `Prototypes` compares the mask with one
prototype per label and learns by contrast, as in ProtoVerb (arXiv 2203.09770).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pet.backbones.base import Batch
from pet.backbones.learned import LearnedVerbalizer
from pet.backbones.masked import MaskedLM

if TYPE_CHECKING:
    from pet.cloze.pvp import PVP

Array = NDArray[Any]
SIZE = 128  # of the space in which prototypes are compared
SCALE = 10.0  # of cosines, as scores


class LabelHead(LearnedVerbalizer):
    """Scores labels from the features of the mask.

    Parameters
    ----------
    lm : the language model
    arrays : name -> start of a learned tensor; see `arrays`

    Attributes
    ----------
    per_label : name of the tensor with a row for each label
    labels : number of labels
    """

    lm: MaskedLM
    per_label: ClassVar[str]
    rate = 20.0

    def __init__(self, lm: MaskedLM, arrays: Mapping[str, Tensor]):
        super().__init__(lm, arrays)
        self.labels = len(arrays[self.per_label])

    @staticmethod
    @abstractmethod
    def shapes(labels: int, size: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor, for a number of labels and of features."""

    @property
    @abstractmethod
    def outputs(self) -> Array:
        """How outputs become label scores: float32 array of shape (W, L)."""

    @abstractmethod
    def score(self, features: Tensor) -> Tensor:
        """Return the outputs for features of shape (B, D): shape (B, W)."""

    def bind(self, pvp: PVP) -> PVP:
        """Return a pattern whose "words" are the outputs of this head."""
        count = len(self.outputs)
        words = np.arange(count, dtype=np.int64)
        return replace(pvp, words=words, word_to_label=self.outputs, before=((),) * count)

    def rows_per_text(self, pvp: PVP) -> int:
        return 1

    def word_scores(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        return self._score(self.lm.features(batch, batch["rows"], batch["positions"]))

    def words_of_training(self, tokens: Array, decay: float, pvp: PVP) -> AbstractContextManager[Any]:
        return self.lm.used_words(tokens, decay)

    def training_pass(self, batch: Batch, words: Tensor, pvp: PVP) -> tuple[Tensor, Tensor | None]:
        features, targets = self.lm.features(batch, batch["rows"], batch["positions"]), batch["targets"]
        labeled = len(features) - len(targets)
        outputs = self._score(features[:labeled])
        if not len(targets):
            return outputs, None
        return outputs, F.cross_entropy(self.lm.project(features[labeled:], None).float(), targets)

    def _score(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return self.score(features.float())


class LabelVectors(LabelHead):
    """A vector and a bias per label: score s(l|x) = v_l · h(x) + b_l, where h(x) is what the output embedding gets.

    Its tensors are ``weight`` of shape (L, D) and ``bias`` of shape (L,).
    """

    per_label = "weight"

    @staticmethod
    def shapes(labels: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"weight": (labels, size), "bias": (labels,)}

    @property
    def outputs(self) -> Array:
        return np.eye(self.labels, dtype=np.float32)

    def score(self, features: Tensor) -> Tensor:
        return F.linear(features, self.learned["weight"](), self.learned["bias"]())


class Prototypes(LabelHead):
    """A prototype per label: score s(l|x) = 10 cos(P (h(x) - c), p_l).

    Its tensors are ``projection`` P of shape (128, D), ``center`` c of shape (D,) and ``prototypes`` of shape (L, 128).
    The outputs are the scores and, for `extra_loss`, the projected features.
    """

    per_label = "prototypes"

    @staticmethod
    def shapes(labels: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"projection": (SIZE, size), "center": (size,), "prototypes": (labels, SIZE)}

    @property
    def outputs(self) -> Array:
        return np.eye(self.labels + SIZE, self.labels, dtype=np.float32)

    def score(self, features: Tensor) -> Tensor:
        points = F.normalize(F.linear(features - self.learned["center"](), self.learned["projection"]()), dim=1)
        cosines = points @ F.normalize(self.learned["prototypes"](), dim=1).T
        return torch.cat([SCALE * cosines, points], dim=1)

    def extra_loss(self, outputs: Tensor, labels: Tensor) -> Tensor | None:
        """Contrast texts with each other: those with the same label should be more similar (ProtoVerb, equation 5)."""
        belongs = F.one_hot(labels, self.labels).float() if labels.ndim == 1 else labels
        return contrast(outputs[:, self.labels :], belongs)


def contrast(points: Tensor, labels: Tensor) -> Tensor | None:
    """Return the mean over texts of -log of the share of similarity that texts with the same label have.

    Parameters
    ----------
    points : unit vectors of shape (B, K)
    labels : probabilities of shape (B, L)

    Returns
    -------
    A scalar; None if no two texts share a label
    """
    other = ~torch.eye(len(points), dtype=torch.bool, device=points.device)
    same = (labels @ labels.T).clamp(max=1) * other
    rows = same.sum(dim=1) > 0
    if not rows.any():
        return None
    similarity = (SCALE * points @ points.T).exp() * other
    return -((same * similarity).sum(dim=1)[rows] / similarity.sum(dim=1)[rows]).log().mean()


HEADS: dict[str, type[LabelHead]] = {"learned": LabelVectors, "prototype": Prototypes}
