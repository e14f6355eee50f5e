"""Options of every function that reads a table and writes another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pet.data.table_format import DETECT, TableFormat


@dataclass(frozen=True)
class TableOptions:
    """How to read the input and write the output.

    Parameters
    ----------
    columns : mapping of str to str
        Field (or ``label``, ``id``) -> column of the input. Other fields have columns of the same name.
    keep : tuple of str
        Further columns of the input to copy to the output.
    force : bool
        Replace an output that exists. Without it, nothing is overwritten.
    as_is : bool
        Write cells that begin like a formula unchanged to CSV and TSV; otherwise `pet.store.spreadsheet` quotes them.
    chunk_rows : int
        Rows that are in memory at a time.
    table_format : TableFormat
        Encoding, delimiter and quoting of the input; default: detected.

    Examples
    --------
    >>> TableOptions(columns={"text": "review"}, keep=("stars",)).keep
    ('stars',)
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    force: bool = False
    as_is: bool = False
    chunk_rows: int = 32768
    table_format: TableFormat = DETECT

    @property
    def reading(self) -> dict[str, Any]:
        """Keyword arguments of `pet.data.read.iter_table`."""
        return {"chunk_rows": self.chunk_rows, "table_format": self.table_format}
