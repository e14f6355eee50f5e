"""Every hyper-parameter, by concern, and the named recipes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pet.cloze.settings import EncodingSettings, PrimingSettings
from pet.ensemble.settings import MergingSettings
from pet.errors import PetError
from pet.ipet.settings import IpetSettings
from pet.settings import Settings, parse_flat, setting, to_flat, with_flat
from pet.teachers.settings import TeacherSettings
from pet.training.settings import (
    ContinuedSettings,
    InferenceSettings,
    MemberSettings,
    OptimizerSettings,
    StudentSettings,
    SupervisedSettings,
)
from pet.tuning.settings import TuningSettings

_FEW_TEXTS = 32  # up to this many labeled texts, members make no more updates
_GROWTH = 0.6  # so that a run with 200 labeled texts takes about twice as long as one with 32
_FEW_LABELS = 10  # up to this many labels, members need no larger steps, and students no more updates
# For iPET and --effort high: as many texts as iPET's first training set without labels, chosen from as many.
_MORE_PATTERN_LABELS = {"pattern_labels": 400, "pattern_share": 0.2}
_GOLD_WEIGHT = 0.2  # with more labels: then there are few unlabeled texts of each, and the labeled ones teach more
DEFAULT_LIBRARY = "prompts"  # folder of the prompt library, unless another one is given


@dataclass(frozen=True)
class LibrarySettings(Settings):
    """How prompts of a library are ranked for a task."""

    title: ClassVar[str] = "Prompt library"

    similarity: str = setting(
        "zero-shot",
        "rank prompts for --init-prompt similar and mean:K by zero-shot (accuracy on the labeled texts), or by "
        "similarity to a prompt trained on them: cosine (of the mean vectors), pairs (mean cosine over all pairs of "
        "vectors), or neurons (overlap of activated neurons)",
        choices=("zero-shot", "cosine", "pairs", "neurons"),
        name="prompt_similarity",
    )
    query_steps: int = setting(100, "training steps of the prompt that the library is compared with", low=0, high=10**7)


@dataclass(frozen=True)
class Recipe(Settings):
    """All hyper-parameters of a run, by concern.

    Examples
    --------
    >>> recipe = make_recipe("default", {"student_steps": "50"})
    >>> recipe.student.steps, recipe.member.steps
    (50, 60)
    """

    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    member: MemberSettings = field(default_factory=MemberSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    student: StudentSettings = field(default_factory=StudentSettings)
    supervised: SupervisedSettings = field(default_factory=SupervisedSettings)
    merging: MergingSettings = field(default_factory=MergingSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    ipet: IpetSettings = field(default_factory=IpetSettings)
    continued: ContinuedSettings = field(default_factory=ContinuedSettings)
    priming: PrimingSettings = field(default_factory=PrimingSettings)
    library: LibrarySettings = field(default_factory=LibrarySettings)
    inference: InferenceSettings = field(default_factory=InferenceSettings)

    def with_settings(self, **settings: Any) -> Recipe:
        """Return this recipe with some settings, given by flat name, changed.

        Examples
        --------
        >>> Recipe().with_settings(student_steps=7).student.steps
        7
        """
        return with_flat(self, parse_flat(self, settings))

    def to_dict(self) -> dict[str, Any]:
        """Return flat name -> value, as in config.yaml."""
        return to_flat(self)


# Steps and batches of "paper" are those of arXiv 2001.07676, those of "fewglue" are from arXiv 2009.07118.
_PAPER: dict[str, Any] = {
    "merge": "weighted", "student_start": "new", "selection": "draw", "accept": "always", "vote_share": 0.25,
    "learning_rate": 1e-5, "student_learning_rate": 1e-5, "repetitions": 3, "warmup": 0.0, "min_epochs": 0.0,
    "steps": 1000, "labeled_batch": 1, "unlabeled_batch": 3, "accumulation": 4,
    "student_steps": 5000, "student_batch": 4, "student_accumulation": 4,
    "supervised_steps": 250, "supervised_batch": 4, "supervised_accumulation": 4,
    "student_rounds": 1, "student_fit_bias": False, "prior": "none", "ratio": "keep", "even_start": False,
    "pattern_labels": 0, "first_set": 10,
}  # fmt: skip
_FEWGLUE: dict[str, Any] = {
    **_PAPER, "steps": 250, "labeled_batch": 2, "unlabeled_batch": 0, "accumulation": 8,
    "student_batch": 2, "student_accumulation": 8, "supervised_batch": 2, "supervised_accumulation": 8,
}  # fmt: skip
# Recipes that adapt to the data, by how much time they take; see `fit_to_data`.
EFFORTS = ("low", "default", "high")
RECIPES: dict[str, Recipe] = {
    "default": Recipe(),
    "low": Recipe().with_settings(steps=30, student_steps=50),
    "high": Recipe().with_settings(repetitions=3, student_steps=200, **_MORE_PATTERN_LABELS),
    "paper": Recipe().with_settings(**_PAPER),
    "fewglue": Recipe().with_settings(**_FEWGLUE),
}


def make_recipe(name: str = "default", settings: Mapping[str, Any] | None = None) -> Recipe:
    """Return a named recipe with some settings changed.

    Parameters
    ----------
    name : one of `RECIPES`
    settings : flat name -> value, as text or as its own type

    Returns
    -------
    Recipe

    Raises
    ------
    PetError
        Naming every unknown setting, with the closest known name, and every value that is out of range.

    Examples
    --------
    >>> make_recipe("paper").member.repetitions
    3
    >>> make_recipe("default", {"steps": "100"}).member.steps
    100
    """
    if name not in RECIPES:
        raise PetError(f"unknown recipe {name!r}; recipes are {', '.join(RECIPES)}")
    values = parse_flat(RECIPES[name], settings or {})
    if "steps" in values:
        values.setdefault("min_epochs", 0.0)  # an explicit number of steps is exact
    if "student_steps" in values:
        values.setdefault("student_rounds", 1)
    if values.get("tuning", "full") != "full":
        values.setdefault("learning_rate", 0.0)  # the recipe's own rate is meant for training all weights
    return with_flat(RECIPES[name], values)


def without_auxiliary_loss(name: str, recipe: Recipe, settings: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe for a run without unlabeled text: ``paper`` then takes 250 steps of 4 × 4 texts."""
    given = settings or {}
    changes: dict[str, Any] = {"unlabeled_batch": 0}
    if name == "paper":
        plain = {"steps": 250, "labeled_batch": 4, "accumulation": 4}
        changes |= {key: value for key, value in plain.items() if key not in given}
    return recipe.with_settings(**changes)


def fit_to_data(recipe: Recipe, given: Collection[str], texts: int, labels: int, method: str = "pet") -> Recipe:
    """Return the recipe for a number of labeled texts and of labels, and for iPET.

    Members make 60 updates with up to 32 labeled texts. With more texts the updates grow with the power 0.6 of their
    number: 119 with 100 texts, 180 with 200, 473 with 1,000; so do those of supervised classifiers. With more than ten
    labels, the learning rate of members grows with the square root of the number of labels, up to four times, and so
    do the updates of the student, up to three times; the student also learns from the labeled texts; and members start
    with the preferences of their patterns, and learn nothing from the labels of untrained ones. With iPET, members
    learn from twice as many texts that untrained patterns label. benchmarks/README.md has the measurements.

    Parameters
    ----------
    recipe : its learning rates are known
    given : settings that the user has chosen, which stay as they are
    texts, labels : number of labeled texts, and of labels
    method : that of the run

    Examples
    --------
    >>> fit_to_data(Recipe(), [], texts=100, labels=4).member.steps
    119
    >>> fit_to_data(Recipe(), ["steps"], texts=100, labels=4).member.steps
    60
    """
    by_texts, by_labels = max(1.0, texts / _FEW_TEXTS) ** _GROWTH, math.sqrt(max(1.0, labels / _FEW_LABELS))
    changes: dict[str, Any] = {
        "steps": round(recipe.member.steps * by_texts),
        "supervised_steps": round(recipe.supervised.steps * by_texts),
        "student_steps": round(recipe.student.steps * min(3.0, by_labels)),
        "gold_weight": recipe.student.gold_weight if labels <= _FEW_LABELS else _GOLD_WEIGHT,
        "learning_rate": recipe.member.learning_rate * min(4.0, by_labels),
        "even_start": recipe.member.even_start and labels <= _FEW_LABELS,
    }
    if method == "ipet":
        changes |= _MORE_PATTERN_LABELS
    if labels > _FEW_LABELS:
        changes["pattern_labels"] = 0
    return recipe.with_settings(**{name: value for name, value in changes.items() if name not in given})


def learning_rate_for(parameters: int, factor: float = 1) -> float:
    """Return the peak learning rate of a member by model size: small models need larger steps.

    Parameters
    ----------
    parameters : number of parameters of the model
    factor : that of the tuning method, `TuningSettings.rate_factor`

    Examples
    --------
    >>> learning_rate_for(10_000_000), learning_rate_for(355_000_000)
    (5e-05, 1e-05)
    """
    if parameters <= 60_000_000:
        return 5e-5 * factor
    return (2e-5 if parameters <= 200_000_000 else 1e-5) * factor


def student_rate_for(parameters: int) -> float:
    """Return the peak learning rate of a classifier: four times that of a member, because its output layer is new."""
    return 4 * learning_rate_for(parameters)
