"""Columns that a task file names."""

from __future__ import annotations


class UsualColumn(str):
    """A column from the ``columns`` of a task file. Files that lack it may have the field's own name instead.

    A column from ``--column`` is a plain `str`: a file that lacks it is a mistake.
    """
