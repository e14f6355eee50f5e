"""Numeric helper functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def softmax(scores: Array, temperature: float = 1.0) -> Array:
    """Softmax over the last axis, in float64.

    Examples
    --------
    >>> softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    scaled = np.asarray(scores, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponents = np.exp(scaled)
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def sigmoid(scores: Array) -> Array:
    """Logistic function of each score, in float64, without overflow.

    Examples
    --------
    >>> sigmoid(np.array([0.0, -800.0, 800.0])).tolist()
    [0.5, 0.0, 1.0]
    """
    wide = np.asarray(scores, dtype=np.float64)
    small = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1 / (1 + small), small / (1 + small))


def log_sigmoid(scores: Array) -> Array:
    """Logarithms of `sigmoid`, in float64, without overflow. NaN stays NaN.

    Examples
    --------
    >>> log_sigmoid(np.array([0.0, -800.0, 800.0, np.nan])).round(3).tolist()
    [-0.693, -800.0, 0.0, nan]
    """
    wide = np.asarray(scores, dtype=np.float64)
    return np.asarray(np.minimum(wide, 0.0) - np.log1p(np.exp(-np.abs(wide))))


def log_softmax(scores: Array) -> Array:
    """Logarithms of `softmax` over the last axis, in float64."""
    scaled = np.asarray(scores, dtype=np.float64)
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True)))


def log_mean_softmax(scores: Array) -> Array:
    """Logarithms of the mean of `softmax` over rows, of which each may have no probability at all.

    Examples
    --------
    >>> log_mean_softmax(np.array([[0.0, 0.0], [0.0, -3000.0]])).round(3).tolist()
    [-0.288, -1.386]
    >>> log_mean_softmax(np.array([[0.0, -3000.0]])).round(1).tolist()
    [0.0, -708.4]
    """
    mean = softmax(scores).mean(axis=0)
    return np.asarray(np.log(np.maximum(mean, np.finfo(mean.dtype).tiny)))


def mean_known(values: Array) -> Array:
    """Mean over the first axis of the numbers that are not NaN; NaN where all are.

    Examples
    --------
    >>> mean_known(np.array([[1.0, np.nan], [3.0, np.nan]])).tolist()
    [2.0, nan]
    """
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    return np.asarray(np.where(known, values, 0.0).sum(axis=0) / np.where(counts > 0, counts, np.nan))


def unit_length(vectors: Array) -> Array:
    """Scale each row to length 1; rows of zeros stay as they are.

    Examples
    --------
    >>> unit_length(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))
