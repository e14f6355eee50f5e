"""The member kind `nli`: a model of natural-language inference says which label's hypothesis a text entails.

Each label is a hypothesis, such as "This text is about sports." (Yin et al. 2019, arXiv 1909.00161). The model reads
every text once for each label. It learns nothing from labeled texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from datasets import Dataset

from pet.data.pick import pick_columns, pick_rows
from pet.ensemble.scale import Scale
from pet.errors import PetError
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec, model_spec
from pet.members.texts import Texts
from pet.numerics import log_softmax
from pet.resources import expand
from pet.student.classifier import Classifier, TextInput, load_classifier
from pet.student.outputs import read_outputs
from pet.task.grammar import parse_template
from pet.task.task import Task
from pet.teachers.prompt import label_words

KIND = "nli"
CHUNK_ROWS = 1024
_FIELDS = ("premise", "hypothesis")


def parse(argument: str) -> MemberSpec:
    """Parse ``nli:MODEL``."""
    spec = model_spec(KIND, argument)
    if expand(argument).is_dir():
        check_nli(argument)
    return spec


def check_nli(name: str) -> None:
    """Check that the outputs of a model are those of natural-language inference. Raises PetError if not."""
    outputs = read_outputs(name)
    if outputs is not None:
        entailment_columns(outputs.labels, name)


@dataclass
class NliMember:
    """A model of natural-language inference.

    Attributes
    ----------
    spec : ``options["model"]`` is a sequence classifier with a label "entailment"
    shared : what all members share
    folder : folder of the member; None before `fit`
    """

    spec: MemberSpec
    shared: Shared
    folder: Path | None = None
    _model: Classifier | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def scale(self) -> Scale:
        return self.shared.label_scale

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Open the model; nothing is trained."""
        self.folder = folder
        self.load()
        return Report(0, notes={"hypotheses": hypotheses(self.shared.task, self.shared.recipe.teacher.hypothesis)})

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self._model is None:
            name = str(self.spec.options["model"])
            opened = load_classifier(name, allow_pickle=self.shared.models.info.allow_pickle)
            entailment_columns(opened.labels, name)
            pair = parse_template("{premise} || {hypothesis!keep}", _FIELDS, mask=False)
            length = min(opened.max_length, 512)
            self._model = replace(opened, text_input=TextInput(_FIELDS, pair), max_length=length)

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        self.load()
        if self._model is None:
            raise ValueError(f"member {self.name} has no model")
        task, model = self.shared.task, self._model
        wanted = hypotheses(task, self.shared.recipe.teacher.hypothesis)
        yes, others = entailment_columns(model.labels, str(self.spec.options["model"]))
        for start in range(0, len(texts), CHUNK_ROWS):
            rows = np.arange(start, min(start + CHUNK_ROWS, len(texts)))
            table = pick_columns(pick_rows(texts.table, rows), task.fields)
            premises = [" ".join(self.shared.text_input.render(row)) for row in table]
            pairs = Dataset.from_dict(
                {
                    "premise": [premise for premise in premises for _ in wanted],
                    "hypothesis": [hypothesis for _ in premises for hypothesis in wanted],
                }
            )
            tokens = self.shared.recipe.inference.tokens
            logits = model.scores(pairs, self.shared.accelerator, max_tokens=tokens).astype(np.float64)
            odds = (logits[:, yes] - logits[:, others].max(axis=1)).reshape(len(rows), len(wanted))
            out[rows] = odds if task.multi_label else log_softmax(odds)
            on_rows(len(rows))


def hypotheses(task: Task, template: str) -> list[str]:
    """Return the hypothesis of each label: a template with its description, or else its first word, in place of {}.

    Examples
    --------
    >>> hypotheses(Task.load("agnews"), "This text is about {}.")[1]
    'This text is about sports.'
    """
    found = []
    for label in task.labels:
        text = task.descriptions.get(label) or next(iter(label_words(task, label)), label)
        found.append(template.replace("{}", text.rstrip(". ")))
    return found


def entailment_columns(labels: tuple[str, ...], model: str) -> tuple[int, list[int]]:
    """Return the output for entailment, and those that it is compared with: contradiction, or all others.

    Raises
    ------
    PetError
        If the model has no output for entailment.

    Examples
    --------
    >>> entailment_columns(("contradiction", "neutral", "entailment"), "m")
    (2, [0])
    """
    folded = [label.casefold() for label in labels]
    yes = [place for place, label in enumerate(folded) if label.startswith("entail")]
    if len(yes) != 1 or len(labels) < 2:
        raise PetError(
            f"member nli:{model}: not a model of natural-language inference: none of its outputs is called entailment "
            f"({', '.join(labels[:5])}); correct id2label in its config.json, or use another model"
        )
    no = [place for place, label in enumerate(folded) if label.startswith("contradict")]
    return yes[0], no or [place for place in range(len(labels)) if place != yes[0]]
