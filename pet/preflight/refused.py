"""Settings that a task does not allow."""

from __future__ import annotations

from pet.ensemble.settings import NOT_CALIBRATED
from pet.errors import PetError
from pet.recipe import Recipe
from pet.task.task import Task, one_label_only
from pet.training.settings import BALANCED, HINGE, NOT_ORDERED, ORDINAL


def check_settings(task: Task, recipe: Recipe) -> None:
    """Refuse what requires one label per text, if texts may have several, or labels in an order.

    Raises
    ------
    PetError
        With the setting and the cure.
    """
    if recipe.student.loss == ORDINAL and not task.ordered:
        raise PetError(NOT_ORDERED)
    if recipe.merging.calibration != NOT_CALIBRATED:
        one_label_only(task, f"calibration={recipe.merging.calibration}", "leave it out")
    if recipe.priming.count:
        one_label_only(task, "priming", "set it to 0")
    if recipe.member.weights_labels:
        one_label_only(task, f"class_weight={BALANCED}", "use balanced_batches=true")
        if recipe.member.loss == HINGE:
            raise PetError(f"class_weight={BALANCED} applies to the cross-entropy, not to loss={HINGE}; change one")
    if recipe.member.loss == HINGE:
        one_label_only(task, f"loss={HINGE}", "leave it out")
