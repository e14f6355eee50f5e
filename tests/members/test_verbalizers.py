"""Members whose labels are scored by learned vectors or prototypes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from tiny_text import LABELS, news_rows

from pet.backbones.info import ModelInfo
from pet.backbones.label_head import LabelVectors, Prototypes, contrast
from pet.backbones.word_weights import WordWeights
from pet.errors import PetError
from pet.export.ensemble import _members
from pet.members.kinds import fit_scorer, make_scorer, open_scorer
from pet.members.models import Models
from pet.members.scoring import score_rows
from pet.members.seam import MemberData
from pet.members.shared import Shared
from pet.members.spec import pattern_spec
from pet.members.texts import Texts
from pet.members.verbalizers import FILE, check_verbalizers, start_head
from pet.recipe import make_recipe
from pet.run.reuse import _cannot_reuse
from pet.task.task import Task

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = news_rows()
GOLD = np.array([LABELS.index(row["label"]) for row in ROWS])
TASK: dict[str, Any] = {
    "task": "news",
    "fields": ["text"],
    "labels": list(LABELS),
    "verbalizer": {
        "World": ["world", "terrible"],
        "Sports": "sports",
        "Business": "business",
        "Technology": "technology",
    },
    "patterns": ["{mask}: {text}", {"template": "{text} {mask}", "verbalizer_kind": "words"}],
}


@pytest.fixture
def shared_for(tiny_model: Path) -> Callable[..., Shared]:
    """``shared_for(setting=...)``: what members of the tiny model share."""

    def make(**settings: Any) -> Shared:
        recipe = make_recipe("default", {"max_length": "24", "steps": "20", "learning_rate": "3e-3"} | settings)
        models = Models(ModelInfo(str(tiny_model)), 24, shared=not recipe.tuning.trains_backbone)
        return Shared(Task.from_dict(TASK), recipe, models, "cpu", "fp32")

    return make


def texts_of(shared: Shared) -> Texts:
    table = Dataset.from_dict({"id": [row["id"] for row in ROWS], "text": [row["text"] for row in ROWS]})
    return Texts(table, lambda: shared.plan)


def scores_of(scorer: Any, texts: Texts) -> np.ndarray:
    out = np.empty((len(texts), len(LABELS)), np.float32)
    scorer.scores(texts, out)
    return out


@pytest.mark.parametrize("kind", ["learned", "weighted"])
def test_the_first_scores_are_those_of_the_words(kind: str, shared_for: Callable[..., Shared]) -> None:
    shared = shared_for(verbalizer=kind)
    texts, lm, pvp = texts_of(shared), shared.models.untrained(), shared.tuned_pvps[0]
    head = start_head(lm, shared, pvp, kind, (texts.tokens, GOLD), 0)
    how = {"max_tokens": 512}
    words = score_rows(lm, shared.tokenizer, pvp, texts.tokens, shared.accelerator, **how)
    found = score_rows(head, shared.tokenizer, head.bind(pvp), texts.tokens, shared.accelerator, **how)
    assert found == pytest.approx(words, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "tuning"),
    [
        ("learned", "full"),
        ("prototype", "full"),
        ("weighted", "full"),
        ("learned", "bitfit"),
        ("prototype", "prefix"),
        ("weighted", "bitfit"),
    ],
)
def test_a_member_learns_and_scores_the_same_from_its_folder(
    kind: str, tuning: str, tmp_path: Path, shared_for: Callable[..., Shared]
) -> None:
    # With an even start, a random model has so little to learn that the loss of a few updates may not fall.
    shared = shared_for(verbalizer=kind, tuning=tuning, even_start=False)
    texts, spec = texts_of(shared), pattern_spec("pattern", 0, 0)
    scorer = make_scorer(spec, shared, seed=1)
    report = fit_scorer(spec, scorer, MemberData([(texts, np.arange(len(texts)))], GOLD, None), tmp_path)
    assert report.losses[-1] < report.losses[0]
    found = scores_of(scorer, texts)
    again = shared_for(verbalizer=kind, tuning=tuning)
    assert scores_of(open_scorer(tmp_path, again), texts_of(again)) == pytest.approx(found, abs=1e-4)
    (tmp_path / "next").mkdir()
    following = make_scorer(spec, again, seed=2, start=tmp_path)
    data = MemberData([(texts_of(again), np.arange(8))], np.eye(len(LABELS), dtype=np.float32)[GOLD[:8]], None)
    fit_scorer(spec, following, data, tmp_path / "next")
    assert (tmp_path / "next" / FILE).is_file()


def test_a_pattern_may_have_a_verbalizer_kind_of_its_own(tmp_path: Path, shared_for: Callable[..., Shared]) -> None:
    shared = shared_for(verbalizer="learned", steps="1")
    texts, spec = texts_of(shared), pattern_spec("pattern", 1, 0)
    scorer = make_scorer(spec, shared)
    fit_scorer(spec, scorer, MemberData([(texts, np.arange(4))], GOLD[:4], None), tmp_path)
    assert not (tmp_path / FILE).exists()
    assert Task.from_dict(shared.task.to_dict()) == shared.task
    patterns = [{"template": "{text} {mask}", "verbalizer_kind": "vectors"}]
    with pytest.raises(PetError, match="'vectors'"):
        Task.from_dict(TASK | {"patterns": patterns})


def test_a_learned_verbalizer_is_not_reused_for_other_labels() -> None:
    before = Task.from_dict(TASK)
    words = TASK["verbalizer"] | {"Food": "food"}
    after = Task.from_dict(TASK | {"labels": [*LABELS, "Food"], "verbalizer": words})
    stages = {"g0/p1-r1": {"state": "done", "outputs": {}}}
    member: Any = SimpleNamespace(spec=pattern_spec("pattern", 0, 0), name="p1-r1")
    recipe = make_recipe("default", {"verbalizer": "learned"})
    context: Any = SimpleNamespace(task=after, recipe=recipe)
    earlier: Any = SimpleNamespace(task=before, stages=stages)
    assert "verbalizer" in _cannot_reuse(context, earlier, member)


def test_an_ensemble_with_weighted_words_is_not_exported_as_one_graph(shared_for: Callable[..., Shared]) -> None:
    shared = shared_for(verbalizer="weighted")
    member = make_scorer(pattern_spec("pattern", 0, 0), shared)
    rule = SimpleNamespace(rule="learned")
    ensemble: Any = SimpleNamespace(
        ensemble=rule, recipe=shared.recipe, task=shared.task, scorers=[member], shared=shared
    )
    with pytest.raises(PetError, match=r"p1-r1.*verbalizer=weighted.*--ensemble"):
        _members(ensemble, "runs/news")


def test_a_damaged_verbalizer_is_named(tmp_path: Path, shared_for: Callable[..., Shared]) -> None:
    shared = shared_for(verbalizer="learned", steps="1")
    texts, spec = texts_of(shared), pattern_spec("pattern", 0, 0)
    scorer = make_scorer(spec, shared)
    fit_scorer(spec, scorer, MemberData([(texts, np.arange(4))], GOLD[:4], None), tmp_path)
    arrays = load_file(tmp_path / FILE)
    for damaged in ({}, arrays | {"bias": arrays["bias"][:2]}, arrays | {"bias": arrays["bias"] * math.nan}):
        save_file(damaged, tmp_path / FILE)
        with pytest.raises(PetError, match=f"{FILE}.*train this member again"):
            scores_of(scorer, texts)
    (tmp_path / FILE).unlink()
    with pytest.raises(PetError, match=f"{FILE}.*train this member again"):
        scores_of(scorer, texts)


def test_models_without_a_known_mask_are_refused(family_model: Callable[[str], Path]) -> None:
    info, recipe = ModelInfo(str(family_model("gpt2"))), make_recipe("default", {"verbalizer": "prototype"})
    with pytest.raises(PetError, match=r"verbalizer=prototype.*gpt2.*verbalizer=words"):
        check_verbalizers(Task.from_dict(TASK), recipe, info)
    for works in ("words", "weighted"):
        check_verbalizers(Task.from_dict(TASK), make_recipe("default", {"verbalizer": works}), info)
    with pytest.raises(PetError, match=r"copa.*verbalizer=words"):
        check_verbalizers(Task.load("copa"), recipe, info)


def test_contrast_is_the_share_of_similarity_within_a_label() -> None:
    points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    # The first text shares its label with none. For the others: e^8 / (e^0 + e^8) and e^8 / (e^6 + e^8).
    expected = (math.log(1 + math.exp(-8)) + math.log(1 + math.exp(-2))) / 2
    found = contrast(points, labels)
    assert found is not None and found.item() == pytest.approx(expected, rel=1e-5)
    assert contrast(points[:2], labels[:2]) is None


def test_a_prototype_scores_cosines_after_the_center_is_subtracted() -> None:
    arrays = {"projection": torch.eye(128, 2), "center": torch.tensor([1.0, 1.0])}
    prototypes = torch.zeros(2, 128)
    prototypes[0, 0] = prototypes[1, 1] = 5.0

    class Model(torch.nn.Module):
        model = torch.nn.Identity()

    head = Prototypes(Model(), arrays | {"prototypes": prototypes})  # type: ignore[arg-type]
    scores = head.score(torch.tensor([[4.0, 5.0]]))[:, :2]
    assert scores.tolist()[0] == pytest.approx([6.0, 8.0])
    vectors = LabelVectors(Model(), {"weight": torch.eye(2), "bias": torch.tensor([0.0, 1.0])})  # type: ignore[arg-type]
    assert vectors.score(torch.tensor([[2.0, 3.0]])).tolist() == [[2.0, 4.0]]


class Fixed(torch.nn.Module):
    """A language model whose word scores are always the same."""

    model = torch.nn.Identity()

    def word_scores(self, batch: Any, words: Any, pvp: Any) -> torch.Tensor:
        return torch.tensor([[3.0, -1.0, 1.5]])


def test_a_words_weight_is_its_share_of_its_label() -> None:
    pvp: Any = SimpleNamespace(word_to_label=np.array([[0.5, 0], [0.5, 0], [0, 1]], np.float32), before=((), (), ()))
    weights = WordWeights(Fixed(), {"weights": torch.tensor([math.log(3), 0.0, -7.0])}, pvp)  # type: ignore[arg-type]
    # The first word counts three times as much as the second: .75 * 3 + .25 * -1 = 2. An only word counts fully.
    assert weights.shares().tolist() == pytest.approx([0.75, 0.25, 1.0])
    scores = weights.word_scores({}, torch.arange(3), pvp)
    assert scores.tolist()[0] == pytest.approx([2.0, 1.5])
    assert scores.softmax(dim=1).tolist()[0] == pytest.approx([0.622459, 0.377541], abs=1e-6)


def test_all_tokens_of_a_word_have_its_weight() -> None:
    # Label 0: one word of two tokens, which counts as their mean, and one of one token.
    shares = np.array([[0.25, 0], [0.25, 0], [0.5, 0], [0, 1]], np.float32)
    pvp: Any = SimpleNamespace(word_to_label=shares, before=((), (7,), (), ()))
    weights = WordWeights(Fixed(), {"weights": torch.tensor([0.0, math.log(3), 0.0])}, pvp)  # type: ignore[arg-type]
    found = weights.score(torch.tensor([[4.0, 8.0, 2.0, 5.0]]))
    assert found.tolist()[0] == pytest.approx([0.25 * 6 + 0.75 * 2, 5.0])
