"""Prompt tuning: learned vectors in front of the text (Lester et al. 2021, arXiv 2104.08691)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pet.tuning import soft

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def inject(model: PreTrainedModel, start: Tensor) -> None:
    """Put learned vectors into a frozen model; they start from `start`, shape (n, D)."""
    soft.inject(model, soft.Numbers(start))
