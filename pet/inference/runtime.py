"""``--runtime``: let the fastest engine run a saved classifier or ensemble, and tell how often labels stay the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pet.backbones.int8 import quantize_linears
from pet.data.pick import pick_rows
from pet.errors import PetError
from pet.inference.ensemble import SavedEnsemble
from pet.inference.options import ComputeOptions
from pet.inference.quantize import (
    classifier_labels,
    ensemble_labels,
    note_agreement,
    quantize_classifier,
    quantize_ensemble,
    sample_of,
)
from pet.members.engines import EngineStates, check_engines, has_engine, member_engine, use_states
from pet.members.seam import Scorer
from pet.progress import Reporter
from pet.runtimes.build import fastest
from pet.runtimes.engines import AUTO, ONNX, TORCH, Engine, check_runtime, describe, installed_runtimes
from pet.student.classifier import Classifier
from pet.student.exported import classifier_engine, engine_of, use_engine
from pet.training.device import Accelerator

if TYPE_CHECKING:
    from datasets import Dataset

WORTHWHILE = 1000  # texts: a trial takes as long as a few hundred
_TRIAL = 64  # texts
Built = TypeVar("Built", Engine, EngineStates)


@dataclass(frozen=True)
class Prepared:
    """What runs a model.

    Attributes
    ----------
    engine : such as ``openvino 2026.4.1, bf16``; None if ``--runtime`` was not given
    agreement : share of the first 256 texts that have the label of torch without int8; None if torch computes as before
    """

    engine: str | None = None
    agreement: float | None = None


def prepare_classifier(
    classifier: Classifier, name: str, chunk: Dataset, accelerator: Accelerator, compute: ComputeOptions,
    reporter: Reporter,
) -> None:  # fmt: skip
    """Choose what runs a classifier, in int8 if asked, and report it.

    Parameters
    ----------
    classifier, name : the classifier, and its name in messages
    chunk : the first texts: they measure scales, and show how many labels stay the same
    accelerator, compute : where and how to compute
    reporter : reports the engine and the agreement

    Raises
    ------
    PetError
        If the runtime is missing, or cannot run this model, device or precision.
    """
    engine = engine_of(classifier)
    if engine is not None:
        reporter.info(f"runtime: {engine}")
        return
    names = _names(compute, accelerator, chunk, reporter)
    if names == [TORCH]:
        if compute.quantize:
            quantize_classifier(classifier, name, chunk, accelerator, compute.max_tokens, reporter)
        return
    sample, most = sample_of(chunk), compute.max_tokens
    before = classifier_labels(classifier, sample, accelerator, most)

    def build(runtime: str) -> Engine | None:
        precision = _precision(runtime, accelerator, compute)
        return classifier_engine(classifier, name, runtime, precision, sample if compute.quantize else None)

    def version(runtime: str) -> Classifier:
        other = copy.copy(classifier)
        if runtime == TORCH and compute.quantize:
            other.model = copy.deepcopy(classifier.model)
            vars(other).pop("logits", None)
            _ = other.logits  # finds its layers before they are replaced
            quantize_linears(other.model, name)
        elif runtime != TORCH:
            use_engine(other, engines[runtime])
        return other

    engines = _built(names, build, compute)
    chosen = next(iter(engines), TORCH)
    if compute.runtime == AUTO:
        few, versions = pick_rows(sample, range(min(_TRIAL, len(sample)))), {}
        for runtime in [TORCH, *engines]:
            other = version(runtime)
            versions[runtime] = lambda other=other: other.scores(few, accelerator, max_tokens=most)
        chosen = fastest(versions)
    made = version(chosen)
    classifier.model, vars(classifier)["logits"] = made.model, made.logits
    reporter.info(f"runtime: {engines.get(chosen) or describe(TORCH)}")
    note_agreement(before, classifier_labels(classifier, sample, accelerator, most), reporter, chosen)


def prepare_ensemble(ensemble: SavedEnsemble, chunk: Dataset, compute: ComputeOptions, reporter: Reporter) -> Prepared:
    """Choose what runs the members of an ensemble; see `prepare_classifier`."""
    shared = ensemble.shared
    names, scorers = _names(compute, shared.accelerator, chunk, reporter), list(ensemble.scorers)
    if names != [TORCH]:
        try:
            check_engines(shared, scorers, str(compute.runtime))
        except PetError as error:
            if compute.runtime != AUTO:
                raise
            reporter.info(f"torch runs the members: {error}")
            names = [TORCH]
    if names == [TORCH]:
        return _by_torch(ensemble, chunk, compute, reporter)
    sample = sample_of(chunk)
    before = ensemble_labels(ensemble, sample)

    def states(scorer: Scorer, runtime: str) -> EngineStates | None:
        precision = _precision(runtime, shared.accelerator, compute)
        return member_engine(scorer, runtime, precision, sample if compute.quantize else None)

    chosen = names[0]
    if compute.runtime == AUTO:
        made = _built(names, lambda runtime: states(scorers[0], runtime), compute)
        chosen = _fastest_of(ensemble, made, sample)
    if chosen == TORCH:
        reporter.info(f"runtime: {describe(TORCH)}")
        return _by_torch(ensemble, chunk, compute, reporter)
    try:
        _attach(scorers, lambda scorer: states(scorer, chosen))
    except PetError as error:
        if compute.runtime != AUTO:
            raise
        reporter.info(f"torch runs the members: {error}")
        return _by_torch(ensemble, chunk, compute, reporter)
    engine = _engine_name(ensemble)
    reporter.info(f"runtime: {engine}")
    return Prepared(engine, note_agreement(before, ensemble_labels(ensemble, sample), reporter, chosen))


def _attach(scorers: Sequence[Scorer], states: Callable[[Scorer], EngineStates | None]) -> None:
    """Let engines compute the hidden states of all members, or of none if one fails; equal models share an engine."""
    try:
        for scorer in scorers:
            if not has_engine(scorer):
                use_states(scorer, states(scorer))
    except PetError:
        for scorer in scorers:
            use_states(scorer, None)
        raise


def _engine_name(ensemble: SavedEnsemble) -> str:
    used = [found.engine for found in ensemble.shared.models.engines.values() if isinstance(found, EngineStates)]
    return str(used[0] if used else describe(TORCH))


def _by_torch(ensemble: SavedEnsemble, chunk: Dataset, compute: ComputeOptions, reporter: Reporter) -> Prepared:
    engine = describe(TORCH) if compute.runtime else None
    return Prepared(engine, quantize_ensemble(ensemble, chunk, reporter) if compute.quantize else None)


def _fastest_of(ensemble: SavedEnsemble, engines: Mapping[str, EngineStates], sample: Dataset) -> str:
    """Return the fastest runtime for the first member: one of the engines that were built for it, or torch."""
    few, scorer = pick_rows(sample, range(min(_TRIAL, len(sample)))), ensemble.scorers[0]
    made = {TORCH: None, **engines}
    alone = SavedEnsemble(ensemble.shared, [scorer], ensemble.ensemble)

    def timed(name: str) -> Callable[[], object]:
        def score() -> object:
            use_states(scorer, made[name])
            return alone.score(few)

        return score

    try:
        return fastest({name: timed(name) for name in made})
    finally:
        use_states(scorer, None)


def candidates(compute: ComputeOptions, accelerator: Accelerator) -> list[str]:
    """Return the runtimes that ``--runtime`` allows, the usually fastest one first; torch comes last with ``auto``.

    Raises
    ------
    PetError
        If the runtime that was asked for is missing, or cannot run on this device.
    """
    runtime, on_cpu = compute.runtime or TORCH, accelerator.device.type == "cpu"
    if runtime == TORCH:
        return [TORCH]
    if runtime != AUTO:
        check_runtime(runtime)
        if not on_cpu:
            raise PetError(f"--runtime {runtime} computes on a CPU; add --device cpu, or use --runtime torch")
        return [runtime]
    names = [
        name for name in installed_runtimes() if name != ONNX or accelerator.precision == "fp32" or compute.quantize
    ]
    return [*(names if on_cpu else []), TORCH]


def _names(compute: ComputeOptions, accelerator: Accelerator, chunk: Dataset, reporter: Reporter) -> list[str]:
    """Return the runtimes to try; only torch if nothing else is possible or worth it."""
    names = candidates(compute, accelerator)
    if compute.runtime != AUTO:
        return names
    if names == [TORCH] or len(chunk) < WORTHWHILE:
        on_cpu = accelerator.device.type == "cpu"
        few = f"fewer than {WORTHWHILE} texts" if installed_runtimes() else "no other is installed"
        reporter.info(f"runtime: {describe(TORCH)} ({few if on_cpu else 'a GPU'})")
        return [TORCH]
    return names[:-1]


def classifier_runtime(classifier: Classifier, name: str, accelerator: Accelerator, compute: ComputeOptions) -> str:
    """Let the first of the `candidates` that can run a classifier do so, without texts to compare; return its name."""
    for runtime in candidates(compute, accelerator):
        if runtime != TORCH:
            try:
                use_engine(classifier, classifier_engine(classifier, name, runtime, accelerator.precision))
            except PetError:
                if compute.runtime != AUTO:
                    raise
                continue
        return str(engine_of(classifier) or describe(TORCH))
    return describe(TORCH)


def ensemble_runtime(ensemble: SavedEnsemble, compute: ComputeOptions) -> str:
    """Let the first of the `candidates` that can run an ensemble do so, without texts to compare; return its name."""
    shared, scorers = ensemble.shared, list(ensemble.scorers)
    for runtime in candidates(compute, shared.accelerator):
        if runtime == TORCH:
            break
        try:
            check_engines(shared, scorers, runtime)
            _attach(scorers, partial(member_engine, runtime=runtime, precision=shared.accelerator.precision))
        except PetError:
            if compute.runtime != AUTO:
                raise
            continue
        return _engine_name(ensemble)
    return describe(TORCH)


def _precision(runtime: str, accelerator: Accelerator, compute: ComputeOptions) -> str:
    return "fp32" if compute.quantize and runtime == ONNX else accelerator.precision


def _built(names: Sequence[str], build: Callable[[str], Built | None], compute: ComputeOptions) -> dict[str, Built]:
    """Build engines. With ``--runtime auto``, those that fail are left out: torch is always there."""
    engines = {}
    for name in names:
        try:
            engine = build(name)
        except PetError:
            if compute.runtime != AUTO:
                raise
            continue
        if engine is not None:
            engines[name] = engine
    return engines
