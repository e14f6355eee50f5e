"""Overlaps between texts."""

from __future__ import annotations

from pet.data.overlap import drop_overlapping


def test_documents_that_share_a_run_of_words_are_left_out() -> None:
    others = ["The quick brown fox jumps over the lazy dog today"]
    documents = [
        "so THE quick, brown fox - jumps over the lazy... cat",  # eight words in a row, spelled differently
        "the quick brown fox jumps over the tired dog",  # seven
        "nothing of it",
    ]
    assert drop_overlapping(documents, others, 8) == (documents[1:], 1)
    assert drop_overlapping(documents, [], 8) == (documents, 0)
