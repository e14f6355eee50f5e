"""Losses compared with values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pet.training.losses import distillation_loss, label_scores, member_loss, soft_cross_entropy


def test_the_score_of_a_label_is_the_mean_logit_of_its_words():
    logits = torch.tensor([[3.0, -1.0, 1.5]])
    word_to_label = torch.tensor([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]])
    scores = label_scores(logits, word_to_label)
    torch.testing.assert_close(scores, torch.tensor([[1.0, 1.5]]))
    probabilities = torch.softmax(scores, dim=-1)
    torch.testing.assert_close(probabilities, torch.tensor([[0.377541, 0.622459]]), atol=1e-6, rtol=0)


def test_logits_are_averaged_before_the_softmax():
    words = torch.softmax(torch.tensor([3.0, -1.0, 1.5]), dim=-1)
    assert words[:2].mean() > words[2]
    scores = label_scores(torch.tensor([[3.0, -1.0, 1.5]]), torch.tensor([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]]))
    assert scores.argmax() == 1


def test_member_loss_weights_cross_entropy_and_mlm_loss():
    loss = member_loss(torch.tensor(0.7, dtype=torch.float64), torch.tensor(6.2, dtype=torch.float64), 1e-4)
    assert float(loss) == pytest.approx(0.70055, abs=1e-12)


def test_member_loss_without_unlabeled_text_is_the_cross_entropy():
    cross_entropy = torch.tensor(0.7)
    assert member_loss(cross_entropy, None, 0.5) is cross_entropy


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.9756703614), (2.0, 1.1937500683), (4.0, 1.2413717405)])
def test_distillation_loss_matches_values_worked_out_by_hand(temperature, expected):
    student = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[3.0, 1.0, 0.0], [1.0, 0.0, -1.0]], dtype=torch.float64)
    assert float(distillation_loss(student, teacher, temperature)) == pytest.approx(expected, abs=5e-11)


def test_log_soft_labels_work_as_teacher_logits():
    student = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[3.0, 1.0, 0.0], [1.0, 0.0, -1.0]], dtype=torch.float64)
    soft = torch.softmax(teacher, dim=-1).log()
    torch.testing.assert_close(distillation_loss(student, soft, 2.0), distillation_loss(student, teacher, 2.0))


def test_distillation_loss_is_zero_if_student_and_teacher_agree():
    logits = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    assert float(distillation_loss(logits + 7, logits, 3.0)) == pytest.approx(0, abs=1e-12)


def test_distillation_loss_has_gradients_for_the_student_only():
    student = torch.tensor([[1.0, 2.0]], requires_grad=True)
    loss = distillation_loss(student, torch.tensor([[2.0, 0.0]]), 2.0)
    loss.backward()
    # d L / d s = T * (softmax(s / T) - softmax(t / T)) for a single example
    expected = 2 * (torch.softmax(torch.tensor([[0.5, 1.0]]), -1) - torch.softmax(torch.tensor([[1.0, 0.0]]), -1))
    torch.testing.assert_close(student.grad, expected)


def test_soft_cross_entropy_matches_values_worked_out_by_hand():
    student = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]], dtype=torch.float64)
    target = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    expected = (math.log(2) - 0.5 * math.log(1 / 4) - 0.5 * math.log(3 / 4)) / 2
    assert float(soft_cross_entropy(student, target)) == pytest.approx(expected)
