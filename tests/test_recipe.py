"""Settings and recipes: names, bounds, parsing, and the mistakes that are reported."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from pet.errors import PetError
from pet.recipe import (
    RECIPES,
    Recipe,
    fit_to_data,
    learning_rate_for,
    make_recipe,
    student_rate_for,
    without_auxiliary_loss,
)
from pet.settings import Setting, all_settings, groups_of, own_settings
from pet.training.loop import Schedule
from pet.tuning.methods import METHODS
from pet.tuning.settings import TuningSettings

SETTINGS = all_settings(Recipe())
NUMBERS = [item for item in SETTINGS if type(item.default) in (int, float)]

each_setting = pytest.mark.parametrize("item", SETTINGS, ids=lambda item: item.name)
each_number = pytest.mark.parametrize("item", NUMBERS, ids=lambda item: item.name)


def refused(**settings: Any) -> list[str]:
    with pytest.raises(PetError) as caught:
        make_recipe("default", settings)
    return caught.value.problems


# --- declarations ------------------------------------------------------------------------------------


def test_flat_names_are_unique():
    names = [item.name for item in SETTINGS] + [item.declared.old_name for item in SETTINGS if item.declared.old_name]
    assert len(names) == len(set(names))


@each_setting
def test_each_setting_has_help_and_a_default_within_its_range(item: Setting):
    assert item.declared.help
    assert not item.declared.help.endswith(".")
    assert make_recipe("default", {item.name: item.default} | ({"tuning": "full"} if item.name != "tuning" else {}))


@each_setting
def test_numbers_have_a_smallest_value_and_choices_contain_the_default(item: Setting):
    if type(item.default) in (int, float):
        assert item.declared.low is not None
    if item.declared.choices:
        assert item.default in item.declared.choices


def test_each_group_with_settings_has_a_title_of_its_own():
    titles = [group.title for group in groups_of(Recipe()) if own_settings(group)]
    assert all(titles)
    assert len(titles) == len(set(titles))


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        make_recipe().student.steps = 3  # type: ignore[misc]


# --- values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_flat_form(name: str):
    flat = RECIPES[name].to_dict()
    assert make_recipe("default", flat) == RECIPES[name]
    as_text = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in flat.items()}
    assert make_recipe("default", as_text) == RECIPES[name]


@each_setting
def test_a_setting_changes_the_recipe_under_its_flat_name_only(item: Setting):
    other: Any = {bool: True, int: 9, float: 0.35, str: "abc"}[type(item.default)]
    other = not item.default if isinstance(item.default, bool) else other
    if item.declared.choices:
        other = next(choice for choice in item.declared.choices if choice != item.default)
    other = {"growth": 2.0, "ratio": "3,1", "nli_hypothesis": "It is {}."}.get(item.name, other)
    values = {item.name: other}
    if item.name in ("prompt_init", "prompt_words"):
        values = {"prompt_init": "words", "prompt_words": "some words"}
    before, after = Recipe().to_dict(), Recipe().with_settings(**values).to_dict()
    assert {key for key in after if after[key] != before[key]} == set(values)
    assert all(after[key] == value for key, value in values.items())


@pytest.mark.parametrize(
    ("old", "new", "value"), [("choice", "selection", "top"), ("priming_choice", "priming_selection", "similar")]
)
def test_old_names_are_accepted(old: str, new: str, value: str):
    recipe = make_recipe("default", {old: value})
    assert recipe == make_recipe("default", {new: value})
    assert recipe.to_dict()[new] == value
    assert old not in recipe.to_dict()
    (problem,) = refused(**{old: value, new: value})
    assert old in problem
    assert new in problem


def test_named_recipes_are_those_of_the_papers():
    paper, fewglue = make_recipe("paper"), make_recipe("fewglue")
    assert (paper.member.repetitions, paper.member.steps, paper.member.learning_rate) == (3, 1000, 1e-5)
    assert (paper.member.labeled_batch, paper.member.unlabeled_batch, paper.member.accumulation) == (1, 3, 4)
    assert (paper.student.steps, paper.student.batch, paper.student.accumulation) == (5000, 4, 4)
    assert (paper.supervised.steps, paper.optimizer.warmup, paper.member.min_epochs) == (250, 0.0, 0.0)
    assert (fewglue.member.steps, fewglue.member.labeled_batch, fewglue.member.unlabeled_batch) == (250, 2, 0)
    assert (fewglue.student.batch, fewglue.student.accumulation, fewglue.student.steps) == (2, 8, 5000)


def test_steps_that_are_given_are_exact():
    assert make_recipe("default", {"steps": 3}).member.updates(1000) == 3
    assert make_recipe("default", {"steps": 3, "min_epochs": 2}).member.updates(1000) == 250
    assert make_recipe().member.updates(0) == make_recipe().member.updates(8) == 60


def test_without_unlabeled_text_paper_takes_fewer_and_larger_steps():
    recipe = without_auxiliary_loss("paper", make_recipe("paper"))
    assert (recipe.member.unlabeled_batch, recipe.member.steps, recipe.member.labeled_batch) == (0, 250, 4)
    given = {"steps": 7}
    assert without_auxiliary_loss("paper", make_recipe("paper", given), given).member.steps == 7
    assert without_auxiliary_loss("default", make_recipe()).member.steps == 60


def test_learning_rates_by_model_size_and_method():
    assert [learning_rate_for(n) for n in (60_000_000, 60_000_001, 200_000_001)] == [5e-5, 2e-5, 1e-5]
    assert student_rate_for(10) == 2e-4
    assert TuningSettings().rate_factor == 1
    assert {name: TuningSettings(method=name).rate_factor for name in METHODS} == {
        "full": 1, "lora": 10, "bitfit": 20, "prompt": 30, "p-tuning": 20, "prefix": 20,
    }  # fmt: skip
    assert learning_rate_for(10**9, TuningSettings(method="prompt").rate_factor) == pytest.approx(3e-4)
    assert make_recipe("default", {"tuning": "p-tuning", "tune_backbone": True}).tuning.rate_factor == 1
    # The learning rate of a named recipe is meant for training all weights; an explicit one is kept.
    assert make_recipe("paper", {"tuning": "prompt"}).member.learning_rate == 0
    assert make_recipe("paper", {"tuning": "prompt", "learning_rate": "0.3"}).member.learning_rate == 0.3
    assert make_recipe("paper", {"tuning": "full"}).member.learning_rate == 1e-5


def test_a_schedule_takes_its_values_from_the_groups():
    recipe = make_recipe("paper", {"weight_decay": 0.2, "adam_epsilon": 1e-6, "max_grad_norm": 3})
    expected = Schedule(5000, 1e-3, 0.0, 4, weight_decay=0.2, adam_epsilon=1e-6, max_grad_norm=3.0)
    assert Schedule.of(recipe.optimizer, recipe.student, 1e-3) == expected
    assert Schedule.of(recipe.optimizer, recipe.supervised, 1e-3).steps == 250
    assert Schedule.of(recipe.optimizer, recipe.member, 1e-3, 12).steps == 12


# --- mistakes ----------------------------------------------------------------------------------------


@each_number
def test_values_out_of_range_are_refused_with_name_bound_and_help(item: Setting):
    for value in (item.declared.low - 1, *([item.declared.high + 1] if item.declared.high is not None else [])):
        (problem,) = refused(**{item.name: value})
        assert problem.startswith(f"{item.name} is ")
        assert str(item.declared.low) in problem
        assert item.declared.help in problem


@pytest.mark.parametrize("value", ["nan", float("nan")])
def test_not_a_number_is_refused(value: Any):
    (problem,) = refused(alpha=value)
    assert "alpha" in problem


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("steps", "many", "whole number"),
        ("steps", "1.5", "whole number"),
        ("steps", True, "whole number"),
        ("alpha", "x", "number"),
        ("restart", "perhaps", "true or false"),
        ("restart", None, "true or false"),
    ],
)
def test_values_of_the_wrong_type_are_refused(name: str, value: Any, kind: str):
    (problem,) = refused(**{name: value})
    assert name in problem
    assert kind in problem


@pytest.mark.parametrize("item", [i for i in SETTINGS if i.declared.choices], ids=lambda item: item.name)
def test_unknown_choices_are_refused_with_the_known_ones(item: Setting):
    (problem,) = refused(**{item.name: "nonsense"})
    assert item.name in problem
    assert all(choice in problem for choice in ("nonsense", *item.declared.choices))


@pytest.mark.parametrize(
    ("given", "meant"), [("stepz", "steps"), ("student_step", "student_steps"), ("lora_rnk", "lora_rank")]
)
def test_unknown_settings_are_refused_with_the_nearest_name(given: str, meant: str):
    (problem,) = refused(**{given: 1})
    assert repr(given) in problem
    assert f"did you mean {meant}?" in problem
    (problem,) = refused(zzzzzz=1)
    assert all(item.name in problem for item in SETTINGS)


def test_mistakes_in_several_groups_are_reported_together():
    assert len(refused(stepz=1, alpha="x", restart="y")) == 3
    problems = refused(alpha=2, student_batch=0, lora_rank=0, prompt_words="a b")
    assert len(problems) == 4
    for name in ("alpha", "student_batch", "lora_rank", "prompt_words"):
        assert any(name in problem for problem in problems)


def test_unknown_recipes_are_refused_with_the_known_ones():
    with pytest.raises(PetError) as caught:
        make_recipe("cake")
    assert all(name in str(caught.value) for name in ("'cake'", *RECIPES))


def test_members_make_more_updates_with_more_labeled_texts():
    steps = [fit_to_data(Recipe(), [], texts, 2).member.steps for texts in (0, 8, 32, 100, 200, 1000)]
    assert steps == [60, 60, 60, 119, 180, 473]
    assert fit_to_data(Recipe(), {"steps": 5}, 1000, 2).member.steps == Recipe().member.steps


def test_many_labels_have_larger_learning_rates():
    recipe = Recipe().with_settings(learning_rate=5e-5)
    rates = [fit_to_data(recipe, [], 8, labels).member.learning_rate for labels in (2, 10, 40, 160, 1000)]
    assert rates == pytest.approx([5e-5, 5e-5, 1e-4, 2e-4, 2e-4])
    assert fit_to_data(recipe, ["learning_rate"], 8, 160).member.learning_rate == 5e-5


def test_members_of_many_labels_start_as_the_model_is():
    starts = [fit_to_data(Recipe(), [], 32, labels).member.even_start for labels in (2, 10, 11)]
    assert starts == [True, True, False]
    assert fit_to_data(Recipe(), ["even_start"], 32, 150).member.even_start
    assert not fit_to_data(RECIPES["paper"], [], 32, 2).member.even_start


def test_members_of_ipet_learn_from_more_texts_that_patterns_label():
    def found(recipe: Recipe, *wanted: Any) -> tuple[int, float]:
        member = fit_to_data(recipe, *wanted).member
        return member.pattern_labels, member.pattern_share

    assert found(Recipe(), [], 32, 2) == (200, 0.4)
    assert found(Recipe(), [], 32, 2, "ipet") == (400, 0.2)
    assert found(Recipe(), [], 32, 11, "ipet")[0] == 0
    own = Recipe().with_settings(pattern_labels=50)
    assert found(own, ["pattern_labels"], 32, 11, "ipet") == (50, 0.2)


def test_students_make_more_updates_with_many_labels():
    steps = [fit_to_data(Recipe(), [], 32, labels).student.steps for labels in (2, 10, 40, 150)]
    assert steps == [100, 100, 200, 300]
    assert fit_to_data(Recipe(), ["student_steps"], 32, 150).student.steps == 100


def test_students_of_many_labels_also_learn_from_the_labeled_texts():
    weights = [fit_to_data(Recipe(), [], 32, labels).student.gold_weight for labels in (2, 10, 11)]
    assert weights == [0, 0, 0.2]
    assert fit_to_data(Recipe(), ["gold_weight"], 32, 150).student.gold_weight == 0
