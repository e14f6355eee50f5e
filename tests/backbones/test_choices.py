"""Label words that come from each row, compared with one row and one word at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.kinds import language_model, open_model
from pet.cloze.bind import bind_patterns
from pet.cloze.encode import token_keys
from pet.cloze.pvp import PVP, prime_pattern
from pet.cloze.tokens import TokenTable, tokenize_fields
from pet.errors import PetError
from pet.members.scoring import score_rows
from pet.members.training import ClozeData, train_member
from pet.recipe import make_recipe
from pet.task.task import Task
from pet.tuning.vectors import _label_words

TASK: Mapping[str, Any] = {
    "task": "choices",
    "fields": ["text", "one", "two"],
    "labels": ["first", "second"],
    "verbalizer": {"first": "{one|strip_punct}", "second": "{two|strip_punct}"},
    "patterns": ["{one} or {two}? {text} so {mask}"],
}
ROWS = [
    {"text": "The team won.", "one": "the fans sang", "two": "no"},
    {"text": "The river rose in the night.", "one": "bad", "two": "the old bridge was closed."},
    {"text": "It was cold.", "one": "news of the world", "two": "business news"},
]

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILY = pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v3", "t5", "gpt2"])


def bound(folder: Path, task: Mapping[str, Any] = TASK, length: int = 60) -> tuple[PVP, LanguageModel]:
    """Return the first pattern, and a model whose scores differ between texts."""
    info = ModelInfo(str(folder))
    model = open_model(str(folder))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    pvp = bind_patterns(Task.from_dict(task), info.tokenizer, length, blank=info.blank)[0]
    return pvp, language_model(model).eval()


def tokens_of(pvp: PVP, rows: list[dict[str, str]] = ROWS) -> TokenTable:
    return tokenize_fields(Dataset.from_list(rows), token_keys([pvp.encoder]), pvp.encoder.plain)


def log_probabilities(lm: LanguageModel, pvp: PVP, ids: list[int], mask: int, word: list[int]) -> torch.Tensor:
    """Return log-probabilities of the vocabulary at the place of each token of a word, with the whole model."""
    model: Any = lm.model
    with torch.no_grad():
        if pvp.encoder.blank.at_end:
            logits = model(input_ids=torch.tensor([[*ids, *word]])).logits[0, len(ids) - 1 : -1]
        elif pvp.encoder.blank.repeated:
            spread = [*ids[:mask], *([ids[mask]] * len(word)), *ids[mask + 1 :]]
            logits = model(input_ids=torch.tensor([spread])).logits[0, mask : mask + len(word)]
        else:
            start = [model.config.decoder_start_token_id, *pvp.encoder.blank.ids]
            decoder = torch.tensor([[*start, *word[:-1]]])
            logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=decoder).logits[0, 1:]
    return logits.float().log_softmax(dim=-1)


@FAMILY
@pytest.mark.parametrize("other", [False, True])
def test_scores_are_the_mean_log_probabilities_of_the_tokens(
    family_model: Callable[[str], Path], accelerator: Any, family: str, other: bool
) -> None:
    task = TASK if not other else {**TASK, "verbalizer": {"first": "{one|strip_punct}", "second": "{other}"}}
    pvp, lm = bound(family_model(family), task)
    tokens = tokens_of(pvp)
    scores = score_rows(lm, pvp.encoder.plain.tokenizer, pvp, tokens, accelerator, max_tokens=1000)
    encoded = pvp.encoder.encode(tokens)
    assert encoded.choices is not None
    expected = []
    for row in range(len(ROWS)):
        ids, mask, found = encoded.ids[row].tolist(), int(encoded.mask_position[row]), []
        for word in encoded.choices[row]:
            word = word[word >= 0].tolist()
            table = log_probabilities(lm, pvp, ids, mask, word)
            own = torch.tensor(word)[:, None]
            found.append(float(table.gather(1, own).mean()))
            if other:
                found.append(float(table.scatter(1, own, -torch.inf).amax(dim=1).mean()))
        expected.append(found)
    np.testing.assert_allclose(scores, expected, atol=2e-4)


def test_words_have_the_tokens_of_the_field_in_their_place(tiny_model: Path) -> None:
    pvp, _ = bound(tiny_model)
    choices = pvp.encoder.encode(tokens_of(pvp)).choices
    assert choices is not None and choices.shape[:2] == (3, 2)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    spelled = [[tokenizer.decode(word[word >= 0]) for word in row] for row in choices]
    assert spelled[1] == ["bad", "the old bridge was closed"]
    assert spelled[0] == ["the fans sang", "no"]
    assert _label_words(pvp) == []  # no learned vector can start from them


def test_long_words_leave_room_for_text_and_are_cut_at_their_end(tiny_model: Path) -> None:
    pvp, _ = bound(tiny_model, length=40)
    rows = [{"text": "word " * 50, "one": "good " * 60, "two": ""}, {"text": "word " * 50, "one": "bad", "two": "no"}]
    encoded = pvp.encoder.encode(tokens_of(pvp, rows))
    assert encoded.choices is not None and pvp.choices is not None
    sizes = (encoded.choices >= 0).sum(axis=2)
    assert sizes.tolist() == [[pvp.choices.most, 1], [1, 1]]
    assert encoded.ids.lengths.tolist() == [40 - pvp.choices.most + 1, 40]


def test_a_model_learns_to_choose(tiny_model: Path, accelerator: Any) -> None:
    """The right word is the one that the text repeats; which label that is changes from row to row."""
    generator = np.random.default_rng(0)
    words = ["good", "bad news", "great", "terrible", "world", "sports news", "business", "technology"]
    rows, gold = [], []
    for _ in range(48):
        pair = [words[i] for i in generator.permutation(len(words))[:2]]
        gold.append(int(generator.integers(2)))
        rows.append({"text": f"{pair[gold[-1]]} {pair[gold[-1]]}.", "one": pair[0], "two": pair[1]})
    pvp, lm = bound(tiny_model, {**TASK, "patterns": ["{text} {mask}"]})
    tokens = tokens_of(pvp, rows)
    recipe = make_recipe("default", {"steps": "60", "learning_rate": "3e-3", "labeled_batch": "8", "accumulation": "1"})
    losses = train_member(lm, pvp, ClozeData(tokens, np.array(gold), None), recipe, 0, accelerator)
    assert losses[-1] < 0.5 * losses[0]


def test_unlabeled_texts_take_part_in_training(tiny_model: Path, accelerator: Any) -> None:
    pvp, lm = bound(tiny_model)
    tokens = tokens_of(pvp)
    recipe = make_recipe("paper", {"steps": "2", "alpha": "0.5"})
    losses = train_member(lm, pvp, ClozeData(tokens, np.array([0, 1, 1]), tokens), recipe, 0, accelerator)
    assert np.isfinite(losses).all()


def test_priming_requires_words_that_are_the_same_for_all_texts(tiny_model: Path) -> None:
    pvp, _ = bound(tiny_model)
    with pytest.raises(PetError, match="priming"):
        prime_pattern(pvp, tokens_of(pvp), np.array([0, 1, 1]), 1, "random", np.random.default_rng(0))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"first": "{three}", "second": "{two}"}, "'three'"),
        ({"first": "{one|shout}", "second": "{two}"}, "shout"),
        ({"first": "{mask}", "second": "{two}"}, "{mask}"),
        ({"first": "{other}", "second": "word"}, "{other}"),
        ({"first": "{other}", "second": "{one}"}, None),
        ({"first": "nothing", "second": "{one}"}, None),
        ({"first": ["no", "nothing"], "second": "{one}"}, "'first'"),
        ({"first": "{one}", "second": "{one}"}, "'{one}'"),
    ],
)
def test_mistakes_in_words_from_fields_are_named(words: dict[str, Any], named: str | None) -> None:
    if named is None:
        task = Task.from_dict({**TASK, "verbalizer": words})
        assert task.patterns[0].verbalizer.by_row and Task.from_dict(task.to_dict()) == task
        return
    with pytest.raises(PetError) as caught:
        Task.from_dict({**TASK, "verbalizer": words})
    assert named in str(caught.value)
