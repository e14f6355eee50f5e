"""The estimate of accuracy without test texts: what it trains, and what it costs compared with the run.

Members trained on half of the labeled texts label the other half. They are trained cheaply: one pattern per draw, and
no auxiliary MLM loss. The number of updates is that of the run, so that only the number of texts differs.
"""

from __future__ import annotations

from dataclasses import dataclass

from pet.ensemble.stacking import FEWEST_TEXTS
from pet.recipe import Recipe

DRAWS = 4  # of half of the labeled texts
FOLDS = 4  # for what more labels bring, where the members of the run leave out no texts
FEWEST = 8  # labeled texts
MOST_COST = 0.5  # by default the estimate takes at most this share of the time of a run
_BACKWARD = 3  # a training step takes as long as reading its texts three times


def half_recipe(recipe: Recipe) -> Recipe:
    """Return the settings of a member that learns from half of the texts: no auxiliary loss."""
    return recipe.with_settings(unlabeled_batch=0)


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Attributes
    ----------
    patterns, texts, pool : numbers of patterns, labeled texts and unlabeled texts
    folds : trainings on all but a fold, besides the halves; see `FOLDS`
    """

    patterns: int
    texts: int
    pool: int
    folds: int = 0


def relative_cost(recipe: Recipe, size: Size) -> float:
    """Return how long the estimate takes, as a share of the run.

    The time is measured in texts that a model reads. Reading texts again for training counts three times. The run is
    that of PET; others take longer.

    Examples
    --------
    >>> from pet.recipe import make_recipe
    >>> round(relative_cost(make_recipe(), Size(patterns=4, texts=32, pool=1000)), 2)
    0.4
    """
    member, student = recipe.member, recipe.student
    batch = (member.labeled_batch + (member.unlabeled_batch if size.pool else 0)) * member.accumulation
    run = size.patterns * member.repetitions * (_BACKWARD * member.updates(size.texts) * batch + size.pool)
    if size.pool:
        run += _BACKWARD * student.steps * student.batch * student.accumulation
    return (DRAWS + size.folds) * half_passes(recipe, size.texts) / max(run, 1)


def size_of(recipe: Recipe, patterns: int, texts: int, pool: int) -> Size:
    """Return the size of a run; one whose members leave out texts anyway needs no folds."""
    leaves_out = recipe.merging.merge == "learned" and texts >= FEWEST_TEXTS
    return Size(patterns, texts, pool, 0 if leaves_out else FOLDS)


def half_passes(recipe: Recipe, texts: int) -> float:
    """Return how many texts a model reads in one draw."""
    half = half_recipe(recipe).member
    updates = half.updates(max(1, texts // 2))
    return _BACKWARD * updates * half.labeled_batch * half.accumulation + texts
