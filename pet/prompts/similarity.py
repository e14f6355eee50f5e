"""Similarity and weighted means of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def cosine(a: Array, b: Array) -> float:
    """Cosine of two vectors of the same length; 0 if one of them is 0."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0


def mean_cosine(a: Array, b: Array) -> float:
    """Cosine of the mean vectors of two prompts, shapes (n, D) and (m, D).

    "Cosine similarity of average tokens" of SPoT (Vu et al. 2021, arXiv 2110.07904).
    """
    return cosine(np.asarray(a, dtype=np.float64).mean(axis=0), np.asarray(b, dtype=np.float64).mean(axis=0))


def pair_cosine(a: Array, b: Array) -> float:
    """Mean cosine of all pairs of vectors of two prompts, shapes (n, D) and (m, D).

    "Per-token average cosine similarity" of SPoT (arXiv 2110.07904).
    """
    return float(_directions(a).mean(axis=0) @ _directions(b).mean(axis=0))


def _directions(vectors: Array) -> Array:
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def neuron_overlap(a: Array, b: Array) -> float:
    """Overlap of activated neurons: cosine of two bool arrays of the same shape.

    |A and B| / sqrt(|A| |B|) for the sets A and B of active neurons. After Su et al. 2021 (arXiv 2111.06719), who
    take the cosine of the activation states of all layers.

    Examples
    --------
    >>> neuron_overlap(np.array([True, True, False, False]), np.array([True, False, False, False]))  # 1 / sqrt(2 * 1)
    0.7071067811865475
    """
    return cosine(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))


def normalized_weights(similarities: Sequence[float]) -> Array:
    """Normalize similarities to weights with sum 1; negative similarities count as 0.

    Used for the "weighted average of top k prompts" of SPoT (arXiv 2110.07904). If no similarity is positive,
    all weights are equal.

    Returns
    -------
    float64 array of shape (k,)

    Examples
    --------
    >>> normalized_weights([0.5, 0.5, -1.0]).tolist()
    [0.5, 0.5, 0.0]
    """
    weights = np.maximum(np.asarray(similarities, dtype=np.float64), 0.0)
    total = float(weights.sum())
    return weights / total if total else np.full(len(weights), 1 / len(weights))


def weighted_mean(prompts: Sequence[Array], weights: Array) -> Array:
    """Weighted mean of prompts with the same shape (n, D); float32."""
    stacked = np.stack([np.asarray(prompt, dtype=np.float64) for prompt in prompts])
    return np.tensordot(weights, stacked, axes=1).astype(np.float32)
