"""Features of a few texts in as many dimensions as there are texts.

The best weights of a regularized regression are sums of the texts it learns from (the representer theorem). So with
fewer texts than features, it suffices to know the features in the space that the texts span. Distances stay the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST_ROWS = 1000  # the time for the new dimensions grows with the cube of their number
_NOTHING = 1e-10  # a dimension with this share of the largest variance is left out


def in_own_span(features: Any) -> tuple[Any, Callable[[Array], Array]]:
    """Return the same texts with fewer features, and a function that returns weights of the original features.

    Parameters
    ----------
    features : dense or sparse matrix of shape (rows, D)

    Returns
    -------
    features : float64 array of shape (rows, at most rows), with the same products of rows; or `features` themselves,
        if there are more than 1,000 rows or no more features than rows
    weights : maps weights of the new features, shape (L, at most rows), to those of the original ones, shape (L, D)

    Examples
    --------
    >>> long = np.array([[0.0, 3.0, 0.0], [0.0, 3.0, 4.0]])
    >>> short, weights = in_own_span(long)
    >>> short.shape, (short @ short.T).round(6).tolist()
    ((2, 2), [[9.0, 9.0], [9.0, 25.0]])
    >>> (weights(np.eye(2)) @ long.T).round(6).tolist() == short.T.round(6).tolist()
    True
    """
    rows, columns = features.shape
    if not 0 < rows < columns or rows > MOST_ROWS:
        return features, np.asarray
    products = features.astype(np.float64) @ features.T.astype(np.float64)
    variances, directions = np.linalg.eigh(products if isinstance(products, np.ndarray) else products.toarray())
    kept = variances > _NOTHING * variances[-1]
    if not kept.any():
        return features, np.asarray
    lengths, directions = np.sqrt(variances[kept]), directions[:, kept]

    def weights(own: Array) -> Array:
        shares = own / lengths @ directions.T  # of each text
        return np.asarray((features.T @ shares.T).T)

    return directions * lengths, weights
