"""Which rows of a partly labeled table are read: those that have a label, or those that have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pet.data.values import is_missing
from pet.spelling import compose


@dataclass(frozen=True)
class Only:
    """Selects rows. A row without the column, or with a missing or blank value in it, has no label.

    Parameters
    ----------
    column : str
        Column of the labels.
    labeled : bool
        Read the rows with a label; if False, those without.

    Examples
    --------
    >>> unlabeled = Only("label", False)
    >>> unlabeled({"text": "a", "label": " "}), unlabeled({"text": "b"}), unlabeled({"text": "c", "label": "bug"})
    (True, True, False)
    """

    column: str
    labeled: bool

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Return True if a row is read."""
        if self.column in row:
            value = row[self.column]
        else:
            key = compose(self.column)
            value = next((row[other] for other in row if compose(other) == key), None)
        blank = is_missing(value) or (isinstance(value, str) and not value.strip())
        return blank != self.labeled

    def mask(self, values: pa.Array) -> pa.Array:
        """Return which rows are read, given the column of the labels, which is not encoded as a dictionary."""
        there = pc.invert(pc.is_null(values, nan_is_null=True))
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            there = pc.and_(there, pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(values), ""), False))
        return there if self.labeled else pc.invert(there)

    @property
    def none_found(self) -> str:
        """What to say if there are no such rows."""
        if self.labeled:
            return f"no row has a label in column {self.column!r}; label some rows, or give the table as --unlabeled"
        return f"every row has a label in column {self.column!r}, so no texts are unlabeled; give it as --train"
