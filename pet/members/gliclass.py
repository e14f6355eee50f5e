"""The member kind `gliclass`: a GLiClass model, which reads the labels and a text at once and scores every label.

It learns nothing from labeled texts. A label is shown as its description, or else its first word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pet.backbones.gliclass import check_gliclass, load_gliclass
from pet.backbones.masked import position_limit
from pet.cloze.beginning import beginnings
from pet.data.pick import pick_columns, pick_rows
from pet.ensemble.scale import Scale
from pet.errors import PetError
from pet.members.nli import hypotheses
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec, model_spec
from pet.members.texts import Texts
from pet.numerics import log_softmax
from pet.resources import expand
from pet.training.batching import token_budget_batches, write_back
from pet.training.device import batch_tokens
from pet.training.memory import kept_memory

KIND = "gliclass"
CHUNK_ROWS = 1024
LONGEST = 1024  # tokens; models are trained with that many
_LEAST = 32  # tokens that must be left for the text


def parse(argument: str) -> MemberSpec:
    """Parse ``gliclass:MODEL``."""
    spec = model_spec(KIND, argument)
    if expand(argument).is_dir():
        check_gliclass(argument)
    return spec


@dataclass
class GliclassMember:
    """A GLiClass model.

    Attributes
    ----------
    spec : ``options["model"]`` is a GLiClass model
    shared : what all members share
    folder : folder of the member; None before `fit`
    """

    spec: MemberSpec
    shared: Shared
    folder: Path | None = None
    _opened: Labeler | None = field(default=None, repr=False)

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
        return Report(0, notes={"shown": hypotheses(self.shared.task, "{}")})

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self._opened is None:
            name = str(self.spec.options["model"])
            model, tokenizer = load_gliclass(name, allow_pickle=self.shared.models.info.allow_pickle)
            self._opened = Labeler(name, model, tokenizer, hypotheses(self.shared.task, "{}"))

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        self.load()
        if self._opened is None:
            raise ValueError(f"member {self.name} has no model")
        task, accelerator = self.shared.task, self.shared.accelerator
        device = accelerator.device
        most = batch_tokens(self.shared.recipe.inference.tokens, device)
        for start in range(0, len(texts), CHUNK_ROWS):
            rows = np.arange(start, min(start + CHUNK_ROWS, len(texts)))
            table = pick_columns(pick_rows(texts.table, rows), task.fields)
            written = [" ".join(self.shared.text_input.render(row)) for row in table]
            logits = np.empty((len(rows), len(task.labels)), dtype=np.float32)
            with torch.inference_mode(), accelerator.autocast(), kept_memory(device.type):
                write_back(logits, self._opened.scored(written, device, most), on_rows)
            out[rows] = logits if task.multi_label else log_softmax(logits.astype(np.float64))


class Labeler:
    """Composes the input of a GLiClass model as its package does, and scores it.

    Parameters
    ----------
    name : of the model, for messages
    model, tokenizer : see `pet.backbones.gliclass.load_gliclass`
    labels : how each label is shown

    Raises
    ------
    PetError
        If the labels leave no room for a text.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, labels: list[str]):
        self._model, self._tokenizer = model, tokenizer
        self._marks = re.compile("|".join(re.escape(mark) for mark in tokenizer.get_added_vocab() if len(mark) > 1))
        self._labels = [self._plain(label) for label in labels]
        limit = position_limit(model.model.encoder_model)
        self._longest = int(min(LONGEST, tokenizer.model_max_length, limit))
        around = self._pipeline("cpu").prepare_inputs([""], self._labels, same_labels=True)
        self._around = int(around["input_ids"].shape[1])
        if self._around + _LEAST > self._longest:
            raise PetError(
                f"member gliclass:{name}: {len(labels)} labels take {self._around} tokens of the {self._longest} that "
                "the model reads; give them shorter descriptions, or use fewer labels"
            )

    def _pipeline(self, device: Any) -> Any:
        from gliclass.pipeline import UniEncoderZeroShotClassificationPipeline

        return UniEncoderZeroShotClassificationPipeline(
            self._model, self._tokenizer, max_length=self._longest, device=device, progress_bar=False
        )

    def scored(self, texts: list[str], device: torch.device, most: int) -> Iterator[tuple[Array, torch.Tensor]]:
        """Yield the rows of each batch, and their logits: float32 tensor of shape (rows, L).

        Parameters
        ----------
        texts : the texts; their ends are cut off if they are too long
        device : where to compute
        most : maximum number of tokens per batch
        """
        pipeline = self._pipeline(device)
        cut, lengths = self._cut([self._plain(text) for text in texts])
        for rows in token_budget_batches(lengths + self._around, most):
            inputs = pipeline.prepare_inputs([cut[row] for row in rows], self._labels, same_labels=True)
            logits = self._model(**inputs, max_num_classes=len(self._labels)).logits
            yield rows, logits[:, : len(self._labels)].float()

    def _plain(self, text: str) -> str:
        """Return a text in which nothing is a special token, such as ``<<LABEL>>``."""
        return self._marks.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)

    def _cut(self, texts: list[str]) -> tuple[list[str], Array]:
        """Return the beginnings of texts that fit, because labels may come after the text, and their tokens."""
        room = self._longest - self._around
        plain = {"add_special_tokens": False, "verbose": False}
        short = beginnings(texts, room, lambda long: self._tokenizer(long, **plain)["input_ids"])
        encoded = self._tokenizer(list(short), return_offsets_mapping=True, **plain)
        kept = [
            text if len(ids) <= room else text[: offsets[room - 1][1]]
            for text, ids, offsets in zip(short, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]
        return kept, np.asarray([min(len(ids), room) for ids in encoded["input_ids"]], dtype=np.int64)
