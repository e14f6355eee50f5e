"""Linear layers in float32 by oneDNN: the numbers of torch's own layers."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from torch import nn

from pet.backbones.onednn import OneDnnLinear
from pet.student import classifier as module
from pet.student.classifier import TextInput, new_classifier
from pet.task.grammar import parse_template
from pet.training.device import make_accelerator

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
TEXTS = datasets.Dataset.from_list([{"text": "The river rose"}, {"text": "no"}, {"text": "the bridge was closed " * 4}])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3)])
def test_a_layer_gives_the_same_numbers(bias, shape):
    torch.manual_seed(0)
    linear, inputs = nn.Linear(3, 4, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(OneDnnLinear(linear)(inputs), linear(inputs), atol=1e-6, rtol=1e-5)
        after = nn.functional.gelu(linear(inputs))
        torch.testing.assert_close(OneDnnLinear(linear, gelu=True)(inputs), after, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["bert", "roberta", "albert"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_classifier_that_only_scores_has_the_same_logits(family_model, monkeypatch, name, precision):
    monkeypatch.setattr(module, "is_faster", lambda: True)
    text_input = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
    classifier = new_classifier(str(family_model(name)), text_input, ("a", "b"), 32)
    accelerator = make_accelerator("cpu", precision)
    before = classifier.scores(TEXTS, accelerator)
    classifier.only_score(accelerator)
    np.testing.assert_allclose(classifier.scores(TEXTS, accelerator), before, atol=1e-5)
    replaced = any(isinstance(layer, OneDnnLinear) for layer in classifier.model.modules())
    assert replaced == (name != "albert" and precision == "fp32")
    assert classifier.logits.packs == (name != "albert")
