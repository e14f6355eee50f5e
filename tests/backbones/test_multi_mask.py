"""Label words of several tokens in masked language models, compared with one text and one word at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from families import FAMILIES
from tiny_text import LABELS, news_rows
from transformers import AutoTokenizer

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.kinds import language_model, open_model
from pet.backbones.masks import plan_masks, repeat_masks
from pet.backbones.turns import score_in_turn
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.settings import CONFIDENT, LEFT_TO_RIGHT, TOGETHER
from pet.cloze.tokens import TokenTable, tokenize_fields
from pet.members.models import Models
from pet.members.null_text import NULL_TEXTS, null_texts
from pet.members.scoring import score_rows
from pet.members.shared import Shared
from pet.members.spec import pattern_spec
from pet.members.texts import Texts
from pet.members.training import ClozeData, member_batches, train_member
from pet.members.untrained import UntrainedMember
from pet.recipe import make_recipe
from pet.task.grammar import parse_template
from pet.task.pattern import Pattern
from pet.task.task import Task
from pet.task.verbalizer import Verbalizer
from pet.training.losses import hinge_loss
from pet.tuning.members import Backbone, attach, encoder_options, learned_in, save_member, start_member
from pet.tuning.methods import METHODS

# One, two and more tokens in every family; "new york" and "new yorker" share their first tokens.
WORDS = {
    "World": ("new york", "politics"),
    "Sports": ("good",),
    "Business": ("business news",),
    "Technology": ("new yorker",),
}
TEXTS = ["The team won.", "The river rose in the night and the old bridge was closed.", "no", "It was cold again."]
ROWS = news_rows()
GOLD = np.array([LABELS.index(row["label"]) for row in ROWS])
ORDERS = (TOGETHER, CONFIDENT, LEFT_TO_RIGHT)

pytestmark = pytest.mark.usefixtures("one_thread")


def bound(folder: Path, words: Any = WORDS, length: int = 40, **options: Any) -> PVP:
    order = options.pop("multi_token", TOGETHER)
    template = options.pop("template", "{text} It was {mask} .")
    pattern = Pattern(parse_template(template, ["text"]), Verbalizer(words))
    pvp = bind_pattern(pattern, list(words), AutoTokenizer.from_pretrained(folder), length, **options)
    return replace(pvp, multi_token=order)


def opened(folder: Path) -> LanguageModel:
    """A model whose scores differ between texts; those of newly initialized models hardly do."""
    model = open_model(str(folder))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return language_model(model).eval()


def tokens_of(pvp: PVP, texts: list[str]) -> TokenTable:
    return tokenize_fields(Dataset.from_dict({"text": texts}), pvp.encoder.keys, pvp.encoder.plain)


def spelled(pvp: PVP) -> list[tuple[int, ...]]:
    """Return the tokens of each word, from the flat arrays."""
    ends = [i for i in range(len(pvp.words)) if i + 1 == len(pvp.words) or not pvp.before[i + 1]]
    return [(*pvp.before[i], int(pvp.words[i])) for i in ends]


def word_by_word(lm: Any, row: list[int], mask: int, word: tuple[int, ...], order: str) -> list[float]:
    """Score the tokens of a word in one text with the whole model, without padding."""
    ids = [*row[:mask], *([row[mask]] * len(word)), *row[mask + 1 :]]
    found, left = [0.0] * len(word), list(range(len(word)))
    while left:
        with torch.no_grad():
            logits = lm.model(input_ids=torch.tensor([ids])).logits[0]
        values = {i: float(logits[mask + i].log_softmax(dim=0)[word[i]]) for i in left}
        if order == TOGETHER:
            return list(values.values())
        chosen = max(values, key=lambda i: values[i]) if order == CONFIDENT else left[0]
        found[chosen] = values[chosen]
        ids[mask + chosen] = word[chosen]
        left.remove(chosen)
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_scores_each_token_at_its_own_mask(name: str, family_model: Any, accelerator: Any) -> None:
    lm = opened(family_model(name))
    for order in ORDERS if name in ("bert", "deberta-v3") else (CONFIDENT,):
        pvp = bound(family_model(name), multi_token=order)
        assert len({len(word) for word in spelled(pvp)}) > 1
        tokens = tokens_of(pvp, TEXTS)
        found = score_rows(lm, pvp.encoder.plain.tokenizer, pvp, tokens, accelerator, max_tokens=200)
        encoded = pvp.encoder.encode(tokens)
        words = spelled(pvp)
        for i in (0, 1):
            row, mask = encoded.ids[i].tolist(), int(encoded.mask_position[i])
            scores = [sum(word_by_word(lm, row, mask, word, order)) for word in words]
            expected = [(scores[0] + scores[1]) / 2, *scores[2:]]
            np.testing.assert_allclose(found[i], expected, atol=2e-4, rtol=1e-4)


def test_a_text_of_xlnet_scores_the_same_alone(family_model: Any, accelerator: Any) -> None:
    lm, pvp = opened(family_model("xlnet")), bound(family_model("xlnet"), multi_token=CONFIDENT)

    def scores(texts: list[str]) -> Any:
        return score_rows(lm, pvp.encoder.plain.tokenizer, pvp, tokens_of(pvp, texts), accelerator, max_tokens=400)

    np.testing.assert_allclose(scores(TEXTS), np.concatenate([scores([text]) for text in TEXTS]), atol=2e-4)


def test_the_most_probable_token_is_filled_in_first() -> None:
    # The words are 5 and (6, 7). At its two masks, the second scores (-1, -3) in text 1 and (-4, -2) in text 2.
    plan = plan_masks(((), (), (6,)))
    batch = {
        "input_ids": torch.tensor([[9, 1], [9, 1]]),
        "attention_mask": torch.ones(2, 2),
        "positions": torch.tensor([1, 1]),
    }
    found, words = torch.tensor([[-0.5, -1.0, -3.0], [-0.5, -4.0, -2.0]]), torch.tensor([5, 6, 7])
    seen: list[Any] = []

    def score(batch: Any, rows: Any, positions: Any, tokens: Any) -> Any:
        seen.append((batch["input_ids"].tolist(), rows.tolist(), positions.tolist(), tokens.tolist()))
        return torch.tensor([-0.25, -0.125])

    confident = score_in_turn(batch, found, words, plan, score, confident=True)
    assert confident.tolist() == [[-0.5, -1.0, -0.25], [-0.5, -0.125, -2.0]]
    assert seen.pop() == ([[9, 6, 1], [9, 1, 7]], [0, 1], [2, 1], [7, 6])
    from_left = score_in_turn(batch, found, words, plan, score, confident=False)
    assert from_left.tolist() == [[-0.5, -1.0, -0.25], [-0.5, -4.0, -0.125]]
    assert seen.pop() == ([[9, 6, 1], [9, 6, 1]], [0, 1], [2, 2], [7, 7])


def test_masks_are_repeated_in_place_and_other_rows_are_kept() -> None:
    batch = {
        "input_ids": torch.tensor([[5, 1, 6, 7], [1, 8, 0, 0], [2, 3, 4, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]),
        "lengths": torch.tensor([4, 2, 3]),
    }
    found = repeat_masks(batch, torch.tensor([1, 0]), (1, 3), rest=1)
    real = [row[: int(n)].tolist() for row, n in zip(found["input_ids"], found["lengths"], strict=True)]
    assert real == [[5, 1, 6, 7], [1, 8], [5, 1, 1, 1, 6, 7], [1, 1, 1, 8], [2, 3, 4]]
    assert found["attention_mask"].sum(dim=1).tolist() == found["lengths"].tolist()
    assert found["rows"].tolist() == [0, 1, 2, 2, 2, 3, 3, 3]
    assert found["positions"].tolist() == [1, 0, 1, 2, 3, 0, 1, 2]


def test_the_number_of_rows_is_that_of_distinct_lengths_and_not_of_words(tiny_model: Path, accelerator: Any) -> None:
    lm, pvp = opened(tiny_model), bound(tiny_model, WORDS | {"Sports": ("good", "bad", "news")})
    sizes = {len(word) for word in spelled(pvp)}
    assert len(sizes) < len(spelled(pvp))
    rows: list[int] = []
    lm.model.get_input_embeddings().register_forward_hook(lambda _m, inputs, _o: rows.append(inputs[0].numel()))
    tokens = tokens_of(pvp, TEXTS)
    score_rows(lm, pvp.encoder.plain.tokenizer, pvp, tokens, accelerator, max_tokens=10_000)
    lengths = pvp.encoder.encode(tokens).ids.lengths
    assert rows == [sum(int((lengths + size - 1).sum()) for size in sizes)]
    assert lm.rows_per_text(pvp) == len(sizes)


def test_rows_leave_room_for_the_masks_of_the_longest_word(tiny_model: Path) -> None:
    pvp = bound(tiny_model, length=24)
    longest = max(len(word) for word in spelled(pvp))
    encoded = pvp.encoder.encode(tokens_of(pvp, ["word " * 60]))
    assert encoded.ids.lengths.tolist() == [24 - (longest - 1)]
    assert encoded.cut.all()


def cloze_data(pvp: PVP) -> ClozeData:
    tokens = tokens_of(pvp, [row["text"] for row in ROWS])
    return ClozeData(tokens, GOLD, tokens)


def test_training_scores_are_those_of_all_masks_at_once(tiny_model: Path, accelerator: Any) -> None:
    lm, pvp = opened(tiny_model), bound(tiny_model)
    recipe = make_recipe("default", {"labeled_batch": 3, "unlabeled_batch": 2, "max_length": 40})
    batch = next(member_batches(lm, pvp, cloze_data(pvp), recipe.member, accelerator.device, 1))
    words = torch.from_numpy(pvp.words)
    with torch.no_grad():
        scores, auxiliary = lm.training_pass(batch, words, pvp)
        labeled = {name: batch[name][:3] for name in ("input_ids", "attention_mask", "positions", "rows", "lengths")}
        torch.testing.assert_close(scores, lm.word_scores(labeled, words, pvp), atol=1e-5, rtol=1e-5)
        single = bound(tiny_model, {"World": ("good",), "Sports": ("bad",)})
        _, expected = lm.training_pass(batch, torch.from_numpy(single.words), single)
    torch.testing.assert_close(auxiliary, expected, atol=1e-5, rtol=1e-5)


def test_hinge_loss_is_that_of_the_formula() -> None:
    # Text 1: right -1; wrong -1.5 and -4: max(0, 1 - .5) + 0 = .5. Text 2: right -3; wrong -1 and -2: 3 + 2 = 5.
    scores = torch.tensor([[-1.0, -1.5, -4.0], [-1.0, -2.0, -3.0]])
    assert float(hinge_loss(scores, torch.tensor([0, 2]))) == pytest.approx(2.75)
    certain = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert float(hinge_loss(scores, certain)) == pytest.approx(2.75)
    # Half of the first text's weight on its second label: max(0, 1 + .5) + 0 = 1.5
    mixed = torch.tensor([[0.5, 0.5, 0.0]])
    assert float(hinge_loss(scores[:1], mixed)) == pytest.approx(1.0)


@pytest.mark.parametrize("name", METHODS)
def test_every_tuning_method_learns_and_restores_words_of_several_tokens(
    name: str, tiny_model: Path, tmp_path: Path, accelerator: Any
) -> None:
    if name == "lora":
        pytest.importorskip("peft")
    small = {"prompt_length": 2, "prefix_length": 2, "prefix_hidden": 8, "lora_rank": 2}
    settings = {"tuning": name, "steps": 2, "min_epochs": 0.0, "max_length": 48, "learning_rate": 1e-3, "loss": "hinge"}
    recipe = make_recipe("default", settings | small)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    pvp = bound(tiny_model, length=48, template="{soft:it was} {mask}: {text}", **encoder_options(recipe.tuning))
    backbone, data = Backbone(open_model(str(tiny_model)), "tiny", ""), cloze_data(pvp)
    lm = start_member(backbone, recipe.tuning, pvp, [data.labeled], 7, accelerator.device)
    losses = train_member(lm, pvp, data, recipe, 7, accelerator)
    assert np.isfinite(losses).all()
    found = score_rows(lm, tokenizer, pvp, data.labeled, accelerator, max_tokens=2000)
    if not recipe.tuning.trains_backbone:
        save_member(backbone, recipe.tuning, tmp_path)
        fresh, learned = Backbone(open_model(str(tiny_model)), "tiny", ""), learned_in(tmp_path)
        assert learned is not None
        again = score_rows(attach(fresh, learned, "m"), tokenizer, pvp, data.labeled, accelerator, max_tokens=300)
        np.testing.assert_allclose(again, found, atol=1e-4)


def test_it_does_not_matter_which_label_has_the_long_word(tiny_model: Path, accelerator: Any) -> None:
    ends = ("won the cup, the match and the race", "sold oil, bonds and shares")
    names = ("club", "coach", "team", "player", "owner", "doctor")
    texts = [f"{a} {b} {end}" for a in names for b in names if a != b for end in ends]
    gold = np.arange(len(texts)) % 2
    recipe = make_recipe("default", {"steps": 80, "learning_rate": 5e-3, "max_length": 40, "unlabeled_batch": 0})
    hits = []
    for words in ({"A": ("good",), "B": ("new yorker",)}, {"A": ("new yorker",), "B": ("good",)}):
        lm, pvp = language_model(open_model(str(tiny_model))), bound(tiny_model, words)
        few, rest = tokens_of(pvp, texts[:40]), tokens_of(pvp, texts[40:])

        def predicted(lm: LanguageModel = lm, pvp: PVP = pvp, rest: TokenTable = rest) -> Any:
            scores = score_rows(lm, pvp.encoder.plain.tokenizer, pvp, rest, accelerator, max_tokens=4000)
            return scores.argmax(axis=1)

        short = "AB".index(next(label for label, word in words.items() if word == ("good",)))
        assert set(predicted()) == {short}  # before training, a word of four tokens has no chance
        train_member(lm, pvp, ClozeData(few, gold[:40], None), recipe, 1, accelerator)
        hits.append(int((predicted() == gold[40:]).sum()))
    assert min(hits) >= 18  # of 20


def test_untrained_scores_of_mixed_lengths_are_relative_to_texts_without_content(
    tiny_model: Path, accelerator: Any
) -> None:
    words = {"A": "good", "B": "new yorker"}
    values = {"task": "t", "fields": ["text"], "labels": ["A", "B"], "patterns": ["{text} It was {mask} ."]}
    task = Task.from_dict(values | {"verbalizer": words})
    shared = Shared(task, make_recipe("default", {"max_length": 40}), Models(ModelInfo(str(tiny_model)), 40, False))
    shared.use("cpu", "fp32")
    member = UntrainedMember(pattern_spec("untrained", 0, 0), shared)

    def scores(texts: list[str]) -> Any:
        table = Dataset.from_dict({"id": list(map(str, range(len(texts)))), "text": texts})
        out = np.zeros((len(texts), 2), dtype=np.float32)
        member.scores(Texts(table, lambda: shared.plan), out)
        return out

    (pvp,) = shared.pvps
    raw = score_rows(
        shared.models.untrained(), shared.tokenizer, pvp, shared.plan.tokenize(null_texts(shared).table), accelerator,
        max_tokens=1000,
    )  # fmt: skip
    assert raw[:, 0].mean() > raw[:, 1].mean() + 10
    np.testing.assert_allclose(scores(list(NULL_TEXTS)), raw - raw.mean(axis=0), atol=1e-4)
