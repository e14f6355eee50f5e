"""The member kind `tfidf`: logistic regression on the words and character n-grams of a text.

It needs no model and takes less than a second. Where labels show in the words themselves, as in texts made from
templates, it is hard to beat.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pet.data.pick import pick_rows
from pet.embeddings.logistic import Logistic
from pet.embeddings.one_vs_rest import OneVsRest, fit_regression, load_regression
from pet.embeddings.span import in_own_span
from pet.ensemble.scale import Scale
from pet.errors import PetError
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec, plain_spec
from pet.members.texts import Texts
from pet.store.json_reader import read_json
from pet.store.schema import list_of, record, text

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

KIND = "tfidf"
TERMS, WEIGHTS = "terms.json", "idf.safetensors"
CHUNK_ROWS = 4096  # texts scored at a time
MOST_CHARACTERS = 1 << 18  # of a text; counting takes 200 bytes for each
COUNTED_ROWS = 20_000  # unlabeled texts, enough to know how common a word is
# The two sets of features, each of unit length: words and pairs of words, and pieces of words.
# More than 1,000 characters without a space are no word, but a file or a picture that was pasted into the text.
VIEWS: dict[str, dict[str, Any]] = {
    "words": {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w{1,1000}\b"},
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}
MOST_TERMS = 50_000  # of each view


def parse(argument: str) -> MemberSpec:
    """Parse ``tfidf``, which takes no argument."""
    return plain_spec(KIND, argument)


@dataclass
class TfidfMember:
    """Logistic regression on TF-IDF features.

    Attributes
    ----------
    spec, shared, seed, folder : see `pet.members.embeddings.EmbeddingsMember`
    """

    spec: MemberSpec
    shared: Shared
    seed: int = 0
    folder: Path | None = None
    _fitted: tuple[Sequence[TfidfVectorizer], Logistic | OneVsRest] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def scale(self) -> Scale:
        return self.shared.label_scale

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Count the words of labeled and unlabeled texts, fit the regression, and save both."""
        labeled = [text for texts, rows in data.parts for text in self._read(pick_rows(texts.table, rows))]
        counted = list(labeled)
        if data.pool is not None:
            step = -(-len(data.pool) // COUNTED_ROWS)
            counted += self._read(pick_rows(data.pool.table, range(0, len(data.pool), step)))
        vectorizers = [_count(counted, view) for view in VIEWS]
        features, shared = _features(vectorizers, labeled), self.shared
        model, strength = fit_regression(
            features,
            data.labels,
            shared.task,
            self.seed,
            balanced=shared.recipe.member.weights_labels,
        )
        model.save(folder)
        _save(vectorizers, folder)
        self._fitted, self.folder = (vectorizers, model), folder
        return Report(len(data.labels), trained=model.weight.size + model.bias.size, notes={"C": strength})

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self._fitted is None and self.folder is not None:
            self._fitted = (
                _open(self.folder),
                load_regression(self.folder, self.shared.task),
            )

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        self.load()
        if self._fitted is None:
            raise ValueError(f"member {self.name} must be fitted before it scores")
        vectorizers, model = self._fitted
        for start in range(0, len(texts), CHUNK_ROWS):
            rows = range(start, min(start + CHUNK_ROWS, len(texts)))
            features = _features(vectorizers, self._read(pick_rows(texts.table, rows)))
            out[rows.start : rows.stop] = model.scores(features)
            on_rows(len(rows))

    def _read(self, table: Dataset) -> list[str]:
        return _read(self.shared, table)


def own_features(shared: Shared, texts: Texts) -> Any:
    """Return the TF-IDF features of some texts, counting only these: dense or sparse matrix of shape (rows, D)."""
    rows = _read(shared, texts.table)
    return in_own_span(_features([_count(rows, view) for view in VIEWS], rows))[0]


def _read(shared: Shared, table: Dataset) -> list[str]:
    return ["\n".join(shared.text_input.render(row))[:MOST_CHARACTERS] for row in table]


def _features(vectorizers: Sequence[TfidfVectorizer], texts: Sequence[str]) -> Any:
    """Return the features of all views side by side: a sparse matrix of shape (rows, D)."""
    from sklearn.pipeline import FeatureUnion

    return FeatureUnion(list(zip(VIEWS, vectorizers, strict=True))).transform(texts)


def _vectorizer(view: str, **options: Any) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **VIEWS[view], **options)


def _count(texts: Sequence[str], view: str) -> TfidfVectorizer:
    """Return a vectorizer with the terms of these texts; one without terms if they have none."""
    vectorizer = _vectorizer(view, max_features=MOST_TERMS)
    try:
        return vectorizer.fit(texts)
    except ValueError:  # no text has a term
        return _restored(view, ["\0"], np.ones(1))


def _restored(view: str, terms: Sequence[str], idf: Array) -> TfidfVectorizer:
    vectorizer = _vectorizer(view, vocabulary={term: number for number, term in enumerate(terms)})
    vectorizer.idf_ = np.asarray(idf, dtype=np.float64)
    return vectorizer


def _save(vectorizers: Sequence[TfidfVectorizer], folder: Path) -> None:
    """Write the terms of each view, and how common each is."""
    terms = {name: _terms(vectorizer) for name, vectorizer in zip(VIEWS, vectorizers, strict=True)}
    (folder / TERMS).write_text(json.dumps(terms, ensure_ascii=False) + "\n", encoding="utf-8")
    idf = {name: np.asarray(vectorizer.idf_, np.float32) for name, vectorizer in zip(VIEWS, vectorizers, strict=True)}
    save_file(idf, folder / WEIGHTS)


def _terms(vectorizer: TfidfVectorizer) -> list[str]:
    places = vectorizer.vocabulary_ if hasattr(vectorizer, "vocabulary_") else vectorizer.vocabulary
    return sorted(places, key=places.__getitem__)


def _open(folder: Path) -> list[TfidfVectorizer]:
    """Return the vectorizers that `_save` wrote. Raises PetError if a file is damaged."""
    cure = "train this member again"
    terms = read_json(folder / TERMS, cure, record({view: list_of(text(), high=MOST_TERMS) for view in VIEWS}))
    try:
        idf = load_file(folder / WEIGHTS)
        return [_restored(view, terms[view], idf[view]) for view in VIEWS]
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise PetError(f"{folder / WEIGHTS}: cannot be read ({error}); {cure}") from error
