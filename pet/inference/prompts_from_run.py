"""Add the members of a finished run to a prompt library."""

from __future__ import annotations

from pathlib import Path

from pet.errors import PetError
from pet.inference.ensemble import open_ensemble
from pet.members.kinds import NOTE, read_spec
from pet.prompts.library import Prompt, as_name, available_folder, check_name, describe, portable, write_prompt
from pet.report.tables import HEADLINE
from pet.resources import expand
from pet.run.load_run import read_settings
from pet.run.results import read_results
from pet.store.json_reader import read_json
from pet.store.schema import record, whole
from pet.tuning.members import read_member
from pet.tuning.vectors import VECTORS

_NOTE = record({}, {"labeled": whole(0, 10**15)})


def add_run(run: str | Path, library: str | Path, name: str | None = None) -> list[Prompt]:
    """Add the prompts of a finished run with ``--tuning prompt`` to a library: all of them or none.

    Parameters
    ----------
    run : the run directory
    library : folder of the library; created if it does not exist
    name : prefix of the prompts' names, followed by the name of the member, as in ``sst2-p1-r1``; default: the name of
        the task

    Raises
    ------
    PetError
        If the run has no prompts or is not finished, or a name is taken.
    """
    place = expand(run)
    settings = read_settings(place)
    if settings.method not in ("pet", "ipet", "pcp"):
        raise PetError(f"{place} is a {settings.method} run, which has no trained members and so no prompts")
    ensemble = open_ensemble(place)
    recipe = ensemble.recipe
    if recipe.tuning.method != "prompt":
        raise PetError(f"{place}: this run used --tuning {recipe.tuning.method}; only --tuning prompt makes prompts")
    base = as_name(ensemble.task.name) if name is None else check_name(name)
    figures = read_results(place).get("members") or {}
    members = [(read_spec(folder), folder) for folder in ensemble.folders]
    members = [(spec, folder) for spec, folder in members if spec.pattern is not None]
    prompts = []
    for spec, folder in members:
        learned = read_member(folder)
        note = read_json(folder / NOTE, f"create it again with `pet run {place / 'config.yaml'}`", _NOTE)
        examples = int(note.get("labeled") or 0)
        about = {
            "kind": "run",
            "tasks": [describe(ensemble.task, [ensemble.task.patterns[spec.pattern or 0]])],
            "steps": recipe.member.updates(examples),
            "examples": examples,
            "metrics": {key: figures[spec.name][key] for key in HEADLINE if key in figures.get(spec.name, {})},
            "origin": {"member": spec.name, "seed": settings.seed, "learning_rate": recipe.member.learning_rate},
        }
        vectors = learned.arrays[VECTORS].numpy()
        prompts.append(Prompt(f"{base}-{spec.name}", vectors, portable(learned.backbone), learned.fingerprint, about))
    for prompt in prompts:
        available_folder(library, prompt)
    for prompt in prompts:
        write_prompt(library, prompt)
    return prompts
