"""Train and compare prompts for a model, outside of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.kinds import language_model
from pet.backbones.load import check_model
from pet.backbones.masked import check_length
from pet.cloze.bind import bind_patterns
from pet.cloze.encode import token_keys
from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable, tokenize_fields
from pet.data.checks import column_labels
from pet.data.pick import pick_rows
from pet.data.read import read_table
from pet.data.sample import sample_shots
from pet.data.table_format import DETECT, TableFormat
from pet.errors import PetError
from pet.progress import Reporter
from pet.prompts.library import Prompt, as_name, check_name, describe, list_prompts, of_backbone, portable
from pet.prompts.mixture import MixtureTask, mixture_steps, train_prompt
from pet.prompts.neurons import check_neurons
from pet.prompts.ranking import MEASURES, Candidate, NewTask, measure, ranked, zero_shot
from pet.recipe import Recipe, learning_rate_for, make_recipe
from pet.seeds import derive_seed
from pet.task.task import Task, one_label_only
from pet.training.device import Accelerator, make_accelerator
from pet.tuning.members import Backbone

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

Array = NDArray[Any]


@dataclass
class Session:
    """An open model, and how to train prompts for it.

    Attributes
    ----------
    info : what is known about the model without its weights
    backbone : the loaded model
    recipe : recipe with ``tuning`` prompt and no auxiliary loss
    accelerator, seed, reporter : device and precision, random seed, progress reporter
    """

    info: ModelInfo
    backbone: Backbone
    recipe: Recipe
    accelerator: Accelerator
    seed: int
    reporter: Reporter

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self.info.tokenizer

    def plain_model(self) -> LanguageModel:
        """Return the model without a prompt."""
        self.backbone.restore()
        return language_model(self.backbone.model)

    @property
    def fills_end(self) -> bool:
        """Whether the model is causal, so that patterns must end in the mask."""
        return self.info.blank.at_end

    def patterns(self, task: Task, length: int) -> list[PVP]:
        """Return the patterns of a task, bound with `length` soft tokens before them."""
        encoding = self.recipe.encoding
        return bind_patterns(
            task,
            self.tokenizer,
            encoding.max_length,
            before=length,
            blank=self.info.blank,
            mean_of_tokens=encoding.mean_of_tokens,
            multi_token=encoding.multi_token,
        )

    def tokens(self, task: Task, table: Dataset) -> TokenTable:
        """Tokenize a table for the patterns of a task."""
        pvps = self.patterns(task, 0)
        plain = pvps[0].encoder.plain
        return tokenize_fields(table, token_keys(pvp.encoder for pvp in pvps), plain)

    def source(self, task: Task, table: Dataset) -> MixtureTask:
        """Return a labeled table as training data for a prompt."""
        pvps = self.patterns(task, self.recipe.tuning.config.length)
        return MixtureTask(task.name, pvps, self.tokens(task, table), column_labels(table))

    def new_task(self, task: Task, tokens: TokenTable, labels: Array) -> NewTask:
        """Return a task to rank prompts for."""
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
    """Open a model to train prompts for it.

    Parameters
    ----------
    model : folder, embedded model or hub name
    settings : recipe settings to change
    seed, device, precision, allow_pickle, reporter : as in a run

    Raises
    ------
    PetError
        If the model cannot be opened, or a setting is invalid.
    """
    given = {"tuning": "prompt", **(settings or {})}
    recipe = make_recipe("default", given).with_settings(unlabeled_batch=0)
    if recipe.tuning.method != "prompt":
        raise PetError(f"prompts require tuning=prompt, not tuning={recipe.tuning.method}; omit this setting")
    check_model(model, allow_pickle=allow_pickle)
    info = ModelInfo(model, allow_pickle=allow_pickle)
    check_length(info.meta, recipe.encoding.max_length, model)
    rate = recipe.member.learning_rate or learning_rate_for(info.parameters, recipe.tuning.rate_factor)
    accelerator = make_accelerator(device, precision)
    backbone = Backbone(info.open().model, portable(model), info.fingerprint)
    recipe = recipe.with_settings(learning_rate=rate)
    return Session(info, backbone, recipe, accelerator, seed, reporter or Reporter("quiet"))


def read_labeled(
    task: Task,
    source: str,
    *,
    columns: Mapping[str, str] | None = None,
    examples: int | None = None,
    seed: int = 0,
    table_format: TableFormat = DETECT,
) -> Dataset:
    """Read labeled texts of a task.

    Parameters
    ----------
    task, source, columns : as in a run
    examples : number of examples to draw, balanced as in `pet run`; default: all
    seed : random seed
    table_format : encoding, delimiter and quoting of the file; default: detected

    Raises
    ------
    PetError
        Every mistake in the file.
    """
    one_label_only(task, "a prompt library")
    table = read_table(
        source,
        task.fields,
        labels=list(task.labels),
        label_map=task.label_map,
        columns={**task.columns, **(columns or {})},
        name=source,
        table_format=table_format,
    )
    if examples is None:
        return table
    labels = column_labels(table)
    rows = sample_shots(
        labels, len(task.labels), examples=examples, seed=derive_seed(seed, "sample"), names=task.labels
    )
    return pick_rows(table, rows)


def train_on(session: Session, tasks: Sequence[tuple[Task, Dataset]], name: str, about: Mapping[str, Any]) -> Prompt:
    """Train one prompt on labeled texts of one or more tasks, which alternate (`pet.prompts.mixture.turns`).

    Parameters
    ----------
    session : the model, and how to train
    tasks : tasks with their labeled texts
    name : name of the prompt
    about : ``kind`` and ``origin`` for its notes

    Returns
    -------
    Prompt
        Its metrics are the training accuracy per task and the final loss.
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
) -> list[Candidate]:
    """Rank the library's prompts for the session's model and a task, best first by the recipe's `prompt_similarity`.

    Parameters
    ----------
    session, library, task : the model, the library, and the task
    train : labeled texts to train a prompt of the task on, for measuring similarity; None: no similarity
    test : labeled texts for zero-shot accuracy; default: `train`

    Returns
    -------
    list of Candidate
        With all measures that the model supports; T5-like and causal models do not support ``neurons``.

    Raises
    ------
    PetError
        If there are no prompts for the model, no labeled texts, or the model does not support the measure.
    """
    by = session.recipe.library.similarity
    if train is None and test is None:
        raise PetError("ranking prompts requires labeled texts of the task; give --train, --test or both")
    if train is None and MEASURES[by]:
        raise PetError(f"ranking by {by} trains a prompt for the task first; give labeled texts with --train")
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
        raise PetError(
            f"{library}: none of its {len(there)} prompts is for model {session.info.name}; give their model with -m, "
            "or map them with `pet prompts project`"
        )
    if len(prompts) < len(there):
        session.reporter.warn(f"{library}: skipping prompts of other models: {len(there) - len(prompts)}")
    tables = {name: table for name, table in (("train", train), ("test", test)) if table is not None}
    texts = {name: (session.tokens(task, table), column_labels(table)) for name, table in tables.items()}
    new = session.new_task(task, *texts["train" if train is not None else "test"])
    with session.reporter.task("rank prompts", len(prompts), "prompt") as bar:
        return ranked(measure(new, prompts, measures, texts.get("test"), bar.update), by)


def mixture_name(tasks: Sequence[Task]) -> str:
    """Return the default name of a prompt trained on several tasks."""
    return as_name("-".join(task.name for task in tasks))
