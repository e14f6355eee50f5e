"""Settings that were changed although they have no effect in a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pet.members import head
from pet.members.spec import MemberSpec
from pet.recipe import Recipe
from pet.run.settings import RANKED, RunSettings
from pet.settings import Settings, own_settings, parse_flat

_AUXILIARY = ("unlabeled_batch", "alpha", "mlm_probability")  # of the auxiliary MLM loss


def unused_settings(settings: RunSettings, recipe: Recipe, specs: Iterable[MemberSpec]) -> list[str]:
    """Return a sentence for each reason why changed settings have no effect.

    Parameters
    ----------
    settings : of the run; only those in `settings.settings` were changed
    recipe : the recipe with these changes
    specs : members of the run

    Examples
    --------
    >>> given = RunSettings(task={}, train="a.csv", unlabeled=None, test=None, model="m", settings={"growth": 3})
    >>> unused_settings(given, Recipe(), [])
    ['growth has no effect: it only applies to --method ipet']
    """
    changed = parse_flat(recipe, settings.settings)
    reasons = _reasons(settings, recipe, {spec.kind for spec in specs})
    by_reason: dict[str, list[str]] = {}
    for name in changed:
        if name in reasons:
            by_reason.setdefault(reasons[name], []).append(name)
    compared = settings.compares or not settings.baselines
    others = [] if compared else ["--baselines has no effect without --test: there are no texts to compare methods on"]
    return others + [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: "
        f"{'it' if len(names) == 1 else 'they'} only {'applies' if len(names) == 1 else 'apply'} to {reason}"
        for reason, names in by_reason.items()
    ]


def _reasons(settings: RunSettings, recipe: Recipe, kinds: set[str]) -> Mapping[str, str]:
    """Return, for each setting without an effect, what it applies to."""
    trains = settings.trains_members or settings.compares
    ranks = settings.init_prompt is not None and RANKED.fullmatch(settings.init_prompt) is not None
    supervised = settings.method == "supervised" or settings.compares or head.KIND in kinds
    tuning = recipe.tuning
    unused: list[tuple[Iterable[str], str]] = []

    def note(used: bool, group: Settings, reason: str) -> None:
        if not used:
            unused.append((_names(group), reason))

    note(settings.method == "ipet", recipe.ipet, "--method ipet")
    note(settings.method == "pcp", recipe.continued, "--method pcp")
    note(trains, recipe.member, "--method pet, ipet and pcp")
    note(trains, tuning, "--method pet, ipet and pcp")
    note(settings.makes_classifier or head.KIND in kinds, recipe.student, "runs that train a classifier")
    note(trains or settings.makes_classifier or head.KIND in kinds, recipe.optimizer, "runs that train something")
    note(supervised, recipe.supervised, "--method supervised, --baselines and --member head")
    note(settings.method != "supervised", recipe.merging, "runs with an ensemble")
    if recipe.merging.merge != "learned" or not settings.trains_members:
        unused.append((["quick_members"], "merge=learned with --method pet, ipet and pcp"))
    note(bool(recipe.priming.count), recipe.priming, "--set priming=N")
    note(ranks, recipe.library, "--init-prompt similar or mean:K")
    for name, config in tuning.configs.items():
        if name != tuning.method:
            shared = _names(tuning.configs[tuning.method])
            unused.append((set(_names(config)) - set(shared), f"--tuning {name}"))
    if settings.unlabeled is None:
        unused.append((_AUXILIARY, "runs with --unlabeled"))
    elif not recipe.member.unlabeled_batch:
        unused.append((_AUXILIARY[1:], "runs with the auxiliary MLM loss (--set unlabeled_batch=N)"))
    return {name: reason for names, reason in reversed(unused) for name in names}


def _names(group: Settings) -> list[str]:
    return [item.name for item in own_settings(group)]
