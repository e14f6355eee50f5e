"""A student starts from what the members know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from families import FAMILIES
from tiny_text import news_rows

from pet.numerics import softmax
from pet.student.classifier import Classifier, TextInput, new_classifier
from pet.student.start import fit_output_layer, logistic_weights, read_mask_first, take_encoder
from pet.task.grammar import parse_template
from pet.training.device import Accelerator

LABELS = ("a", "b", "c")
INPUT = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
TABLE = datasets.Dataset.from_list([{"text": row["text"]} for row in news_rows()])
TARGETS = softmax(3 * np.random.default_rng(0).normal(size=(len(TABLE), 3)))


def new(folder: Path) -> Classifier:
    return new_classifier(str(folder), INPUT, LABELS, 48, seed=0)


def distance(classifier: Classifier, accelerator: Accelerator) -> float:
    """Cross-entropy of the soft labels under the classifier."""
    return float(-(TARGETS * np.log(classifier.probabilities(TABLE, accelerator))).sum(axis=1).mean())


def state(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in classifier.model.state_dict().items()}


def test_logistic_weights_are_at_the_minimum_of_their_loss() -> None:
    """The slope of the cross-entropy and that of the penalty cancel, for a random problem of five labels."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(30, 4)).astype(np.float32)
    targets = softmax(generator.normal(size=(30, 5)))
    weight, constant = (tensor.double().numpy() for tensor in logistic_weights(features, targets))
    error = softmax(features @ weight.T + constant) - targets
    assert error.T @ features / 30 + 2e-4 * weight == pytest.approx(np.zeros((5, 4)), abs=1e-4)
    assert error.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_output_layer_of_every_family_is_fitted_and_nothing_else(
    name: str, family_model: Callable[[str], Path], accelerator: Accelerator
) -> None:
    classifier = new(family_model(name))
    before, far = state(classifier), distance(classifier, accelerator)
    assert fit_output_layer(classifier, TABLE, TARGETS, accelerator, seed=0, max_tokens=4096)
    assert distance(classifier, accelerator) < far
    changed = [key for key, value in state(classifier).items() if not torch.equal(value, before[key])]
    assert 1 <= len(changed) <= 2
    assert all(len(before[key]) == len(LABELS) for key in changed)


def test_the_same_seed_fits_the_same_output_layer(tiny_model: Path, accelerator: Accelerator) -> None:
    first, second = new(tiny_model), new(tiny_model)
    for classifier in (first, second):
        fit_output_layer(classifier, TABLE, TARGETS, accelerator, seed=3, max_tokens=4096)
    assert all(torch.equal(value, state(second)[name]) for name, value in state(first).items())


def test_the_first_token_starts_as_the_mask(tiny_model: Path) -> None:
    classifier = new(tiny_model)
    words, tokenizer = classifier.model.get_input_embeddings().weight, classifier.tokenizer
    assert not torch.equal(words[tokenizer.cls_token_id], words[tokenizer.mask_token_id])
    assert read_mask_first(classifier, TABLE)
    assert torch.equal(words[tokenizer.cls_token_id], words[tokenizer.mask_token_id])


@pytest.mark.parametrize("name", ["gpt2", "t5", "xlnet"])
def test_models_that_read_another_token_stay_as_they_are(name: str, family_model: Callable[[str], Path]) -> None:
    classifier = new(family_model(name))
    before = state(classifier)
    assert not read_mask_first(classifier, TABLE)
    assert all(torch.equal(value, before[key]) for key, value in state(classifier).items())


def test_the_encoder_of_a_member_is_taken_if_it_has_the_same_shape(
    tiny_model: Path, family_model: Callable[[str], Path]
) -> None:
    from pet.backbones.trained import load_masked_lm

    member, classifier = load_masked_lm(str(tiny_model)), new(tiny_model)
    with torch.no_grad():
        for parameter in member.parameters():
            parameter += 1
    assert take_encoder(classifier, member)
    own = classifier.model.base_model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in member.base_model.state_dict().items() if name in own)
    other = new(family_model("roberta"))
    before = state(other)
    assert not take_encoder(other, member)
    assert all(torch.equal(value, before[key]) for key, value in state(other).items())
