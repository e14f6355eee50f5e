"""Members whose hidden states another engine computes; see `pet.runtimes`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pet.backbones.base import Batch, LanguageModel
from pet.backbones.masked import MaskedLM, knows_head
from pet.cloze.pvp import PVP
from pet.errors import PetError
from pet.members.pattern import PatternMember
from pet.members.seam import Scorer
from pet.members.texts import Texts
from pet.members.untrained import UntrainedMember
from pet.runtimes.build import build_engine
from pet.runtimes.engines import Engine
from pet.runtimes.graph import INPUTS, POSITIONS, FeaturesGraph

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.members.shared import Shared


class EngineStates:
    """Computes hidden states with an engine."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def __call__(self, inputs: Batch, positions: Tensor) -> Tensor:
        values = {name: inputs[name].numpy() for name in INPUTS if name in inputs}
        return torch.from_numpy(self.engine(values | {POSITIONS: positions.numpy()}))


class _Recorder:
    """Notes the inputs of a graph, and computes nothing."""

    def __init__(self, names: tuple[str, ...], size: int):
        self.batches: list[tuple[Tensor, ...]] = []
        self._names, self._size = names, size

    def __call__(self, inputs: Batch, positions: Tensor) -> Tensor:
        values = {**inputs, POSITIONS: positions}
        self.batches.append(tuple(values[name] for name in self._names))
        return torch.zeros(len(positions), self._size)


def scoring_model(scorer: Scorer) -> tuple[str, LanguageModel, PVP] | None:
    """Return the name, model and pattern of a member with a pattern; None for others."""
    if isinstance(scorer, PatternMember) and scorer.folder is not None:
        return str(scorer.folder), scorer.shared.models.member(scorer.folder), scorer.pvp
    if isinstance(scorer, UntrainedMember):
        return scorer.shared.models.info.name, scorer.shared.models.untrained(), scorer.pvp
    return None


def check_engines(shared: Shared, scorers: list[Scorer], runtime: str) -> None:
    """Check that engines can compute the hidden states of members.

    Raises
    ------
    PetError
        If members share one model, score words of several tokens, or have models of another kind.
    """
    cure = f"--runtime {runtime}: {{}}; use --runtime torch, or label with the run's student (`pet predict`)"
    if shared.models.shared:
        raise PetError(cure.format(f"members of --tuning {shared.recipe.tuning.method} change one model in turn"))
    for found in map(scoring_model, scorers):
        if found is None:
            continue
        _, lm, pvp = found
        if not isinstance(lm, MaskedLM) or not knows_head(lm.model.config):
            raise PetError(cure.format(f"models of the family {lm.model.config.model_type} score words only in torch"))
        if pvp.choices is not None or any(pvp.before):
            raise PetError(cure.format("the task has label words of several tokens"))


def member_engine(scorer: Scorer, runtime: str, precision: str, sample: Dataset | None = None) -> EngineStates | None:
    """Return what computes the hidden states of a member with a pattern, without attaching it; None for other members.

    Parameters
    ----------
    scorer : the member
    runtime, precision : see `pet.runtimes.build.build_engine`
    sample : texts to measure scales on, to compute in int8
    """
    found = scoring_model(scorer)
    if found is None or not isinstance(found[1], MaskedLM):
        return None
    name, lm = found[0], found[1]
    graph = FeaturesGraph(lm.model)
    batches = None if sample is None else _inputs(scorer, lm, graph, sample)
    return EngineStates(build_engine(graph, runtime, precision, name, batches))


def use_states(scorer: Scorer, states: EngineStates | None) -> None:
    """Let an engine compute the hidden states of a member with a pattern; None: torch."""
    found = scoring_model(scorer)
    if found is None or not isinstance(found[1], MaskedLM):
        return
    name, lm = found[0], found[1]
    engines = scorer.shared.models.engines  # type: ignore[attr-defined]
    lm.engine = states
    engines.pop(name, None)
    if states is not None:
        engines[name] = states


def has_engine(scorer: Scorer) -> bool:
    """Return True if an engine computes the hidden states of a member, or of another one with the same model."""
    found = scoring_model(scorer)
    return found is not None and isinstance(found[1], MaskedLM) and found[1].engine is not None


def _inputs(scorer: Scorer, lm: MaskedLM, graph: FeaturesGraph, sample: Dataset) -> list[tuple[Tensor, ...]]:
    """Return what the graph of a member reads for some texts."""
    recorder = _Recorder(graph.inputs, lm.model.config.hidden_size)
    shared: Shared = scorer.shared  # type: ignore[attr-defined]
    texts = Texts(sample, lambda: shared.plan)
    lm.engine = recorder
    try:
        with closing(texts):
            scorer.scores(texts, np.empty((len(sample), len(shared.task.labels)), dtype=np.float32))
    finally:
        lm.engine = None
    return recorder.batches
