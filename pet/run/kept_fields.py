"""Checks of a run's texts with its models, before anything is trained."""

from __future__ import annotations

from pet.errors import PetError, TextError
from pet.members.shared import Shared
from pet.run.inputs import NAMES, RunData


def check_kept_fields(shared: Shared, data: RunData, *, trained: bool) -> None:
    """Check that fields which are never truncated (``!keep``) fit into the patterns, in every text of a run.

    Texts are only tokenized if a pattern has such a field.

    Parameters
    ----------
    shared, data : of the run
    trained : whether members are trained, with positions for learned vectors

    Raises
    ------
    PetError
        With the table, the first such text, and the cure, for each pattern.
    """
    known = shared.tuned_pvps if trained else shared.pvps
    pvps = [pvp for pvp in known if pvp.encoder.template.keeps_fields]
    problems = []
    for part, name in NAMES.items():
        table = getattr(data, part)
        if table is None or not pvps:
            continue
        tokens = shared.plan.tokenize(table)
        for pvp in pvps:
            try:
                pvp.check_kept(tokens)
            except TextError as error:
                problems += error.named(name, table["id"]).problems
    if problems:
        raise PetError(problems)
