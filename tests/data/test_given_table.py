"""A table that is given in Python to a run has the form of one that was read."""

from __future__ import annotations

from typing import Any

import datasets
import pandas as pd
import pytest

from pet.data.given_table import check_given_table
from pet.data.memory import table_of
from pet.errors import PetError

GOOD = {"id": ["a", "b"], "text": ["x", "y"], "label": [0, 1]}


def test_a_table_in_the_form_of_a_read_one_is_accepted() -> None:
    check_given_table(datasets.Dataset.from_dict(GOOD), ["text"], 2, "train")
    check_given_table(datasets.Dataset.from_dict(GOOD).select([1]), ["text"], 2, "train")
    check_given_table(table_of(["x", "y"], ["text"]), ["text"], None, "unlabeled")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": None}, ["'id'", "pet.read_table"]),
        ({"id": ["a", "a"]}, ["id", "more than once"]),
        ({"id": [1, 2]}, ["row 0", "'id'", "int64", "text"]),
        ({"text": ["x", None]}, ["row 1", "'text'", "missing"]),
        ({"text": [["x"], ["y"]]}, ["row 0", "'text'", "list"]),
        ({"label": ["bad", "good"]}, ["row 0", "'label'", "position"]),
        ({"label": [0, 2]}, ["row 1", "label 2", "2 labels"]),
        ({"label": [0, -1]}, ["row 1", "label -1"]),
        ({"label": [0, None]}, ["row 1", "'label'", "missing"]),
        ({"id": [], "text": [], "label": []}, ["empty"]),
    ],
)
def test_any_other_table_is_refused(changes: dict[str, Any], named: list[str]) -> None:
    columns = {name: values for name, values in {**GOOD, **changes}.items() if values is not None}
    with pytest.raises(PetError) as caught:
        check_given_table(datasets.Dataset.from_dict(columns), ["text"], 2, "train")
    assert all(part in str(caught.value) for part in ["train: ", *named]), str(caught.value)


def test_a_data_frame_is_refused() -> None:
    with pytest.raises(PetError, match=r"train: is a DataFrame"):
        check_given_table(pd.DataFrame(GOOD), ["text"], 2, "train")
