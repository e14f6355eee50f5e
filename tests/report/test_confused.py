"""The section of a report about labels that are confused."""

from __future__ import annotations

import numpy as np

from pet.report.confused import MOST_IN_MATRIX, confusion_section
from pet.report.html import html_report
from pet.report.summary import summary

LEFT_OUT = {"confusion": [[3, 1], [0, 2]], "labels": ["a", "<b>"]}


def test_test_texts_come_before_labeled_ones():
    of_test = {"confusion": [[5, 0], [0, 5]], "per_class": {"a": {}, "<b>": {}}}
    found = confusion_section({"student": of_test, "left_out": LEFT_OUT})
    assert found["texts"] == "Test texts" and found["rows"][0]["cells"][0][0] == 5
    assert confusion_section({}) == {}


def test_without_test_texts_the_page_shows_labeled_texts_that_members_left_out():
    pairs = [{"gold": "a", "predicted": "<b>", "count": 1, "of": 4, "texts": [[("", "x <i>")]]}]
    page = html_report({"left_out": LEFT_OUT, "confused": {"pairs": pairs}})
    assert "Labeled texts by gold label" in page and "x &lt;i&gt;" in page
    assert "1 of 4 texts labeled" in page and "was taken for" in page


def test_of_many_labels_only_cells_with_texts_are_drawn():
    size = MOST_IN_MATRIX + 1
    matrix = np.diag([4] * size)
    matrix[0, 1] = 1
    found = confusion_section({"left_out": {"confusion": matrix.tolist(), "labels": list(map(str, range(size)))}})
    assert not found["rows"] and len(found["cells"]) == size + 1
    assert sum(not right for *_, right in found["cells"]) == 1


def test_a_single_mistake_is_no_frequent_one():
    pair = {"gold": "a", "predicted": "b", "of": 4, "texts": []}
    said = [" ".join(summary({"confused": {"pairs": [pair | {"count": count}]}})) for count in (1, 2)]
    assert "most frequent mistake" not in said[0] and "2 of 4" in said[1]
