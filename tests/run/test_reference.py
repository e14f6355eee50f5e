"""The package's label scores and losses against a plain computation of the formulas: `benchmarks/reference.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import reference
import torch
from families import FAMILIES
from tiny_text import LABELS, news_rows
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pet.backbones.masked import MaskedLM
from pet.backbones.trained import load_masked_lm
from pet.cloze.encode import token_keys
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.tokens import TokenTable, tokenize_fields
from pet.members.scoring import score_rows
from pet.members.training import ClozeData, MemberObjective, member_batches
from pet.recipe import make_recipe
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.verbalizer import Verbalizer
from pet.training.device import make_accelerator
from pet.training.loop import rate_factor

LENGTH = 48
WORDS = {"World": ("world", "news"), "Sports": ("sports",), "Business": ("business",), "Technology": ("technology",)}
PATTERNS = ("{mask} news : {head} {body}", "{head} ( {mask} ) {body}", "{head} {body} || The topic is {mask} .")
every_family = pytest.mark.parametrize("name", list(FAMILIES))


def _rows() -> list[dict[str, str]]:
    """Texts that fit, that just do not, whose head or whose body is the longer one, and by far too long ones."""
    texts = [row["text"] for row in news_rows()]
    rows = [{"head": head, "body": body} for head, body in zip(texts[:6], texts[6:12], strict=True)]
    rows += [{"head": texts[i], "body": " ".join(texts[: i + 1])} for i in range(5)]
    rows += [{"head": " ".join(texts[: i + 1]), "body": texts[i]} for i in range(5)]
    return [*rows, {"head": " ".join(texts[:9]), "body": " ".join(texts[9:20])}]


def _with_random_biases(lm: MaskedLM) -> MaskedLM:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return lm.eval()


def _bound(source: str, tokenizer: Any) -> tuple[PVP, TokenTable]:
    pattern = Pattern(parse_template(source, ["head", "body"]), Verbalizer(WORDS))
    pvp = bind_pattern(pattern, LABELS, tokenizer, LENGTH)
    plain = pvp.encoder.plain
    return pvp, tokenize_fields(datasets.Dataset.from_list(_rows()), token_keys([pvp.encoder]), plain)


def _word_ids(tokenizer: Any) -> list[list[int]]:
    return [[reference.word_id(word, tokenizer) for word in WORDS[label]] for label in LABELS]


@every_family
@pytest.mark.parametrize("source", PATTERNS)
def test_label_scores_equal_those_of_the_reference(family_model, name: str, source: str):
    folder: Path = family_model(name)
    tokenizer, lm = AutoTokenizer.from_pretrained(folder), _with_random_biases(MaskedLM(load_masked_lm(str(folder))))
    examples = [reference.fill(source, row, tokenizer, LENGTH) for row in _rows()]
    lengths = [sum(example.attention_mask) for example in examples]
    assert min(lengths) < LENGTH == max(lengths)  # some are truncated, some are not
    expected = reference.score(lm.model, examples, _word_ids(tokenizer)).numpy()
    pvp, tokens = _bound(source, tokenizer)
    for max_tokens in (1, 150, 8192):
        found = score_rows(lm, tokenizer, pvp, tokens, make_accelerator("cpu", "fp32"), max_tokens=max_tokens)
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    assert np.ptp(expected, axis=1).min() > 1e-2  # equal scores would prove nothing


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "modernbert"])
def test_the_loss_and_its_gradients_equal_those_of_the_reference(family_model, name: str):
    """The same hidden tokens on both sides, no dropout."""
    folder = family_model(name)
    tokenizer, lm = AutoTokenizer.from_pretrained(folder), _with_random_biases(MaskedLM(load_masked_lm(str(folder))))
    pvp, tokens = _bound(PATTERNS[0], tokenizer)
    labels = np.arange(len(_rows())) % len(LABELS)
    recipe = make_recipe("default", {"labeled_batch": 4, "unlabeled_batch": 3, "max_length": LENGTH})
    data = ClozeData(tokens, labels, tokens)
    batch = next(member_batches(lm, pvp, data, recipe.member, torch.device("cpu"), 5))

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        lm.zero_grad()
        loss.backward()
        return {key: p.grad.clone() for key, p in lm.named_parameters() if p.grad is not None}

    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if lm.has_token_types else [])
    logits = lm.model(**{key: batch[key] for key in names}).logits
    at = logits[batch["rows"], batch["positions"]]
    scores = torch.stack([at[:4, ids].mean(dim=1) for ids in _word_ids(tokenizer)], dim=1)
    cross_entropy = torch.nn.functional.cross_entropy(scores, batch["labels"])
    expected = 0.6 * cross_entropy + 0.4 * torch.nn.functional.cross_entropy(at[4:], batch["targets"])
    found = MemberObjective(lm, pvp, 0.4)(batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    wanted, got = gradients(expected), gradients(found)
    assert got.keys() == wanted.keys()
    for key, gradient in wanted.items():
        torch.testing.assert_close(got[key], gradient, atol=1e-5, rtol=1e-3, msg=lambda m, key=key: f"{key}: {m}")


def test_the_reference_learns(tiny_model: Path):
    """It is a yardstick for speed only if its step is a step: the loss falls."""
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_model), load_masked_lm(str(tiny_model))
    examples = [reference.fill(PATTERNS[0], row, tokenizer, LENGTH) for row in _rows()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    labels = [i % len(LABELS) for i in range(8)]
    torch.manual_seed(0)
    losses = [
        reference.training_step(
            model, optimizer, examples[:8], labels, examples[8:12], _word_ids(tokenizer), tokenizer, alpha=0.1
        )
        for _ in range(40)
    ]
    assert losses[-1] < 0.7 * losses[0]


def test_the_reference_merges_raw_scores():
    first, second = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[-1.0, 1.0], [4.0, 0.0]])
    expected = torch.tensor([[1.25, 0.25], [1.0, 0.75]])  # worked out by hand
    torch.testing.assert_close(reference.merge([first, second], [0.75, 0.25]), expected)
    torch.testing.assert_close(reference.merge([first, second], [0.0, 0.0]), (first + second) / 2)


@pytest.mark.parametrize("temperature, expected", [(1, 0.9756703614), (2, 1.1937500683), (4, 1.2413717405)])
def test_the_distillation_loss_of_the_reference_has_known_values(temperature: float, expected: float):
    student, teacher = torch.tensor([[1.0, 2.0, 3.0], [0.0] * 3]), torch.tensor([[3.0, 1.0, 0.0], [1.0, 0.0, -1.0]])
    assert float(reference.distillation_loss(student, teacher, temperature)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 10, 40])
def test_the_learning_rate_of_the_reference_equals_that_of_the_package(steps: int):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    for step in range(steps):
        reference.set_rate(optimizer, 0.5, step, steps)
        wanted = 0.5 * rate_factor(step, steps, reference.WARMUP)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(wanted)


def test_the_student_of_the_reference_learns(tiny_model: Path):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=len(LABELS))
    texts = [reference.read(row["text"], tokenizer, LENGTH) for row in news_rows()[:8]]
    assert {len(text.input_ids) for text in texts} == {LENGTH}
    teacher = 4 * torch.eye(len(LABELS)).repeat(2, 1)
    optimizer = reference.make_optimizer(model)
    losses = []
    for step in range(40):
        reference.set_rate(optimizer, 3e-3, step, 40)
        losses.append(reference.distillation_step(model, optimizer, texts, teacher))
    assert losses[-1] < 0.8 * losses[0]
