"""The member kind `embeddings`: logistic regression on vectors of an encoder that is not trained.

It captures the topic of a whole text and takes seconds. It is often better than patterns when these say little about
the labels, for example with many labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pet.embeddings.logistic import Logistic
from pet.embeddings.one_vs_rest import OneVsRest, fit_regression, load_regression
from pet.ensemble.scale import Scale
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec, model_spec
from pet.members.texts import Texts

KIND = "embeddings"
VECTORS = "vectors.npy"  # of the texts of a run
CHUNK_ROWS = 16384  # texts scored at a time


def parse(argument: str) -> MemberSpec:
    """Parse ``embeddings``, or ``embeddings:MODEL`` for another encoder than the run's model."""
    return model_spec(KIND, argument) if argument else MemberSpec(KIND, KIND)


def encoder_of(spec: MemberSpec) -> str:
    """Return the encoder of a member; empty for the run's model."""
    return str(spec.options.get("model", ""))


@dataclass
class EmbeddingsMember:
    """Logistic regression on embeddings.

    Attributes
    ----------
    spec : ``options["model"]`` is the encoder; default: the run's model
    shared : what all members share
    seed : random seed of the cross-validation
    folder : folder of the fitted member; None before `fit`
    """

    spec: MemberSpec
    shared: Shared
    seed: int = 0
    folder: Path | None = None
    _model: Logistic | OneVsRest | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def scale(self) -> Scale:
        return self.shared.label_scale

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Embed the labeled texts, fit the regression, and save it."""
        shared = self.shared
        vectors = np.concatenate([self._vectors(texts)[rows] for texts, rows in data.parts])
        model, strength = fit_regression(
            vectors,
            data.labels,
            shared.task,
            self.seed,
            balanced=shared.recipe.member.weights_labels,
        )
        model.save(folder)
        self._model, self.folder = model, folder
        return Report(len(data.labels), trained=model.weight.size + model.bias.size, notes={"C": strength})

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        self._regression()
        self.shared.models.encoder(self._encoder, self.shared.text_input)

    def _regression(self) -> Logistic | OneVsRest:
        if self._model is None:
            if self.folder is None:
                raise ValueError(f"member {self.name} must be fitted before it scores")
            self._model = load_regression(self.folder, self.shared.task)
        return self._model

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`. The encoder is opened only for texts without vectors."""
        model = self._regression()
        vectors = self._vectors(texts, on_rows)
        for start in range(0, len(texts), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            out[rows] = model.scores(vectors[rows])

    def _vectors(self, texts: Texts, on_rows: OnRows = ignore) -> Array:
        return self.shared.vectors(texts, self._encoder, on_rows)

    @property
    def _encoder(self) -> str:
        return encoder_of(self.spec)
