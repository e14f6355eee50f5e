"""A model opened to train prompts on it and to compare them, outside of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.kinds import binding_options, blank_of, language_model
from pet.backbones.load import check_model
from pet.backbones.masked import check_length
from pet.cloze.bind import bind_patterns
from pet.cloze.encode import token_keys
from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable, tokenize_fields
from pet.data.checks import column_labels
from pet.data.read import read_table
from pet.data.sample import sample_shots
from pet.errors import PetError
from pet.progress import Reporter
from pet.prompts.library import Prompt, as_name, check_name, describe, list_prompts, of_backbone, portable
from pet.prompts.mixture import Source, mixture_steps, train_prompt
from pet.prompts.neurons import check_neurons
from pet.prompts.ranking import MEASURES, Candidate, NewTask, measure, ranked, zero_shot
from pet.recipe import Recipe, learning_rate_for, make_recipe
from pet.seeds import derive_seed
from pet.task.task import Task
from pet.training.device import make_accelerator
from pet.tuning.members import Backbone

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]


@dataclass
class Session:
    """A model and how to train on it.

    Attributes
    ----------
    model : what the user called it
    backbone, tokenizer : opened
    recipe : with ``tuning`` prompt and no auxiliary loss
    accelerator, seed, reporter : where, the source of chance, and who is told
    """

    model: str
    backbone: Backbone
    tokenizer: PreTrainedTokenizerBase
    recipe: Recipe
    accelerator: Accelerator
    seed: int
    reporter: Reporter

    def plain_model(self) -> LanguageModel:
        """The model without a prompt."""
        self.backbone.restore()
        return language_model(self.backbone.model)

    @property
    def fills_end(self) -> bool:
        """Whether the model is a causal one, for which patterns end in their mask."""
        return blank_of(self.model, self.tokenizer).at_end

    def patterns(self, task: Task, length: int) -> list[PVP]:
        """The patterns of a task behind so many learned vectors."""
        options = binding_options(self.model, self.tokenizer, self.recipe.encoding.mean_of_tokens)
        return bind_patterns(task, self.tokenizer, self.recipe.encoding.max_length, before=length, **options)

    def tokens(self, task: Task, table: Dataset) -> TokenTable:
        """The fields of a table as the patterns of a task read them."""
        pvps = self.patterns(task, 0)
        plain = pvps[0].encoder.plain
        return tokenize_fields(table, token_keys(pvp.encoder for pvp in pvps), plain)

    def source(self, task: Task, table: Dataset) -> Source:
        """A labeled table as something to learn from."""
        pvps = self.patterns(task, self.recipe.tuning.config.length)
        return Source(task.name, pvps, self.tokens(task, table), column_labels(table))

    def new_task(self, task: Task, tokens: TokenTable, labels: Array) -> NewTask:
        """A task that prompts are put beside."""
        return NewTask(
            name=task.name,
            bind=lambda n: self.patterns(task, n),
            tokens=tokens,
            labels=labels,
            backbone=self.backbone,
            tokenizer=self.tokenizer,
            recipe=self.recipe,
            accelerator=self.accelerator,
            seed=derive_seed(self.seed, "query"),
        )


def open_session(
    model: str,
    settings: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    allow_pickle: bool = False,
    reporter: Reporter | None = None,
) -> Session:
    """Open a model to train prompts on it.

    Parameters
    ----------
    model : folder, embedded model or hub name
    settings : of the recipe
    seed, device, precision, allow_pickle, reporter : as in a run

    Raises
    ------
    PetError
        When the model cannot be opened, or a setting is wrong.
    """
    given = {"tuning": "prompt", **(settings or {})}
    recipe = make_recipe("default", given).with_settings(unlabeled_batch=0)
    if recipe.tuning.method != "prompt":
        raise PetError(f"prompts are trained with tuning=prompt, not {recipe.tuning.method}; leave this setting out")
    check_model(model, allow_pickle=allow_pickle)
    info = ModelInfo(model, allow_pickle=allow_pickle)
    check_length(info.meta, recipe.encoding.max_length, model)
    rate = recipe.member.learning_rate or learning_rate_for(info.parameters, recipe.tuning.rate_factor)
    accelerator = make_accelerator(device, precision)
    backbone = Backbone(info.open().model, portable(model), info.fingerprint)
    return Session(
        model,
        backbone,
        info.tokenizer,
        recipe.with_settings(learning_rate=rate),
        accelerator,
        seed,
        reporter or Reporter("quiet"),
    )


def read_labeled(
    task: Task, source: str, *, columns: Mapping[str, str] | None = None, examples: int | None = None, seed: int = 0
) -> Dataset:
    """Labeled texts of a task; `examples` of them in total, drawn evenly as `pet run` draws them.

    Raises
    ------
    PetError
        For everything that is wrong with the file.
    """
    table = read_table(
        source, task.fields, labels=list(task.labels), label_map=task.label_map, columns=columns or {}, name=source
    )
    if examples is None:
        return table
    labels = column_labels(table)
    rows = sample_shots(
        labels, len(task.labels), examples=examples, seed=derive_seed(seed, "sample"), names=task.labels
    )
    return table.select(rows)


def train_on(session: Session, tasks: Sequence[tuple[Task, Dataset]], name: str, about: Mapping[str, Any]) -> Prompt:
    """Train one prompt on labeled texts of one task or several, which take turns (`pet.prompts.mixture.turns`).

    Parameters
    ----------
    session : where
    tasks : each with its texts
    name : of the prompt
    about : ``kind`` and ``origin`` of its notes

    Returns
    -------
    Prompt
        Its figures are those on the texts that it was trained on: accuracy by task, and the last loss.
    """
    check_name(name)
    sources = [session.source(task, table) for task, table in tasks]
    recipe, steps = session.recipe, mixture_steps(sources, session.recipe)
    with session.reporter.task(f"train {name}", steps) as bar:
        vectors, losses = train_prompt(
            session.backbone, session.tokenizer, sources, recipe, derive_seed(session.seed, "prompt"),
            session.accelerator, on_step=lambda _, loss: bar.update(loss=loss),
        )  # fmt: skip
    fits = {}
    for (task, _), source in zip(tasks, sources, strict=True):
        new = session.new_task(task, source.tokens, source.labels)
        fits[task.name] = zero_shot(new, vectors, source.tokens, source.labels)[0]
    notes = {
        "kind": about["kind"],
        "tasks": [describe(task) for task, _ in tasks],
        "steps": steps,
        "examples": sum(len(source.labels) for source in sources),
        "metrics": {"training_accuracy": fits, "final_loss": losses[-1] if losses else None},
        "origin": {**about["origin"], "seed": session.seed, "learning_rate": recipe.member.learning_rate},
    }
    return Prompt(name, vectors, session.backbone.name, session.backbone.fingerprint, notes)


def rank_library(
    session: Session,
    library: str | Path,
    task: Task,
    train: Dataset | None,
    test: Dataset | None,
    *,
    by: str | None = None,
) -> list[Candidate]:
    """All prompts of a library that belong to the session's model, the best for a task first.

    Parameters
    ----------
    train : labeled texts, which a prompt of the task is trained on to compare with; None: no such comparison
    test : labeled texts that the prompts are tried on; None: `train`
    by : one of `pet.prompts.ranking.MEASURES`; None: the recipe's `prompt_similarity`

    Returns
    -------
    list of Candidate
        With all that can be measured: T5-like and causal models have no neurons that could be.

    Raises
    ------
    PetError
        When there is no such prompt, or nothing to measure with, or not by.
    """
    by = by or session.recipe.library.similarity
    if train is None and test is None:
        raise PetError("prompts are ranked by labeled texts of the task: give some with --train, --test or both")
    if train is None and MEASURES[by]:
        raise PetError(f"ranking by {by} compares with a prompt trained on the task: give labeled texts with --train")
    measures = [name for name, wants_query in MEASURES.items() if train is not None or not wants_query]
    try:
        check_neurons(session.backbone.model, session.tokenizer)
    except PetError:
        if by == "neurons":
            raise
        measures = [name for name in measures if name != "neurons"]
    there = list_prompts(library)
    prompts = of_backbone(there, session.backbone.fingerprint)
    if not prompts:
        raise PetError(f"{library}: none of its {len(there)} prompts belongs to the model {session.model}")
    if len(prompts) < len(there):
        session.reporter.warn(f"{library}: prompts of other models are left out: {len(there) - len(prompts)}")
    tables = {name: table for name, table in (("train", train), ("test", test)) if table is not None}
    texts = {name: (session.tokens(task, table), column_labels(table)) for name, table in tables.items()}
    new = session.new_task(task, *texts["train" if train is not None else "test"])
    with session.reporter.task("rank prompts", len(prompts), "prompt") as bar:
        return ranked(measure(new, prompts, measures, texts.get("test"), bar.update), by)


def mixture_name(tasks: Sequence[Task]) -> str:
    """What a prompt of several tasks is called where it is given no name."""
    return as_name("-".join(task.name for task in tasks))
