"""Sequence classifiers on packed rows compute what transformers computes on padded ones."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
import pytest
import torch
from families import FAMILIES, build_family
from torch.nn import functional as F

from pet.backbones.int8 import quantize_linears
from pet.backbones.sequence import SequenceLogits, model_inputs
from pet.backbones.used_words import only_used_words
from pet.student.classifier import Classifier, TextInput, encode_texts, new_classifier
from pet.student.distill import Distillation, fit_classifier, plan_rows
from pet.task.grammar import parse_template
from pet.training.batching import pad_rows, to_tensors
from pet.training.device import make_accelerator
from pet.training.loop import Schedule, rate_factor

LIKE_BERT = ["bert", "roberta", "xlm-r", "electra"]
TEXTS = ["The river rose.", "no", "good news " * 9, "bad", "A long day at the office, and nothing to show for it."]
TABLE = datasets.Dataset.from_dict({"text": TEXTS})
TARGETS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])


def _classifier(folder: Any, **options: Any) -> Classifier:
    text_input = TextInput(("text",), parse_template("{text}", ["text"], mask=False))
    return new_classifier(str(folder), text_input, ("a", "b", "c"), 32, **options)


def _batch(classifier: Classifier, rows: Any) -> dict[str, torch.Tensor]:
    encoded = encode_texts(TABLE, classifier.text_input, classifier.tokenizer, classifier.max_length)
    batch, _ = pad_rows(encoded, np.asarray(rows), int(classifier.tokenizer.pad_token_id), left=classifier.pads_left)
    return to_tensors(batch | {"lengths": encoded.ids.lengths[rows]}, torch.device("cpu"))


@pytest.mark.parametrize("name", LIKE_BERT)
def test_logits_and_gradients_equal_those_of_transformers(family_model, name):
    classifier = _classifier(family_model(name))
    model, batch = classifier.model.eval(), _batch(classifier, [4, 0, 2, 3, 1, 0])
    compute = SequenceLogits(model)
    assert compute.packs
    own, plain = compute(batch), model(**model_inputs(model, batch)).logits
    torch.testing.assert_close(own, plain, atol=1e-6, rtol=1e-5)
    found = []
    for logits in (own, plain):
        model.zero_grad()
        (logits**2).sum().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert set(found[0]) == set(found[1])
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(LIKE_BERT)))
def test_other_families_run_as_they_are(family_model, name):
    classifier = _classifier(family_model(name))
    model, batch = classifier.model.eval(), _batch(classifier, [4, 0, 2])
    compute = SequenceLogits(model)
    assert not compute.packs
    with torch.no_grad():
        assert torch.equal(compute(batch), model(**model_inputs(model, batch)).logits)


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_training_equals_a_plain_loop(tmp_path, name):
    """Three updates without dropout against transformers, AdamW and the formula of the loss, written out.

    Rows of the word embeddings that no text uses only decay.
    """
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    folder, temperature = build_family(name, tmp_path, **still), 2.0
    how = Distillation(Schedule(3, 1e-3, weight_decay=0.1), 4, temperature, seed=5)
    trained = _classifier(folder)
    losses = fit_classifier(trained, TABLE, TARGETS, how, make_accelerator("cpu", "fp32"))

    plain = _classifier(folder)
    model, expected = plain.model.train(), []
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) == wanted] for wanted in (True, False))
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": vectors, "weight_decay": 0.0}], weight_decay=0.1)
    for step, rows in enumerate(plan_rows(how, len(TEXTS), 0, 0)[0]):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate_factor(step, 3, 0.0)
        batch, soft = _batch(plain, rows), torch.from_numpy(TARGETS[rows]).float().clamp_min(1e-12)
        student = F.log_softmax(model(**model_inputs(model, batch)).logits / temperature, dim=1)
        teacher = F.log_softmax(soft.log() / temperature, dim=1)
        loss = temperature**2 * (teacher.exp() * (teacher - student)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        expected.append(loss.item())
    assert losses == [pytest.approx(np.mean(expected), abs=1e-6)]
    found = trained.model.state_dict()
    for name, values in model.state_dict().items():
        torch.testing.assert_close(found[name], values, atol=2e-5, rtol=1e-5, msg=name)
    unused = np.setdiff1d(
        np.arange(len(trained.model.get_input_embeddings().weight)), _batch(plain, range(5))["input_ids"]
    )
    before = _classifier(folder).model.get_input_embeddings().weight[unused[-1]]
    torch.testing.assert_close(trained.model.get_input_embeddings().weight[unused[-1]], before * how.schedule.decay)
    assert how.schedule.decay < 1


def test_only_the_used_rows_of_the_word_embeddings_are_trained(family_model):
    model = _classifier(family_model("bert")).model
    whole = model.get_input_embeddings()
    with only_used_words(model, np.array([7, 9, 7]), 0.5):
        part = model.get_input_embeddings()
        assert sorted(part.weight.shape[:1]) == [3]  # and the padding token
        assert torch.equal(part(torch.tensor([[9, 7]])), whole(torch.tensor([[9, 7]])))
        with pytest.raises(IndexError):
            part(torch.tensor([8]))
        expected = whole.weight.detach() * 0.5
        with torch.no_grad():
            part.weight += 1
        expected[[0, 7, 9]] = whole.weight.detach()[[0, 7, 9]] + 1
    assert model.get_input_embeddings() is whole
    torch.testing.assert_close(whole.weight.detach(), expected)


@pytest.mark.parametrize("name", ["t5", "albert"])
def test_embeddings_with_another_use_or_few_unused_rows_stay_whole(family_model, name):
    model = _classifier(family_model(name)).model
    whole = model.get_input_embeddings()
    every = np.arange(1 if name == "t5" else len(whole.weight))
    with only_used_words(model, every, 0.5):
        assert model.get_input_embeddings() is whole


def test_a_quantized_classifier_stays_packed(family_model):
    classifier = _classifier(family_model("bert"))
    model, batch = classifier.model.eval(), _batch(classifier, [4, 0, 2])
    compute = SequenceLogits(model)
    quantize_linears(model, "bert")
    with torch.no_grad():
        torch.testing.assert_close(compute(batch), model(**model_inputs(model, batch)).logits, atol=1e-6, rtol=1e-5)
    assert compute.packs


def test_another_head_on_the_same_encoder_gets_what_the_output_layer_would(family_model):
    """The output layer is fitted on what the rest of the classifier computes; see `pet.student.start`."""
    classifier = _classifier(family_model("bert"))
    model, batch = classifier.model.eval(), _batch(classifier, [4, 0, 2])
    compute, model.classifier = SequenceLogits(model), torch.nn.Identity()
    with torch.no_grad():
        features = model.bert(**model_inputs(model, batch))[1]
        torch.testing.assert_close(compute(batch), features, atol=1e-6, rtol=1e-5)
