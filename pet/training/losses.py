"""Losses for members and students."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Array = NDArray[Any]
_FAR = -1e4  # score of a label that cannot be the right one


def label_scores(word_logits: Tensor, word_to_label: Tensor) -> Tensor:
    """Score each label by the mean logit of its words.

    s(l|x) = mean over w in V_l of z_w (Schick and Schütze 2021, arXiv 2001.07676, section 3.1; several
    words per label as in arXiv 2010.13641).

    Parameters
    ----------
    word_logits : shape (B, W)
    word_to_label : shape (W, L), ``1 / |V_l|`` if word w belongs to label l, else 0

    Returns
    -------
    float32, shape (B, L); never half precision, in which close scores would become equal
    """
    with torch.autocast(word_logits.device.type, enabled=False):
        return word_logits.float() @ word_to_label


def word_mass(log_probabilities: Tensor, word_of_token: Tensor) -> Tensor:
    """Return the log of the total probability of all label words.

    Parameters
    ----------
    log_probabilities : of each token of the words, shape (B, W)
    word_of_token : int64 of shape (W,): the number of the word that a token belongs to

    Returns
    -------
    float32, shape (B,)

    Examples
    --------
    Words of probability 0.5, and 0.5 × 0.25:

    >>> tokens = torch.tensor([[0.5, 0.5, 0.25]]).log()
    >>> word_mass(tokens, torch.tensor([0, 1, 1])).exp()
    tensor([0.6250])
    """
    words = log_probabilities.new_zeros(len(log_probabilities), int(word_of_token.max()) + 1, dtype=torch.float32)
    return words.index_add(1, word_of_token, log_probabilities.float()).logsumexp(dim=1)


def label_sums(labels: Array, count: int) -> Array:
    """Return how many texts of a training set each label has, shape (count,).

    Parameters
    ----------
    labels : positions of the labels, shape (rows,); or probabilities, shape (rows, count)
    count : number of labels
    """
    return np.asarray(labels.sum(axis=0)) if labels.ndim == 2 else np.bincount(labels, minlength=count)


def loss_of_seen(scores: Tensor, labels: Tensor, loss: Callable[[Tensor, Tensor], Tensor], seen: Tensor) -> Tensor:
    """Return a loss that does not see the scores of labels without examples, so that it does not change them.

    Parameters
    ----------
    scores, labels : see `weighted_cross_entropy`
    loss : function of scores and labels
    seen : int64, positions of the labels that have examples
    """
    if len(seen) == scores.shape[1]:
        return loss(scores, labels)
    columns = seen.to(scores.device)
    return loss(torch.full_like(scores, _FAR).index_copy(1, columns, scores[:, columns]), labels)


def independent_loss(scores: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of independent labels; those without examples are left out.

    Parameters
    ----------
    scores, labels : shape (B, L)
    seen : bool, shape (L,): whether a label has examples
    """
    seen = seen.to(scores.device)
    return F.binary_cross_entropy_with_logits(scores[:, seen], labels[:, seen])


def class_weights(labels: Array, count: int) -> Array:
    """Return weights that make every label with examples count the same, and the mean text 1.

    Parameters
    ----------
    labels : positions of the labels of a training set, shape (rows,); or probabilities, shape (rows, L)
    count : number of labels, L

    Returns
    -------
    float32 array of shape (L,); 1 for a label without examples

    Examples
    --------
    >>> class_weights(np.array([0, 0, 0, 1]), 3).round(3).tolist()
    [0.6669999957084656, 2.0, 1.0]
    """
    sums = label_sums(labels, count)
    seen = sums > 0
    return np.where(seen, len(labels) / (seen.sum() * np.where(seen, sums, 1)), 1).astype(np.float32)


def weighted_cross_entropy(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over texts of the cross-entropy, each label multiplied by its weight.

    Parameters
    ----------
    scores : shape (B, L)
    labels : int64 of shape (B,), or probabilities of shape (B, L)
    weights : see `class_weights`
    """
    weights = weights.to(scores.device)
    if labels.ndim == 1:
        return (F.cross_entropy(scores, labels, reduction="none") * weights[labels]).mean()
    return soft_cross_entropy(scores, labels * weights)


def hinge_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over texts of the sum over wrong labels of max(0, 1 + s_wrong - s_right) (arXiv 2009.07118, equation 5).

    Parameters
    ----------
    scores : shape (B, L)
    labels : int64 of shape (B,); or probabilities of shape (B, L), which weight the sums of all labels

    Examples
    --------
    >>> hinge_loss(torch.tensor([[2.0, 1.5, -1.0]]), torch.tensor([0]))
    tensor(0.5000)
    """
    if labels.ndim == 1:
        right = scores.gather(1, labels[:, None])
        return (F.relu(1 + scores - right).sum(dim=1) - 1).mean()  # the right label adds 1
    sums = F.relu(1 + scores[:, None] - scores[:, :, None]).sum(dim=2) - 1
    return (labels * sums).sum(dim=1).mean()


def member_loss(cross_entropy: Tensor, mlm: Tensor | None, alpha: float) -> Tensor:
    """L = (1 - alpha) * L_CE + alpha * L_MLM (arXiv 2001.07676, equation 3), or L_CE if `mlm` is None."""
    if mlm is None:
        return cross_entropy
    return (1 - alpha) * cross_entropy + alpha * mlm


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 / B * sum of KL(softmax(teacher / T) || softmax(student / T)) (Hinton et al. 2015, arXiv 1503.02531).

    Parameters
    ----------
    student, teacher : logits of shape (B, L); log-probabilities of soft labels work as teacher logits
    temperature : T > 0
    """
    log_q = F.log_softmax(student / temperature, dim=-1)
    log_p = F.log_softmax(teacher / temperature, dim=-1)
    return F.kl_div(log_q, log_p, log_target=True, reduction="batchmean") * temperature**2


def ordinal_distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 times the mean over rows and thresholds k of KL(P_teacher(label > k) || P_student(label > k)).

    Both probabilities are sums of a softmax, so the student stays a plain classifier. The farther a label is from the
    right one, the more thresholds lie between them.

    Parameters
    ----------
    student, teacher : logits of shape (B, L), labels in their order
    temperature : T > 0
    """
    wanted, given = (_log_cumulative(logits / temperature) for logits in (teacher, student))
    terms = wanted.exp() * (wanted - given)  # of label <= k, and of label > k
    return terms.sum(dim=1).mean() * temperature**2


def _log_cumulative(logits: Tensor) -> Tensor:
    """Return log P(label <= k) and log P(label > k) for the thresholds between labels, shape (B, 2, L - 1)."""
    logs = F.log_softmax(logits, dim=-1)
    up = torch.logcumsumexp(logs, dim=-1)[:, :-1]
    down = torch.logcumsumexp(logs.flip(-1), dim=-1).flip(-1)[:, 1:]
    return torch.stack([up, down], dim=1)


def independent_distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean over rows and labels of T^2 * KL(sigmoid(teacher / T) || sigmoid(student / T)), for independent labels.

    Parameters
    ----------
    student, teacher : logits of shape (B, L)
    temperature : T > 0
    """
    scaled = teacher / temperature
    cross = F.binary_cross_entropy_with_logits(student / temperature, scaled.sigmoid())
    return (cross - F.binary_cross_entropy_with_logits(scaled, scaled.sigmoid())) * temperature**2


def soft_cross_entropy(student: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy between logits (B, L) and target probabilities (B, L)."""
    return -(target * F.log_softmax(student, dim=-1)).sum(dim=-1).mean()
