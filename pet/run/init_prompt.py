"""``--init-prompt``: the prompt that members start from, selected once and stored with the run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pet.backbones.info import ModelInfo
from pet.backbones.load import model_fingerprint
from pet.cloze.bind import bind_patterns
from pet.errors import PetError
from pet.progress import Reporter
from pet.prompts.library import OPTIONS, Prompt, check_backbone, find_prompt, list_prompts
from pet.prompts.neurons import check_neurons
from pet.prompts.ranking import NewTask, blend, measure, ranked
from pet.recipe import DEFAULT_LIBRARY, Recipe
from pet.run.context import RunContext
from pet.run.settings import RANKED, RunSettings
from pet.seeds import derive_seed
from pet.tuning.members import Learned, read_member, write_learned
from pet.tuning.vectors import VECTORS

STAGE = "init-prompt"


@dataclass(frozen=True)
class InitPrompt:
    """Prompts that members may start from.

    Attributes
    ----------
    candidates : the named prompt, or all prompts of the library that fit
    count : number of best-ranked candidates to average; 0: use the named prompt, without ranking
    project : another model, whose prompts are mapped to the run's model, or None
    """

    candidates: list[Prompt]
    count: int
    project: str | None = None

    @property
    def length(self) -> int:
        """Number of vectors of each candidate."""
        return self.candidates[0].length

    def hashes(self) -> dict[str, Any]:
        """Return hashes of everything they depend on, for config.yaml."""
        found: dict[str, Any] = {"prompts": {prompt.name: prompt.digest for prompt in self.candidates}}
        if self.project is not None:
            found["project_prompt"] = model_fingerprint(self.project)
        return found


def open_init_prompt(settings: RunSettings, recipe: Recipe, info: ModelInfo, reporter: Reporter) -> InitPrompt | None:
    """Find the prompts that members may start from, before anything is trained; None without ``--init-prompt``.

    A warning says how many prompts of the library do not fit.

    Raises
    ------
    PetError
        If the prompt does not exist, belongs to another model, or cannot be used by this run.
    """
    text = settings.init_prompt
    if text is None:
        return None
    if recipe.tuning.method != "prompt":
        raise PetError(f"--init-prompt requires --tuning prompt, not {recipe.tuning.method}")
    by_rank = RANKED.fullmatch(text)
    known = [info.fingerprint]
    if settings.project_prompt is not None:
        known.append(model_fingerprint(settings.project_prompt))
    if by_rank is None:
        prompt = find_prompt(text, settings.prompt_library)
        if prompt.fingerprint not in known:
            check_backbone(prompt, settings.model, known[0])
        given = settings.settings.get("prompt_length")
        if given is not None and recipe.tuning.config.length != prompt.length:
            raise PetError(
                f"prompt {prompt.name} has {prompt.length} vectors, but prompt_length is {given}; remove prompt_length"
            )
        return InitPrompt([prompt], 0, settings.project_prompt)
    if not settings.has_labels:
        raise PetError(f"--init-prompt {text} requires labeled texts to rank prompts; give --train, or name one prompt")
    if recipe.library.similarity == "neurons":
        check_neurons(info.meta, info.tokenizer)
    candidates = _candidates(settings, recipe.tuning.config.length, known, reporter)
    count = int((by_rank[1] or "1")[:9])  # a longer number is too large in any case
    if not 1 <= count <= len(candidates):
        raise PetError(f"--init-prompt {text}: {len(candidates)} prompts fit; use mean:1 to mean:{len(candidates)}")
    return InitPrompt(candidates, count, settings.project_prompt)


def _candidates(settings: RunSettings, length: int, known: list[str], reporter: Reporter) -> list[Prompt]:
    """Prompts of the library that can be ranked: those of a known model with the right length."""
    library = settings.prompt_library or DEFAULT_LIBRARY
    there = list_prompts(library)
    ours = [prompt for prompt in there if prompt.fingerprint in known]
    if there and not ours:
        check_backbone(there[0], settings.model, known[0])
    fitting = [prompt for prompt in ours if prompt.length == length]
    if not fitting:
        lengths = ", ".join(map(str, sorted({prompt.length for prompt in ours})))
        raise PetError(
            f"{library}: no prompt has {length} vectors; set prompt_length to {lengths}"
            if ours
            else f"{library}: contains no prompts; add some with `pet prompts add RUN -l {library}`"
        )
    if len(fitting) < len(there):
        reporter.warn(f"{library}: ignored {len(there) - len(fitting)} prompts of other models or lengths")
    return fitting


def make_init_prompt(context: RunContext, initial: InitPrompt) -> Learned:
    """Select a candidate, or average several, and store the result and the ranking as a stage of the run."""

    def build(folder: Path) -> dict[str, Any]:
        backbone = context.shared.models.backbone(None)
        prompts, projection = _projected(context, initial)
        choice: dict[str, Any] = {"prompts": [prompt.name for prompt in prompts]}
        vectors = prompts[0].vectors
        if initial.count:
            by = context.recipe.library.similarity
            with context.reporter.task("rank prompts", len(prompts), "prompt") as bar:
                found = ranked(measure(_new_task(context), prompts, ["zero-shot", by], on_prompt=bar.update), by)
            vectors, weights = blend(prompts, found[: initial.count], by)
            choice = {"by": by, "weights": weights, "ranking": [candidate.to_dict() for candidate in found]}
            context.reporter.info(f"initial prompt: {', '.join(weights)}")
        if projection is not None:
            choice["projection"] = projection
        (folder / "choice.json").write_text(json.dumps(choice, indent=2) + "\n", encoding="utf-8")
        arrays = {VECTORS: torch.from_numpy(vectors.copy())}
        write_learned(Learned(arrays, backbone.name, backbone.fingerprint, OPTIONS), folder)
        return {"prompts": list(choice["weights"] if initial.count else choice["prompts"])}

    return read_member(context.directory.stage(STAGE, {"config": context.config_hash}, build))


def _new_task(context: RunContext) -> NewTask:
    """The run's task, for ranking prompts."""
    shared, train = context.shared, context.texts("train")
    return NewTask(
        name=context.task.name,
        bind=lambda n: bind_patterns(
            context.task, shared.tokenizer, context.recipe.encoding.max_length, before=n, **shared.binding
        ),
        tokens=train.tokens,
        labels=train.labels,
        backbone=shared.models.backbone(None),
        tokenizer=shared.tokenizer,
        recipe=context.recipe,
        accelerator=shared.accelerator,
        seed=derive_seed(context.settings.seed, STAGE),
    )


def _projected(context: RunContext, initial: InitPrompt) -> tuple[list[Prompt], dict[str, Any] | None]:
    """Map the candidates to the run's model; the second value tells how well the map fits, if one was needed."""
    fingerprint = context.directory.config["hashes"]["model"]
    if initial.project is None or all(prompt.fingerprint == fingerprint for prompt in initial.candidates):
        return initial.candidates, None
    from pet.prompts.projection import apply_map, model_map

    matrix, figures = model_map(initial.project, context.settings.model, allow_pickle=context.settings.allow_pickle)
    mapped = [
        prompt
        if prompt.fingerprint == fingerprint
        else replace(prompt, vectors=apply_map(prompt.vectors, matrix), fingerprint=fingerprint)
        for prompt in initial.candidates
    ]
    return mapped, figures
