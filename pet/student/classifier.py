"""Sequence classifiers: their input text, files, and predictions.

The folder of a classifier is a plain ``transformers`` folder: ``pipeline("text-classification", folder)`` gives the
same predictions. An additional ``pet.json`` says which fields make up the text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from numpy.typing import NDArray

from pet.backbones.load import load_config, load_model, load_tokenizer
from pet.backbones.masked import check_length, position_limit
from pet.backbones.onednn import is_faster, use_onednn
from pet.backbones.sequence import SequenceLogits
from pet.backbones.trained import load_new_classifier
from pet.cloze.beginning import beginnings
from pet.cloze.ragged import Encoded, Ragged
from pet.compat import save_model
from pet.data.chunk import Chunk
from pet.data.pick import pick_columns
from pet.errors import PetError
from pet.numerics import sigmoid, softmax
from pet.process import Lock, seeded
from pet.resources import expand
from pet.store.json_reader import read_json
from pet.store.schema import list_of, number, record, text
from pet.student.outputs import Outputs, read_outputs
from pet.task.filters import apply_filters
from pet.task.grammar import NAME, Field, Template, Text, parse_template
from pet.training.batching import pad_rows, padding_id, to_tensors, token_budget_batches, write_back
from pet.training.device import Accelerator, batch_tokens
from pet.training.memory import kept_memory

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[Any]
_NOTE = "pet.json"
_ANY_LENGTH = 1 << 20
_SUMMARIZING = ("flaubert", "xlm", "xlnet")  # families that read `summary_type`
_FIELD = text(1000, pattern=NAME.pattern, wanted="the name of a field")
_NOTE_SCHEMA = record({"fields": list_of(_FIELD, 1), "input": text()}, {"threshold": number(0, 1)})


@dataclass(frozen=True)
class TextInput:
    """How to make the text, or pair of texts, for a classifier from the fields of a row."""

    fields: tuple[str, ...]
    template: Template

    def render(self, values: Mapping[str, str]) -> list[str]:
        """Return one string for each segment of the template.

        Examples
        --------
        >>> template = parse_template("{title}: {body} || {topic}", ["title", "body", "topic"], mask=False)
        >>> text_input = TextInput(("title", "body", "topic"), template)
        >>> text_input.render({"title": "News", "body": "It rains.", "topic": "weather"})
        ['News: It rains.', 'weather']
        """
        return [_render(parts, values) for parts in self.template.segments]


def _render(parts: Sequence[Any], values: Mapping[str, str]) -> str:
    text = ""
    for part in parts:
        piece = part.text if isinstance(part, Text) else ""
        if isinstance(part, Field):
            piece = apply_filters(values[part.name], part.filters).strip()
        text += (" " if part.space_before and text and piece else "") + piece
    return text


def encode_texts(
    table: Dataset, text_input: TextInput, tokenizer: PreTrainedTokenizerBase, max_length: int, batch_size: int = 2048
) -> Encoded:
    """Tokenize a table for a classifier, as a pipeline of ``transformers`` does.

    Special tokens in the text, such as ``[SEP]``, are treated as ordinary text.
    """
    names = list(text_input.fields)
    columns = pick_columns(table, names)
    ids: list[Ragged] = []
    types: list[Array] = []
    options: dict[str, Any] = {
        "truncation": True,
        "max_length": max_length,
        "split_special_tokens": True,
        "return_attention_mask": False,
        "verbose": False,
    }
    for start in range(0, len(table), batch_size):
        batch = columns[start : start + batch_size]
        rows = [dict(zip(names, values, strict=True)) for values in zip(*(batch[n] for n in names), strict=True)]
        rendered = list(zip(*(text_input.render(row) for row in rows), strict=True))
        segments = [_beginnings(list(texts), tokenizer, max_length) for texts in rendered]
        encoded = tokenizer(*segments, **options)
        for i in range(len(rows)):
            if len(segments) > 1 and not segments[-1][i]:  # a pipeline then gives fast tokenizers a single text
                for key, row in tokenizer(*(texts[i] for texts in segments), **options).items():
                    encoded[key][i] = row
        # The tokenizers of decoders add no special tokens, so an empty text has no tokens.
        ids.append(Ragged.from_rows([row or [tokenizer.pad_token_id] for row in encoded["input_ids"]]))
        kinds = encoded.get("token_type_ids")
        types += (
            [np.asarray(t or [0], dtype=np.int8) for t in kinds] if kinds else [np.zeros(len(ids[-1].values), np.int8)]
        )
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, int), *(r.lengths for r in ids)]))])
    values = np.concatenate([np.zeros(0, np.int32), *(r.values for r in ids)])
    flat_types = np.concatenate([np.zeros(0, np.int8), *types])
    nothing = np.zeros(len(values), dtype=bool)
    rows_of = Ragged(values, offsets.astype(np.int64))
    return Encoded(rows_of, flat_types, nothing, np.zeros(len(rows_of), np.int64), np.zeros(len(rows_of), bool))


def _beginnings(texts: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[str]:
    """Return the part of each text that the first `max_length` tokens come from."""
    if tokenizer.truncation_side != "right":
        return texts
    plain = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    return list(beginnings(texts, max_length, lambda long: tokenizer(long, **plain)["input_ids"]))


@dataclass
class Classifier:
    """A sequence classifier with its tokenizer and input text.

    If it is `independent`, each label has its own probability (sigmoid), and applies from the `threshold`. Otherwise
    each text has one label (softmax).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    text_input: TextInput
    labels: tuple[str, ...]
    max_length: int
    independent: bool = False
    threshold: float = 0.5
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"_lock": Lock()} | state)  # earlier versions pickled no lock

    @cached_property
    def logits(self) -> SequenceLogits:
        """Computes the logits of a batch."""
        return SequenceLogits(self.model)

    @property
    def pads_left(self) -> bool:
        """Whether texts must be padded on the left, because the model reads the last column (XLNet)."""
        config = self.model.config
        return config.model_type in _SUMMARIZING and getattr(config, "summary_type", None) == "last"

    @property
    def pad_id(self) -> int:
        """The token that fills shorter rows."""
        return padding_id(self.tokenizer)

    def scores(
        self,
        table: Dataset,
        accelerator: Accelerator,
        *,
        max_tokens: int = 8192,
        on_rows: Callable[[int], object] = lambda n: None,
    ) -> Array:
        """Return the logits of every row.

        Parameters
        ----------
        table : the texts
        accelerator : device and precision
        max_tokens : maximum number of tokens per batch, including padding
        on_rows : called with the number of rows finished since the last call

        Returns
        -------
        float32 array of shape (rows, L), in the order of `labels`
        """
        out = np.empty((len(table), len(self.labels)), dtype=np.float32)
        self.write_outputs(table, out, accelerator, max_tokens=max_tokens, on_rows=on_rows)
        return out

    def write_outputs(
        self,
        table: Dataset,
        out: Array,
        accelerator: Accelerator,
        *,
        max_tokens: int = 8192,
        on_rows: Callable[[int], object] = lambda n: None,
    ) -> None:
        """Write what the model computes for every row into a float32 array with one row per text; see `scores`."""
        with self._lock:  # threads can share a model, but not a tokenizer
            encoded = encode_texts(table, self.text_input, self.tokenizer, self.max_length)
            self.model.to(accelerator.device).eval()  # type: ignore[arg-type]
        device = accelerator.device

        def scored() -> Iterator[tuple[Array, torch.Tensor]]:
            for rows in token_budget_batches(encoded.ids.lengths, batch_tokens(max_tokens, device)):
                batch, _ = pad_rows(encoded, rows, self.pad_id, left=self.pads_left)
                batch["lengths"] = encoded.ids.lengths[rows]
                yield rows, self.logits(to_tensors(batch, device))

        with torch.inference_mode(), accelerator.autocast(), kept_memory(device.type):
            write_back(out, scored(), on_rows)

    def only_score(self, accelerator: Accelerator) -> None:
        """Prepare for scoring alone: from now on, the classifier may be unable to be trained or saved.

        On processors where this is faster, oneDNN multiplies in float32.

        Parameters
        ----------
        accelerator : device and precision of the scores
        """
        if accelerator.device.type == "cpu" and accelerator.precision == "fp32" and self.logits.packs and is_faster():
            use_onednn(self.model)

    def probabilities(self, table: Dataset, accelerator: Accelerator, **options: Any) -> Array:
        """Return the probabilities of every row: float64 array of shape (rows, L); options as for `scores`."""
        scores = self.scores(table, accelerator, **options)
        return sigmoid(scores) if self.independent else softmax(scores)

    def decisions(self, scores: Array) -> Array:
        """Return the label of each row of logits, shape (rows,); of independent labels which apply, shape (rows, L)."""
        return sigmoid(scores) >= self.threshold if self.independent else scores.argmax(axis=1)

    def save(self, folder: Path) -> None:
        """Write a ``save_pretrained`` folder: safetensors, config with id2label, tokenizer, ``pet.json``."""
        save_model(self.model, folder)
        self._save_input(folder)

    def save_description(self, folder: Path) -> None:
        """Write what `save` writes, without the weights."""
        self.model.config.save_pretrained(folder)
        self._save_input(folder)

    def _save_input(self, folder: Path) -> None:
        # A pipeline then reads "[SEP]" in a text as five characters, as this package does, and truncates at the
        # length that the model was trained with.
        self.tokenizer.split_special_tokens = True
        self.tokenizer.init_kwargs["split_special_tokens"] = True
        self.tokenizer.model_max_length = self.max_length
        self.tokenizer.save_pretrained(folder)
        note: dict[str, Any] = {"fields": list(self.text_input.fields), "input": self.text_input.template.source}
        if self.independent:
            note["threshold"] = self.threshold
        (folder / _NOTE).write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def new_classifier(
    name: str,
    text_input: TextInput,
    labels: Sequence[str],
    max_length: int,
    *,
    seed: int = 0,
    allow_pickle: bool = False,
    independent: bool = False,
) -> Classifier:
    """Return a pretrained encoder with a new classification head.

    Parameters
    ----------
    name : folder, embedded model, or hub name
    text_input : how to make its input text
    labels : names of the labels
    max_length : longest input in tokens
    seed : random seed of the head
    allow_pickle : whether pickled weights may be opened
    independent : whether a text may have any number of labels

    Raises
    ------
    PetError
        If the model cannot be opened or cannot read inputs of this length, or the input has no room for a field.
    """
    config = load_config(
        name,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    with seeded(seed):
        model = load_new_classifier(name, config, allow_pickle=allow_pickle)
    check_length(model, max_length, name)
    model.config.problem_type = "multi_label_classification" if independent else "single_label_classification"
    tokenizer = load_tokenizer(name)
    set_padding(name, model, tokenizer)
    check_input(text_input, tokenizer, max_length)
    return Classifier(model, tokenizer, text_input, tuple(labels), max_length, independent)


def set_padding(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Set the padding token; decoders often have none, so the end-of-text token is used."""
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise PetError(
                f"model {name}: its tokenizer has neither a padding token nor an end-of-text token; use another model"
            )
        tokenizer.pad_token = tokenizer.eos_token
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = tokenizer.pad_token_id


def is_saved_classifier(folder: Path) -> bool:
    """Return True if `Classifier.save` has written the folder."""
    return (folder / _NOTE).is_file() and (folder / "config.json").is_file()


def load_classifier(name: str, *, allow_pickle: bool = False, independent: bool = False) -> Classifier:
    """Open a saved classifier.

    Parameters
    ----------
    name : a folder that `Classifier.save` wrote, the folder of a run, or any ``transformers`` sequence classifier,
        which then reads the field ``text``
    allow_pickle : whether pickled weights may be opened
    independent : accept a classifier whose labels do not exclude each other

    Raises
    ------
    PetError
        If it cannot be opened, has no trained classification head, or its config.json contradicts itself.
    """
    folder = expand(name)
    if (folder / "student" / "config.json").is_file():
        folder = folder / "student"  # the folder of a whole run
        name = str(folder)
    outputs = read_outputs(name)
    model, info = load_model(name, transformers.AutoModelForSequenceClassification, allow_pickle=allow_pickle)
    if info["missing_keys"] or outputs is None:
        raise PetError(
            f"model {name}: it has no trained classification head; use a classifier, such as the `student` folder "
            "of a run"
        )
    check_outputs(outputs, name, independent)
    tokenizer = load_tokenizer(name)
    set_padding(name, model, tokenizer)
    max_length = int(min(tokenizer.model_max_length, position_limit(model)))
    text_input, threshold = saved_input(folder)
    check_room(name, tokenizer, text_input, max_length)
    return Classifier(model, tokenizer, text_input, outputs.labels, max_length, outputs.independent, threshold)


def check_input(text_input: TextInput, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    """Check that a classifier would read each field of its input: fixed words before a field may take all the room.

    Raises
    ------
    PetError
        With the template, and the fields that would never be read.
    """
    names = list(dict.fromkeys(part.name for part in text_input.template.fields))
    first = dict.fromkeys(text_input.fields, "a")
    rows = Chunk(pa.Table.from_pylist([first, *({**first, name: "word"} for name in names)]))
    whole, cut = (encode_texts(rows, text_input, tokenizer, longest).ids for longest in (_ANY_LENGTH, max_length))
    unread = [
        name
        for row, name in enumerate(names, 1)
        if not np.array_equal(whole[row], whole[0]) and np.array_equal(cut[row], cut[0])
    ]
    if unread:
        raise PetError(
            f"input {text_input.template.source!r}: its own words leave no room for {', '.join(unread)} in "
            f"{max_length} tokens, so the classifier would never read it; shorten the input or raise --max-length"
        )


def check_room(name: str, tokenizer: PreTrainedTokenizerBase, text_input: TextInput, longest: int) -> None:
    """Refuse a classifier whose longest input has no room for text: it would be cut to nothing, or not at all."""
    special = tokenizer.num_special_tokens_to_add(pair=len(text_input.template.segments) > 1)
    if longest <= special:
        raise PetError(
            f"model {name}: its inputs may have {longest} tokens (model_max_length in tokenizer_config.json), of which "
            f"{special} are special, so no text fits; copy the file from the original folder"
        )


def check_outputs(outputs: Outputs, name: str, independent: bool) -> None:
    """Refuse a multi-label classifier unless `independent` labels are accepted."""
    if outputs.independent and not independent:
        raise PetError(
            f"model {name}: is a multi-label classifier (config.json asks for a sigmoid on each output), but one "
            "label per text is required here; only `pet predict` accepts a multi-label classifier"
        )


def read_threshold(folder: Path) -> float:
    """Return the probability from which a saved classifier gives a label, if a text may have several."""
    return saved_input(folder)[1]


def saved_input(folder: Path) -> tuple[TextInput, float]:
    """Return how a saved classifier makes its input text, and its threshold.

    Without a note it reads the field ``text``.
    """
    note = folder / _NOTE
    if not note.is_file():
        return TextInput(("text",), parse_template("{text}", ["text"], mask=False)), 0.5
    cure = "copy it from the original folder"
    values = read_json(note, cure, _NOTE_SCHEMA)
    try:
        template = parse_template(values["input"], values["fields"], mask=False)
    except PetError as error:
        raise PetError([f"{note}: input: {problem}; {cure}" for problem in error.problems]) from None
    return TextInput(tuple(values["fields"]), template), float(values.get("threshold", 0.5))
