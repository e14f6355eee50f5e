"""The members of a finished run as prompts of a library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pet.errors import PetError
from pet.inference.ensemble import open_ensemble
from pet.members.kinds import NOTE, read_spec
from pet.prompts.library import Prompt, as_name, available_folder, check_name, describe, portable, write_prompt
from pet.report.tables import HEADLINE
from pet.run.load_run import read_settings
from pet.tuning.members import read_member
from pet.tuning.vectors import VECTORS

if TYPE_CHECKING:
    pass


def add_run(run: str | Path, library: str | Path, name: str | None = None) -> list[Prompt]:
    """Put the members of a finished run with ``--tuning prompt`` into a library, all of them or none.

    Parameters
    ----------
    run : folder of the run
    library : folder; made when it is not there
    name : what their names begin with; None: the task's name. Behind it stands the member's: ``sst2-p1-r1``

    Raises
    ------
    PetError
        When the run has no prompts, is not finished, or a name is taken.
    """
    place = Path(run).expanduser()
    settings = read_settings(place)
    if settings.method not in ("pet", "ipet"):
        raise PetError(f"{place} is a {settings.method} run: it has no members, and so no prompts")
    ensemble = open_ensemble(place)
    recipe = ensemble.recipe
    if recipe.tuning.method != "prompt":
        raise PetError(f"{place}: its members have --tuning {recipe.tuning.method}; only --tuning prompt makes prompts")
    base = as_name(ensemble.task.name) if name is None else check_name(name)
    figures = _figures(place)
    members = [(read_spec(folder), folder) for folder in ensemble.folders]
    members = [(spec, folder) for spec, folder in members if spec.pattern is not None]
    prompts = []
    for spec, folder in members:
        learned = read_member(folder)
        examples = int(_noted(folder / NOTE, "labeled", place) or 0)
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


def _figures(run: Path) -> Mapping[str, Any]:
    """The figures of each member on the run's test set; none where it had no test set."""
    path = run / "metrics.json"
    if not path.is_file():
        raise PetError(f"{run}: this run is not finished; end it with `pet run {run / 'config.yaml'}`")
    return _noted(path, "members", run) or {}


def _noted(path: Path, key: str, run: Path) -> Any:
    """What a JSON file of a run says of something; None where it does not."""
    try:
        return json.loads(path.read_text(encoding="utf-8")).get(key)
    except (OSError, ValueError, AttributeError) as error:
        raise PetError(f"{path} is damaged ({error}); make it again with `pet run {run / 'config.yaml'}`") from error
