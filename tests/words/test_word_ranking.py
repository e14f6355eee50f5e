"""Words are ranked by how much more likely they are in the texts of a label, or near its name."""

from __future__ import annotations

import numpy as np
import pytest

from pet.words.ranking import choose, likelihood_ratios, relevance, scale_to, similarities, with_names


def test_a_ratio_is_the_difference_of_mean_log_odds() -> None:
    p = np.array([[0.5, 0.1], [0.8, 0.1], [0.2, 0.4], [0.2, 0.1]])
    ratios, means = likelihood_ratios(np.log(p), np.eye(3, dtype=bool)[[0, 0, 1, 1]])
    log_odds = np.log(p / (1 - p))
    assert ratios[0] == pytest.approx([np.log(4) / 2 + np.log(4), -np.log(4) / 2 - np.log(4), 0])
    assert ratios[1, 1] == pytest.approx(log_odds[2:, 1].mean() - log_odds[:2, 1].mean())
    assert means[0, :2] == pytest.approx([np.log(p[:2, 0]).mean(), np.log(0.2)])
    assert means[0, 2] == -np.inf


def test_sizes_of_the_classes_cancel() -> None:
    p = np.array([[0.5], [0.2]])
    few, _ = likelihood_ratios(np.log(p), np.eye(2, dtype=bool))
    many, _ = likelihood_ratios(np.log(np.repeat(p, [1, 9], axis=0)), np.eye(2, dtype=bool)[[0] + [1] * 9])
    assert many == pytest.approx(few)


def test_the_word_of_the_name_is_nearest_and_a_label_without_words_is_near_nothing() -> None:
    embeddings = np.eye(4)
    found = similarities(embeddings, [embeddings[[2]], embeddings[[0, 1]], embeddings[:0]])
    assert found.argmax(axis=0)[0] == 2 and set(np.argsort(-found[:, 1])[:2]) == {0, 1}
    assert not found[:, 2].any()


def test_a_relevant_word_is_filled_in_where_the_neighbors_of_its_label_are() -> None:
    sports, world = np.array([1.0, 1, 0, 0]), np.array([0.0, 0, 1, 1])
    # Words 0 to 2 stand for sports, 3 to 5 for world; word 6 is frequent everywhere, and word 7 follows sports.
    scores = np.stack([sports] * 3 + [world] * 3 + [sports * 0 + 9, sports - 5], axis=1)
    similar = np.zeros((8, 2))
    similar[:3, 0] = similar[3:6, 1] = 1
    found = relevance(scores, similar)
    assert found[7] == pytest.approx([2, -2]) and found[6] == pytest.approx([0, 0])


def test_the_name_counts_less_with_more_texts() -> None:
    ratios, similar = np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])
    few = with_names(ratios, similar, np.array([1, 1]))[:, 0]
    many = with_names(ratios, similar, np.array([50, 50]))[:, 0]
    assert few[1] > few[0] and many[0] > many[1]
    assert with_names(ratios, np.zeros((2, 2)), np.array([1, 1])) == pytest.approx(ratios)


def test_a_word_serves_one_label_and_needs_evidence() -> None:
    scores = np.array([[1.0, 9.0], [0.9, 1.0], [-1.0, -2.0], [0.5, 0.1]])
    allowed = np.ones((4, 2), bool)
    assert choose(scores, allowed, 5) == [[3], [0, 1]]
    allowed[0, 1] = False
    assert choose(scores, allowed, 5) == [[0, 3], [1]]


def test_scores_of_labels_with_and_without_texts_have_the_same_size() -> None:
    scores = np.array([[[4.0, 0.5, 0.1], [-1.0, 0.2, 1.0]]])
    assert scale_to(scores, np.array([False, True, True])).tolist() == [[[4, 2, 0.4], [-1, 0.8, 4]]]
    assert scale_to(scores, np.array([True] * 3)) is scores
