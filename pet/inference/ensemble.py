"""The ensemble of a finished run, ready to score new texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.backbones.load import model_fingerprint
from pet.ensemble.combine import NOTED, REPEAT, Ensemble, SoftLabels
from pet.errors import PetError
from pet.evaluate_sets import HALF
from pet.members.chat import ChatMember
from pet.members.embeddings import KIND as EMBEDDINGS
from pet.members.kinds import make_scorer, open_scorer, read_spec
from pet.members.pattern import PatternMember
from pet.members.seam import OnRows, Scorer, ignore
from pet.members.shared import Shared
from pet.members.spec import old_pattern_spec, pattern_spec
from pet.members.texts import Texts
from pet.members.untrained import KIND as UNTRAINED
from pet.members.untrained import UntrainedMember
from pet.process import Lock
from pet.recipe import Recipe, make_recipe
from pet.resources import expand
from pet.run.class_ratio import resolve_prior, untrained_target, without_bias
from pet.run.context import PRIMERS, make_shared
from pet.run.inputs import RunData
from pet.run.load_run import read_settings
from pet.run.merging import KEPT
from pet.run.settings import RunSettings
from pet.run.weights import untrained_note
from pet.store.json_reader import parse_json
from pet.store.manifest import MANIFEST, read_config, read_stages, stage_info
from pet.store.recorded import check_recorded
from pet.store.schema import record, text, whole
from pet.suggest import suggest
from pet.task.task import Task
from pet.teachers.access import Access

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]


@dataclass
class SavedEnsemble:
    """The members of a finished run, and how they are merged.

    Attributes
    ----------
    shared : task, settings, device, and models
    scorers : the members
    ensemble : weights, scales, and bias
    folders : folders of the members; empty without a run
    columns : field (or ``label``, ``id``) -> column of the run's data files
    """

    shared: Shared
    scorers: Sequence[Scorer]
    ensemble: Ensemble
    folders: Sequence[Path] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)  # members share models

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"_lock": Lock()} | state)  # earlier versions pickled no lock

    @property
    def task(self) -> Task:
        """Task of the run."""
        return self.shared.task

    @property
    def recipe(self) -> Recipe:
        """Settings of the run."""
        return self.shared.recipe

    @property
    def names(self) -> list[str]:
        """Names of the members, in the order of the votes."""
        return [scorer.name for scorer in self.scorers]

    @property
    def quantized(self) -> bool:
        """True if the members compute in int8."""
        return self.shared.models.quantized

    def use(self, device: str, precision: str) -> None:
        """Compute on this device with this precision from now on."""
        with self._lock:
            self.shared.use(device, precision)

    def score(self, table: Dataset, on_rows: OnRows = ignore) -> list[Array]:
        """Return the scores of each member: float32 arrays of shape (rows, L).

        `on_rows` is called with the number of rows finished since the last call; it counts every row once per member.
        """
        texts = Texts(table, lambda: self.shared.plan)
        scores = []
        with self._lock, closing(texts):
            for scorer in self.scorers:
                out = np.empty((len(table), len(self.task.labels)), dtype=np.float32)
                scorer.scores(texts, out, on_rows)
                scores.append(out)
        return scores

    def vectors(self, table: Dataset) -> Array:
        """Return the vector of each text by the pretrained encoder: float32 array of shape (rows, D)."""
        texts = Texts(table)
        with self._lock, closing(texts):
            return self.shared.vectors(texts)

    def mass(self, table: Dataset) -> Array:
        """Return the mean over the patterns of `pet.members.null_text.text_mass`: float64 array of shape (rows,).

        Raises
        ------
        PetError
            If no member has a pattern.
        """
        texts = Texts(table, lambda: self.shared.plan)
        with self._lock, closing(texts):
            found = [
                scorer.mass(texts)
                for scorer in self.scorers
                if isinstance(scorer, (PatternMember, UntrainedMember)) and scorer.pvp.names is None
            ]
        if not found:
            raise PetError("--none-of-these-by mass requires patterns with label words; use embeddings")
        return np.asarray(np.mean(found, axis=0, dtype=np.float64))

    def label(self, table: Dataset, on_rows: OnRows = ignore) -> SoftLabels:
        """Return the merged soft labels of a table."""
        return self.ensemble.combine(self.score(table, on_rows))

    def keep_all(self) -> bool:
        """Load all members into memory, if they fit. Return True if so; the run directory is then not needed."""
        if not self.shared.models.keep(self.folders):
            return False
        for scorer in self.scorers:
            scorer.load()
        return True

    def check_quantizable(self) -> None:
        """Check that the members can be quantized.

        Raises
        ------
        PetError
            If members share one model. They attach to its layers, which quantization would replace.
        """
        if self.shared.models.shared:
            raise PetError(
                f"--quantize: members of --tuning {self.recipe.tuning.method} share one model and change its layers "
                "in turn; leave out --quantize, or quantize the run's student (`pet predict`)"
            )

    def quantize(self) -> None:
        """Compute in int8 from now on; see `pet.backbones.int8`."""
        self.shared.models.quantize()

    def to_cpu(self) -> None:
        """Move the models in memory to the CPU. Scoring moves them back."""
        with self._lock:
            self.shared.models.to_cpu()


def open_ensemble(
    folder: str | Path,
    *,
    allow_pickle: bool = False,
    device: str = "auto",
    precision: str | None = None,
    access: Access | None = None,
) -> SavedEnsemble:
    """Open the ensemble of a finished run: the members whose soft labels trained the student.

    For iPET this is usually the last generation. For a zero-shot run it is the pretrained model with every pattern.

    Parameters
    ----------
    folder : run directory of a finished run
    allow_pickle : also open pickled weights of the pretrained model, whatever the run's config.yaml says
    device, precision : see `pet.training.device.make_accelerator`; default of precision: the run's setting
    access : servers that texts may be sent to; default: none, whatever the run says

    Raises
    ------
    PetError
        If the folder is not a run directory, or the run is supervised or unfinished.
    """
    place = expand(folder)
    settings = read_settings(place)
    if settings.method == "supervised":
        raise PetError(
            f"{place} is a supervised run: it has a classifier but no ensemble; use `pet predict {place / 'student'}`"
        )
    settings = replace(
        settings,
        allow_pickle=allow_pickle,
        device=device,
        precision=precision or settings.precision,
    )
    task, stages = Task.from_dict(settings.task), read_stages(place)
    recipe = _recipe(place, settings.recipe, settings.settings)
    data = RunData(train=_primers(place, task) if recipe.priming.count else None)
    shared = make_shared(settings, task, recipe, data)
    shared.access = access or Access()
    generation = used_generation(place, stages, settings.method)
    folders = _member_folders(place, stages, generation, shared, settings)
    check_recorded(*folders)
    shared.models.keep(folders)
    scorers = [open_scorer(folder, shared) for folder in folders]
    _check_addresses(place, scorers, shared.access)
    _check_models(place, folders, shared)
    ensemble = _ensemble(place, stages, generation, scorers, shared)
    return SavedEnsemble(shared, scorers, ensemble, folders, {**task.columns, **settings.columns})


def _check_addresses(place: Path, scorers: Sequence[Scorer], access: Access) -> None:
    """Refuse servers that no member of the run asks."""
    there = {str(scorer.address) for scorer in scorers if isinstance(scorer, ChatMember)}
    for address in access.addresses:
        if address not in there:
            raise PetError(f"--teacher openai:{address}: no member of {place} asks it; {suggest(address, there)}")


def _check_models(place: Path, folders: Sequence[Path], shared: Shared) -> None:
    """Refuse models that members read, but do not keep, if they are not those of the run: scores would be others."""
    hashes, own = read_config(place).get("hashes") or {}, shared.models.info
    found: dict[tuple[str, str], list[str]] = {}
    for spec in map(read_spec, folders):
        if "model" in spec.options:
            model, recorded = str(spec.options["model"]), (hashes.get("members") or {}).get(spec.name)
        elif spec.kind in (UNTRAINED, EMBEDDINGS):
            model, recorded = own.name, hashes.get("model")
        else:
            continue
        if recorded is not None:
            found.setdefault((model, recorded), []).append(spec.name)
    for (model, recorded), readers in found.items():
        if recorded != (own.fingerprint if model == own.name else model_fingerprint(model)):
            raise PetError(
                f"model {model}: its files have changed since the run {place}, and members read them "
                f"({', '.join(readers)}); restore the model, or repeat the run with `pet run {place / 'config.yaml'} "
                "-o NEW_FOLDER`"
            )


def untrained_ensemble(settings: RunSettings, task: Task, primers: Dataset | None = None) -> SavedEnsemble:
    """Return an ensemble of every pattern of a task on a pretrained model, with equal weights and without a run.

    The bias of the patterns is corrected as the recipe says (``prior``).

    Parameters
    ----------
    settings : model, recipe, device, and seed
    task : the task
    primers : labeled texts to prepend, if the recipe has priming

    Raises
    ------
    PetError
        If the model cannot be opened, or a verbalizer word is not a single token of it.
    """
    settings, _ = resolve_prior(settings, task)
    recipe = make_recipe(settings.recipe, settings.settings)
    if recipe.priming.count and primers is None:
        raise PetError("priming requires labeled texts, but none were given; set priming to 0")
    shared = make_shared(settings, task, recipe, RunData(train=primers))
    shared.bind()
    specs = [pattern_spec(UNTRAINED, number, 0) for number in range(len(task.patterns))]
    ensemble = Ensemble.of([spec.name for spec in specs], labels=len(task.labels))
    ensemble = replace(ensemble, independent=task.multi_label)
    scorers = [make_scorer(spec, shared) for spec in specs]
    target = untrained_target(recipe, task)
    if target is not None:
        ensemble = without_bias(ensemble, scorers, shared, target)
    return SavedEnsemble(shared, scorers, ensemble)


def _member_folders(
    place: Path, stages: Mapping[str, Any], generation: int, shared: Shared, settings: RunSettings
) -> list[Path]:
    """Return the folders of a generation's members, all of which must exist."""
    names = _member_names(place, stages, generation)
    wanted = len(shared.task.patterns) * (shared.recipe.member.repetitions if settings.trains_members else 1)
    wanted = max(wanted, len(names))
    # In old zero-shot runs, members have scores but no stage of their own.
    suffixes = ("",) if settings.trains_members else ("", "/scores")
    names = [name for name in names if any(f"g{generation}/{name}{suffix}" in stages for suffix in suffixes)]
    if len(names) < wanted:
        raise PetError(
            f"{place}: this run is not finished: it has {len(names)} of {wanted} members; finish it with "
            f"`pet run {place / 'config.yaml'}`"
        )
    return [place / f"g{generation}" / name for name in names]


def _member_names(place: Path, stages: Mapping[str, Any], generation: int) -> list[str]:
    """Return the names of a generation's members, in the order of merging, or else of training."""
    _, merged = _noted_ensemble(place, stages, generation)
    if merged:
        return list(merged["members"])
    names = []
    for stage, about in stages.items():
        parts = stage.split("/")
        if len(parts) < 2 or parts[0] != f"g{generation}" or about.get("state") != "done":
            continue
        known = "kind" in (about.get("info") or {}) or old_pattern_spec(UNTRAINED, parts[1]) is not None
        if known and parts[1] not in names:
            names.append(parts[1])
    return names


def _noted_ensemble(place: Path, stages: Mapping[str, Any], generation: int) -> tuple[str, dict[str, Any]]:
    """Return the stage that merged a generation's members, and how; a run without a pool has a stage for this alone."""
    for stage in (f"g{generation}/labels", KEPT):
        if noted := noted_merging(place, stages, stage):
            return stage, noted
    return "", {}


def noted_threshold(place: Path, method: str) -> float:
    """Return the probability from which a run's ensemble gives a label, if a text may have several.

    Parameters
    ----------
    place : run directory
    method : of the run
    """
    stages = read_stages(place)
    _, noted = _noted_ensemble(place, stages, used_generation(place, stages, method))
    return float(noted.get("threshold", HALF))


def noted_merging(place: Path, stages: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Return how a stage merged its members; empty if it does not say, as in old runs."""
    info = stages.get(stage, {}).get("info") or {}
    return stage_info(place, stages, stage, NOTED) if "members" in info else {}


def _primers(place: Path, task: Task) -> Dataset:
    """Read the labeled texts that a run used for priming."""
    import datasets

    path, again = place / "g0" / PRIMERS, f"repeat the run with `pet run {place / 'config.yaml'}`"
    check_recorded(path)
    row = record({**dict.fromkeys(task.fields, text(10_000_000)), "label": whole(0, len(task.labels) - 1)})
    try:
        with path.open(encoding="utf-8") as lines:  # str.splitlines would also break at U+2028
            rows = [parse_json(line, f"{path}:{number}", again, row) for number, line in enumerate(lines, start=1)]
    except (OSError, UnicodeDecodeError) as error:
        raise PetError(f"{path}: cannot be read ({error}); {again}") from error
    return datasets.Dataset.from_list(rows)


def _recipe(place: Path, name: str, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe that the run stored, because a named recipe can change between versions."""
    resolved = read_config(place).get("recipe")
    if not isinstance(resolved, dict):
        return make_recipe(name, settings)
    try:
        return make_recipe("default", resolved)
    except PetError as error:
        raise PetError([f"{place / 'config.yaml'}: recipe: {problem}" for problem in error.problems]) from error


def used_generation(place: Path, stages: Mapping[str, Any], method: str) -> int:
    """Return the generation whose labels trained the run's student."""
    if method not in ("ipet", "pcp"):
        return 0
    info = stage_info(place, stages, "student", record({"generation": whole(0, 1000)}))
    if not info:
        raise PetError(f"{place}: this run is not finished; finish it with `pet run {place / 'config.yaml'}`")
    return int(info["generation"])


def _ensemble(
    place: Path, stages: Mapping[str, Any], generation: int, scorers: Sequence[Scorer], shared: Shared
) -> Ensemble:
    """Return how the run merged its members. Old runs without a pool did not store it; derive it for them."""
    labels = len(shared.task.labels)
    stage, noted = _noted_ensemble(place, stages, generation)
    if noted:
        ensemble = Ensemble.from_dict(noted, labels, f"{place / MANIFEST}: {stage}")
        if list(ensemble.names) != [scorer.name for scorer in scorers]:
            raise PetError(f"{place / MANIFEST}: {stage}: members are not those of the run; {REPEAT}")
        return ensemble
    # An old run without a pool did not note it, and counted its patterns from 0.
    untrained = stage_info(place, stages, "g0/untrained", untrained_note(len(shared.task.patterns))).get("accuracy")
    specs = [old_pattern_spec(UNTRAINED, scorer.name) for scorer in scorers]
    patterns = [None if spec is None else spec.pattern for spec in specs]
    if 0 not in patterns or any(number is not None and number >= len(shared.task.patterns) for number in patterns):
        raise PetError(f"{place / MANIFEST}: does not say how the members of the run are merged; {REPEAT}")
    known = [None if untrained is None or number is None else untrained[number] for number in patterns]
    return Ensemble.weighted(
        [scorer.name for scorer in scorers], known, labels=len(shared.task.labels), rule=shared.recipe.merging.merge
    )
