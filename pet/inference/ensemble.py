"""The ensemble that a finished run has left in its folder, ready to score new texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.backbones.base import LanguageModel
from pet.backbones.int8 import quantize_linears
from pet.backbones.kinds import binding_options, language_model, open_model
from pet.backbones.load import load_tokenizer, model_fingerprint, resolve_model
from pet.cloze.bind import bind_patterns, prime_patterns
from pet.cloze.encode import token_keys
from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable, tokenize_fields
from pet.data.checks import column_labels
from pet.ensemble.combine import member_weights
from pet.errors import PetError
from pet.members.scoring import score_rows
from pet.recipe import Recipe, make_recipe
from pet.run.load_run import read_settings
from pet.run.stages import PRIMERS
from pet.store.manifest import read_config, read_stages
from pet.task.task import Task
from pet.tuning.members import LEARNED, Backbone, Learned, attach, encoder_options, read_member

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]
KEEP_BYTES = 4 << 30  # weights of members that may stay in memory together


@dataclass
class SavedEnsemble:
    """Members of a finished run.

    Attributes
    ----------
    task, recipe : those of the run
    names : of the members, in the order of `weights` and of the votes
    models : for each member its folder, or the name of the pretrained model
    backbone : the pretrained model that the members are put onto in turn; None where each has its own
    pvps : for each member its pattern
    weights : shape (members,)
    bias : shape (L,), added to the merged scores (`pet.ensemble.combine.prior_correction`)
    tokenizer : of all members
    columns : which columns the run's data files had
    precision : that of the run
    allow_pickle : whether pickled weights may be opened
    quantized : whether the members compute in int8
    """

    task: Task
    recipe: Recipe
    names: list[str]
    models: list[str]
    pvps: list[PVP]
    weights: Array
    bias: Array
    tokenizer: PreTrainedTokenizerBase
    columns: Mapping[str, str]
    precision: str = "auto"
    allow_pickle: bool = False
    backbone: str | None = None
    quantized: bool = False
    _kept: dict[str, LanguageModel] = field(default_factory=dict)
    _shared: Backbone | None = None
    _learned: dict[str, Learned] = field(default_factory=dict)

    def tokenize(self, table: Dataset) -> TokenTable:
        """Each field of a table once, for all members."""
        plain = self.pvps[0].encoder.plain
        return tokenize_fields(table, token_keys(pvp.encoder for pvp in self.pvps), plain)

    def score(
        self, table: Dataset, accelerator: Accelerator, on_rows: Callable[[int], object] = lambda n: None
    ) -> list[Array]:
        """Raw scores of each member: float32 arrays of shape (rows, L).

        `on_rows` is told of every row of every member.
        """
        tokens, scores, models = self.tokenize(table), [], self._open_each()
        for pvp in self.pvps:
            lm = next(models)
            scores.append(
                score_rows(
                    lm, self.tokenizer, pvp, tokens, accelerator,
                    max_tokens=self.recipe.inference.tokens, on_rows=on_rows,
                )
            )  # fmt: skip
            del lm  # a large one is gone before the next is opened
        return scores

    def keep_all(self) -> bool:
        """Take all members into memory, if they fit; the run's folder is then not needed any more."""
        if not self._fits:
            return False
        for _ in self._open_each():
            pass
        return True

    @property
    def kept(self) -> bool:
        """Whether all members are in memory."""
        return all(name in self._kept or name in self._learned for name in self.models)

    @property
    def _fits(self) -> bool:
        return self.kept or sum(_weight_bytes(name) for name in set(self.models)) <= KEEP_BYTES

    def check_quantizable(self) -> None:
        """Refuse members that share one model: what each puts onto its layers needs the layers as they are.

        Raises
        ------
        PetError
        """
        if self.backbone is not None:
            raise PetError(
                f"--quantize: members of --tuning {self.recipe.tuning.method} share one model and change its layers in "
                "turn; leave out --quantize, or quantize the run's student (`pet predict`)"
            )

    def quantize(self) -> None:
        """Compute in int8 from now on; see `pet.backbones.int8`."""
        self.quantized = True
        for name, lm in self._kept.items():
            quantize_linears(lm.model, name)

    def to_cpu(self) -> None:
        """Bring the members that are in memory back to the processor; scoring moves them again."""
        for lm in self._kept.values():
            lm.to("cpu")
        if self._shared is not None:
            self._shared.model.to("cpu")

    def _open_each(self) -> Iterator[LanguageModel]:
        """One model after another; from the second pass on out of memory, where all of them fit."""
        if self.backbone is not None:
            yield from (self._attach(name, self.backbone) for name in self.models)
            return
        keep = self._fits
        last: tuple[str, LanguageModel] | None = None
        for name in self.models:
            lm = self._kept.get(name)
            if lm is None and last is not None and last[0] == name:  # patterns of one untrained model
                lm = last[1]
            if lm is None:
                last = None  # two models that are too large together are never in memory together
                lm = self._open(name)
            if keep:
                self._kept[name] = lm
            last = (name, lm)
            yield lm

    def _open(self, name: str) -> LanguageModel:
        """A member that has a model of its own, or the untrained one."""
        lm = language_model(open_model(name, allow_pickle=self.allow_pickle))
        if (Path(name) / LEARNED).is_file():
            lm = attach(Backbone(lm.model, name, ""), read_member(Path(name)), name)
        if self.quantized:
            quantize_linears(lm.model, name)
        return lm

    def _attach(self, name: str, backbone: str) -> LanguageModel:
        """A member on the model that all of them share; opened at the first one."""
        if self._shared is None:
            model = open_model(backbone, allow_pickle=self.allow_pickle)
            self._shared = Backbone(model, backbone, model_fingerprint(backbone))
        if name not in self._learned:
            self._learned[name] = read_member(Path(name))
        return attach(self._shared, self._learned[name], name)


def _weight_bytes(name: str) -> int:
    folder = Path(resolve_model(name))
    if not folder.is_dir():
        return 0  # a hub name: one pretrained model, which is needed anyway
    return sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".safetensors", ".bin"))


def open_ensemble(folder: str | Path, *, allow_pickle: bool | None = None) -> SavedEnsemble:
    """The members that a run's student learned from, those of the last generation as a rule.

    Of a zero-shot run it is the pretrained model.

    Parameters
    ----------
    folder : of a finished run
    allow_pickle : also open a pretrained model's pickled weights; None: as the run did

    Raises
    ------
    PetError
        When the folder holds no run, a supervised one, or one that has not come so far.
    """
    place = Path(folder).expanduser()
    settings = read_settings(place)
    if settings.method == "supervised":
        raise PetError(
            f"{place} is a supervised run: it has a classifier and no ensemble; use `pet predict {place / 'student'}`"
        )
    task = Task.from_dict(settings.task)
    recipe = _recipe(place, settings.recipe, settings.settings)
    stages = read_stages(place)
    allow_pickle = settings.allow_pickle if allow_pickle is None else allow_pickle
    if settings.method == "zero-shot":
        primers = _primers(place) if recipe.priming.count else None
        untrained = untrained_ensemble(
            task, recipe, settings.model, allow_pickle=allow_pickle, primers=primers, seed=settings.seed
        )
        bias = _bias(stages, "g0/labels", task)
        return replace(untrained, bias=bias, columns=settings.columns, precision=settings.precision)
    generation = _used_generation(place, stages, settings.method, len(task.patterns) * recipe.member.repetitions)
    names = _member_names(len(task.patterns), recipe.member.repetitions)
    patterns = [p for p in range(len(task.patterns)) for _ in range(recipe.member.repetitions)]
    models = [str(place / f"g{generation}" / name) for name in names]
    weights = _weights(stages, generation, names, patterns, recipe)
    backbone = None if recipe.tuning.trains_backbone else settings.model
    source = backbone or models[0]
    tokenizer = load_tokenizer(source)
    options = encoder_options(recipe.tuning) | binding_options(source, tokenizer, recipe.encoding.mean_of_tokens)
    pvps = bind_patterns(task, tokenizer, recipe.encoding.max_length, **options)
    return SavedEnsemble(
        task=task,
        recipe=recipe,
        names=names,
        models=models,
        backbone=backbone,
        pvps=[pvps[p] for p in patterns],
        weights=weights,
        bias=_bias(stages, f"g{generation}/labels", task),
        tokenizer=tokenizer,
        columns=settings.columns,
        precision=settings.precision,
        allow_pickle=allow_pickle,
    )


def untrained_ensemble(
    task: Task,
    recipe: Recipe,
    model: str,
    *,
    allow_pickle: bool = False,
    primers: Dataset | None = None,
    seed: int = 0,
) -> SavedEnsemble:
    """A pretrained model as it is, once for each pattern of the task, all with the same weight.

    Parameters
    ----------
    primers : labeled texts to put before others, where the recipe has priming
    seed : of their choice

    Raises
    ------
    PetError
        When the model cannot be opened, or a word of the task is not one token of it.
    """
    tokenizer = load_tokenizer(model)
    pvps = bind_patterns(
        task, tokenizer, recipe.encoding.max_length, **binding_options(model, tokenizer, recipe.encoding.mean_of_tokens)
    )
    if recipe.priming.count:
        if primers is None:
            raise PetError("priming puts labeled texts before others, and there are none here; set priming to 0")
        plain = pvps[0].encoder.plain
        tokens = tokenize_fields(primers, token_keys(pvp.encoder for pvp in pvps), plain)
        pvps = prime_patterns(pvps, tokens, column_labels(primers), recipe.priming, seed)
    names = [f"p{p}-r0" for p in range(len(pvps))]
    return SavedEnsemble(
        task=task,
        recipe=recipe,
        names=names,
        models=[model] * len(pvps),
        pvps=pvps,
        weights=member_weights(None, len(pvps), "uniform"),
        bias=np.zeros(len(task.labels)),
        tokenizer=tokenizer,
        columns={},
        allow_pickle=allow_pickle,
    )


def _primers(place: Path) -> Dataset:
    """The labeled texts that a run has put before others."""
    import datasets

    path = place / "g0" / PRIMERS
    try:
        with path.open(encoding="utf-8") as lines:  # str.splitlines would also break at U+2028
            rows = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        again = f"pet run {place / 'config.yaml'}"
        raise PetError(f"{path}: cannot be read ({error}); end the run with `{again}`") from error
    return datasets.Dataset.from_list(rows)


def _bias(stages: Mapping[str, Any], name: str, task: Task) -> Array:
    """The correction that the run's soft labels were made with; zeros where it labeled no pool."""
    noted = (stages.get(name, {}).get("info") or {}).get("bias")
    return np.zeros(len(task.labels)) if noted is None else np.asarray(noted, dtype=np.float64)


def _recipe(place: Path, name: str, settings: Mapping[str, Any]) -> Recipe:
    """The recipe as the run resolved it, whatever a name stands for in this version."""
    resolved = read_config(place).get("recipe")
    if not isinstance(resolved, dict):
        return make_recipe(name, settings)
    try:
        return make_recipe("default", resolved)
    except PetError as error:
        raise PetError([f"{place / 'config.yaml'}: recipe: {problem}" for problem in error.problems]) from error


def _member_names(patterns: int, repetitions: int) -> list[str]:
    return [f"p{p}-r{r}" for p in range(patterns) for r in range(repetitions)]


def _used_generation(place: Path, stages: Mapping[str, Any], method: str, members: int) -> int:
    """The generation that a run's student learned from; for PET 0, whose members must all be there."""
    if method == "ipet":
        info = stages.get("student", {}).get("info")
        if info is None:
            raise PetError(f"{place}: this run is not finished; end it with `pet run {place / 'config.yaml'}`")
        return int(info["generation"])
    made = [name.split("/") for name, stage in stages.items() if stage.get("state") == "done"]
    trained = [parts for parts in made if len(parts) == 2 and parts[1].startswith("p") and parts[0][1:].isdigit()]
    there = len(trained)
    if there < members:
        raise PetError(
            f"{place}: this run is not finished: {there} of {members} members are there; end it with "
            f"`pet run {place / 'config.yaml'}`"
        )
    return 0


def _weights(
    stages: Mapping[str, Any], generation: int, names: Sequence[str], patterns: Sequence[int], recipe: Recipe
) -> Array:
    """The weights that the run merged with; worked out again where it had no pool to label."""
    noted = stages.get(f"g{generation}/labels", {}).get("info") or {}
    if set(noted.get("members", ())) == set(names):
        by_name = dict(zip(noted["members"], noted["weights"], strict=True))
        return np.asarray([by_name[name] for name in names], dtype=np.float64)
    untrained = (stages.get("g0/untrained", {}).get("info") or {}).get("accuracy")
    per_member = None if untrained is None else [untrained[p] for p in patterns]
    return member_weights(per_member, len(names), recipe.merging.merge)
