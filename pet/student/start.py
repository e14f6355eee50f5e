"""A good start for a student: before its first update, it knows what the members know.

A new classifier has a random output layer, and it reads a token that the language model has never used. With few texts
and many labels, training spends most of its updates on that. Three steps save them:

1. The encoder of a trained member replaces the pretrained one, if they have the same shape.
2. The first token, which a classifier reads, starts as the mask token, where the language model puts what it expects.
3. The output layer is fitted to the soft labels by logistic regression on what the untrained classifier computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from pet.data.pick import pick_rows
from pet.seeds import derive_seed
from pet.student.classifier import Classifier, encode_texts
from pet.training.device import Accelerator

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

Array = NDArray[Any]
_PENALTY = 1e-4  # times the squared weights of the output layer
_ITERATIONS = 200
_FEWEST_TEXTS = 512
_TEXTS_PER_LABEL = 10


def take_encoder(classifier: Classifier, model: PreTrainedModel) -> bool:
    """Copy the encoder of a language model into a classifier.

    Parameters
    ----------
    classifier : a new classifier
    model : a trained language model, on the CPU

    Returns
    -------
    bool: False, with nothing copied, if the two encoders differ in more than a pooling layer
    """
    own, other = classifier.model.base_model.state_dict(), model.base_model.state_dict()
    shared = {name: value for name, value in other.items() if name in own}
    missing = [name for name in own if name not in shared and "pool" not in name]
    if missing or any(own[name].shape != value.shape for name, value in shared.items()):
        return False
    classifier.model.base_model.load_state_dict(shared, strict=False)
    return True


def read_mask_first(classifier: Classifier, table: Dataset) -> bool:
    """Let the first token of every text start as the mask token.

    Parameters
    ----------
    classifier : a new classifier
    table : some of its texts

    Returns
    -------
    bool: False, with nothing changed, if texts do not start with a special token, or the model has no mask token
    """
    tokenizer = classifier.tokenizer
    first, mask = tokenizer.cls_token_id, tokenizer.mask_token_id
    rows = pick_rows(table, np.arange(min(1, len(table))))
    encoded = encode_texts(rows, classifier.text_input, tokenizer, classifier.max_length)
    if first is None or mask is None or classifier.pads_left or not len(rows) or encoded.ids.values[0] != first:
        return False
    with torch.no_grad():
        words = classifier.model.get_input_embeddings().weight
        words[first] = words[mask]
    return True


def fit_output_layer(
    classifier: Classifier, table: Dataset, targets: Array, accelerator: Accelerator, *, seed: int, max_tokens: int
) -> bool:
    """Fit the output layer to soft labels by logistic regression; nothing else changes.

    Only some of the texts are used: ten for each label, and at least 512.

    Parameters
    ----------
    classifier : a new classifier
    table : the texts
    targets : probabilities of shape (rows, L)
    accelerator : device and precision
    seed : random seed of the draw of texts
    max_tokens : maximum number of tokens per batch

    Returns
    -------
    bool: False, with nothing changed, if the model does not end in a linear layer with one output per label
    """
    name = output_layer(classifier.model, len(classifier.labels))
    if name is None:
        return False
    most = max(_FEWEST_TEXTS, _TEXTS_PER_LABEL * len(classifier.labels))
    drawn = np.random.default_rng(derive_seed(seed, "start")).permutation(len(table))[:most]
    rows = np.sort(drawn)
    parent, _, child = name.rpartition(".")
    owner = classifier.model.get_submodule(parent)
    layer = getattr(owner, child)
    features = np.empty((len(rows), layer.in_features), dtype=np.float32)
    setattr(owner, child, nn.Identity())  # the model now returns what the layer would read
    try:
        classifier.write_outputs(pick_rows(table, rows), features, accelerator, max_tokens=max_tokens)
    finally:
        setattr(owner, child, layer)
    kept = np.asarray(targets, dtype=np.float64)[rows]
    weight, bias = logistic_weights(features, kept, bias=layer.bias is not None, independent=classifier.independent)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
    return True


def output_layer(model: PreTrainedModel, labels: int) -> str | None:
    """Return the name of the last linear layer behind the encoder if it has one output per label."""
    encoder = f"{model.base_model_prefix}."
    modules = [(name, module) for name, module in model.named_modules() if not name.startswith(encoder)]
    linear = [(name, module) for name, module in modules if isinstance(module, nn.Linear)]
    return linear[-1][0] if linear and linear[-1][1].out_features == labels else None


def logistic_weights(
    features: Array, targets: Array, *, bias: bool = True, independent: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights of a logistic regression with soft labels.

    They minimize the mean cross-entropy plus 1e-4 times the sum of the squared weights.

    Parameters
    ----------
    features : float32 array of shape (rows, D)
    targets : probabilities of shape (rows, L)
    bias : whether to fit a constant for each label; otherwise it is 0
    independent : fit a regression of its own for each label

    Returns
    -------
    float32 tensors of shape (L, D) and (L,)

    Examples
    --------
    >>> weight, constant = logistic_weights(np.zeros((4, 1), np.float32), np.tile([0.8, 0.2], (4, 1)))
    >>> [round(share, 3) for share in torch.softmax(constant, 0).tolist()]
    [0.8, 0.2]
    """
    read, wanted = torch.from_numpy(features), torch.from_numpy(targets).float()
    weight = torch.zeros(targets.shape[1], features.shape[1], requires_grad=True)
    constant = torch.zeros(targets.shape[1], requires_grad=bias)
    fitted = [weight, constant] if bias else [weight]
    optimizer = torch.optim.LBFGS(fitted, max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = F.linear(read, weight, constant)
        fit = F.binary_cross_entropy_with_logits(logits, wanted) if independent else F.cross_entropy(logits, wanted)
        value = fit + _PENALTY * (weight**2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), constant.detach()
