"""Write labeled texts as other tools read them: Label Studio, Argilla, cleanlab, spaCy and fastText."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.review.records import argilla_record, label_studio_task

Array = NDArray[Any]
FASTTEXT = "__label__"  # begins a label in fastText's files
_LIKE_FASTTEXT = re.compile("__+label__+")
_END_OF_LINE = "</s>"  # ends a line for fastText as a line break does


@dataclass(frozen=True)
class LabeledText:
    """A text with its soft labels.

    Attributes
    ----------
    id : of the text
    values : field -> text
    probabilities : of each label, shape (L,)
    proposed : the labels that apply; one, unless a text may have several
    given : position of the label in the input, or 0 and 1 for each label; None if it has none
    """

    id: str
    values: Mapping[str, str]
    probabilities: Array
    proposed: Sequence[str]
    given: Any = None

    @property
    def confidence(self) -> float:
        """Probability of the most probable label."""
        return float(self.probabilities.max())

    @property
    def text(self) -> str:
        """All fields as one text."""
        return "\n".join(self.values.values())


@dataclass(frozen=True)
class Format:
    """How a tool reads labels.

    Attributes
    ----------
    ending : of the files
    write : writes texts to a file; the labels in order, the texts, and whether a text may have several labels
    needs_labels : whether the input must have labels of its own
    """

    ending: str
    write: Callable[[Path, Sequence[str], Iterable[LabeledText], bool], None]
    needs_labels: bool = False


def _json_list(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """Write a JSON list record by record."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for number, record in enumerate(records):
            stream.write(",\n" if number else "[\n")
            stream.write(json.dumps(record, ensure_ascii=False))
        stream.write("\n]\n")


def _label_studio(path: Path, labels: Sequence[str], texts: Iterable[LabeledText], several: bool) -> None:
    _json_list(path, (label_studio_task(t.id, t.values, t.proposed, t.confidence) for t in texts))


def _argilla(path: Path, labels: Sequence[str], texts: Iterable[LabeledText], several: bool) -> None:
    place = {label: number for number, label in enumerate(labels)}

    def record(text: LabeledText) -> dict[str, Any]:
        scores = [float(text.probabilities[place[label]]) for label in text.proposed]
        value, score = (list(text.proposed), scores) if several else (text.proposed[0], scores[0])
        return argilla_record(text.id, text.values, value, score, {"confidence": text.confidence})

    _json_list(path, map(record, texts))


def _cleanlab(path: Path, labels: Sequence[str], texts: Iterable[LabeledText], several: bool) -> None:
    listed = list(texts)
    arrays = {
        "ids": np.array([text.id for text in listed]),
        "labels": np.array([text.given for text in listed], dtype=np.int64),
        "pred_probs": np.stack([text.probabilities for text in listed]),
        "label_names": np.array(labels),
    }
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _spacy(path: Path, labels: Sequence[str], texts: Iterable[LabeledText], several: bool) -> None:
    if not is_installed("spacy"):
        raise PetError(f"--format spacy requires spaCy: {install_command('spacy')}")
    import spacy
    from spacy.tokens import DocBin

    language = spacy.blank("xx")
    language.max_length = 1 << 31
    packed = DocBin(attrs=[], store_user_data=True)
    for text in texts:
        document = language.make_doc(text.text)
        document.cats = {label: float(p) for label, p in zip(labels, text.probabilities, strict=True)}
        document.user_data["id"] = text.id
        packed.add(document)
    packed.to_disk(path)


def _fasttext(path: Path, labels: Sequence[str], texts: Iterable[LabeledText], several: bool) -> None:
    words = {label: re.sub(r"\s+", "_", label) for label in labels}
    if len(set(words.values())) < len(words):
        raise PetError("fastText reads labels as single words, and two labels are the same with _ for their spaces")
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for text in texts:
            stream.write(" ".join([*(FASTTEXT + words[label] for label in text.proposed), _plain(text.text)]) + "\n")


def _plain(text: str) -> str:
    """Return a text on one line, without words that fastText would take for a label or the end of the line."""
    words = _LIKE_FASTTEXT.sub("_label_", text.replace("\0", " ")).split()  # fastText splits at NUL, too
    return " ".join("/s" if word == _END_OF_LINE else word for word in words)


FORMATS: Mapping[str, Format] = {
    "label-studio": Format(".json", _label_studio),
    "argilla": Format(".json", _argilla),
    "cleanlab": Format(".npz", _cleanlab, needs_labels=True),
    "spacy": Format(".spacy", _spacy),
    "fasttext": Format(".txt", _fasttext),
}
