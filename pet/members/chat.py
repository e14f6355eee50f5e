"""The member kind `openai`: a language model on a server, asked through the chat API that OpenAI introduced.

It learns nothing. A few labeled texts are examples in its prompts, and its weight in the ensemble is learned like that
of every other member. It abstains on texts that it was not asked about.
"""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pet.data.checks import column_labels, text_key, text_keys
from pet.data.pick import pick_columns, pick_rows
from pet.ensemble.scale import Scale
from pet.errors import Notice, PetError
from pet.members.seam import Array, MemberData, OnRows, OnStep, Report, ignore
from pet.members.shared import Shared
from pet.members.spec import MemberSpec
from pet.members.texts import Texts
from pet.seeds import derive_seed
from pet.store.files import plain
from pet.store.json_reader import read_json
from pet.store.schema import list_of, record, text, whole
from pet.teachers.address import KIND, Address, member_name, parse_address
from pet.teachers.calibration import preference, preference_without
from pet.teachers.dialect import LOGPROBS, VOTES, Dialect
from pet.teachers.prompt import Example, Fields, Prompt, spare_examples
from pet.teachers.teacher import Session, Teacher, with_floor

__all__ = ["KIND", "ChatMember", "parse"]

FITTED = "teacher.json"
ARRAYS = "teacher.safetensors"
CHUNK_ROWS = 4096
MOST_JUDGED = 200  # labeled texts that measure how good it is
_AGAIN = "repeat the run"


@dataclass(frozen=True)
class Fitted:
    """What a teacher needs besides its server.

    Attributes
    ----------
    dialect : what the server understands
    origin : which model on which server answers
    budget : name under which its calls are counted
    examples : labeled texts for its prompts
    offset : its preference for each label, shape (L,)
    judged, own_offsets : keys of the labeled texts that it was asked about, and its preference without each of them
    skipped : keys of the run's texts that it is not asked about
    """

    dialect: Dialect
    origin: str
    budget: str
    examples: tuple[Example, ...]
    offset: Array
    judged: Array
    own_offsets: Array
    skipped: Array


def parse(argument: str) -> MemberSpec:
    """Parse ``openai:URL#MODEL``. The member is named after the model."""
    address = parse_address(argument)
    return MemberSpec(KIND, member_name(address.model), {"address": str(address)})


@dataclass
class ChatMember:
    """A language model on a server.

    Attributes
    ----------
    spec : ``options["address"]`` is its address
    shared : what all members share; `Shared.access` says whether it may be asked
    folder : folder of the fitted member; None before `fit`
    transport : replaces the network in tests
    """

    spec: MemberSpec
    shared: Shared
    folder: Path | None = None
    scale: Scale = Scale.LOG_PROBABILITIES
    transport: Any = None
    _fitted: Fitted | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def address(self) -> Address:
        """The server and its model."""
        return parse_address(str(self.spec.options["address"]))

    def fit(self, data: MemberData, folder: Path, on_step: OnStep = ignore) -> Report:
        """Ask about the labeled texts, which measure how good it is, and choose which other texts to ask about."""
        settings, task = self.shared.recipe.teacher, self.shared.task
        examples = self._examples(data)
        judged = examples[:MOST_JUDGED]
        gold = np.asarray([example.label for example in judged], dtype=np.int64)
        shown = spare_examples(examples, len(task.labels), settings.examples)
        teacher = self._teacher(shown, uuid.uuid4().hex, Dialect())
        if not teacher.may_ask:
            raise PetError(f"member {self.name}: give its address: --teacher {KIND}:{teacher.address}")
        with teacher.session() as session:
            dialect = session.probe()
            scores = session.scores([example.fields for example in judged], _counting(on_step))
            if len(judged) and np.isnan(scores).all():
                raise PetError(f"member {self.name}: {_unusable(teacher, session)}")
            skipped = self._skip(session, data, {example.fields for example in judged})
        offset, own = np.zeros(len(task.labels)), np.zeros_like(scores)
        if settings.calibrate and dialect.kind == LOGPROBS and len(judged):
            offset, own = preference(scores, gold), preference_without(scores, gold)
        keys = np.asarray([text_key(example.fields) for example in judged], np.uint64)
        self._fitted = Fitted(dialect, teacher.origin, teacher.budget, shown, offset, keys, own, skipped)
        _save(self._fitted, folder)
        self.folder = folder
        right = int((np.nan_to_num(scores - own).argmax(axis=1) == gold)[~np.isnan(scores).any(axis=1)].sum())
        notes = {"answers": dialect.kind, "judged": len(judged), "right": right, "skipped": len(skipped)}
        return Report(0, notes=notes)

    def load(self) -> None:
        """See `pet.members.seam.Scorer.load`."""
        if self._fitted is None and self.folder is not None:
            self._fitted = _open(self.folder, len(self.shared.task.fields), len(self.shared.task.labels))

    def scores(self, texts: Texts, out: Array, on_rows: OnRows = ignore) -> None:
        """See `pet.members.seam.Scorer.scores`."""
        self.load()
        fitted = self._fitted
        if fitted is None:
            raise ValueError(f"member {self.name} must be fitted before it scores")
        teacher = self._teacher(fitted.examples, fitted.budget, fitted.dialect, fitted.origin)
        keys = text_keys(texts.table, self.shared.task.fields)
        rows, place = np.flatnonzero(~np.isin(keys, fitted.skipped)), {int(k): n for n, k in enumerate(fitted.judged)}
        out[:] = np.nan
        on_rows(len(texts) - len(rows))
        with teacher.session() as session:
            for start in range(0, len(rows), CHUNK_ROWS):
                some = rows[start : start + CHUNK_ROWS]
                own = [place.get(int(key)) for key in keys[some]]
                offsets = [fitted.offset if number is None else fitted.own_offsets[number] for number in own]
                out[some] = with_floor(session.scores(self._fields(texts, some), on_rows) - np.stack(offsets))
        self._tell(teacher, len(rows))

    def _tell(self, teacher: Teacher, rows: int) -> None:
        """Warn of texts that the teacher abstains on although it should have been asked."""
        outcome = teacher.outcome
        if not outcome.abstained:
            return
        why = "its answers name no label"
        if outcome.spent:
            why = f"{outcome.spent} is reached"
        elif outcome.refused:
            why = f"the server refuses {outcome.refused} requests: {outcome.reason}"
        elif not teacher.may_ask:
            why = f"it is not asked; to send texts to it, add --teacher {KIND}:{teacher.address}"
        warnings.warn(
            Notice(f"member {self.name}: abstains on {outcome.abstained} of {rows} texts: {why}"), stacklevel=2
        )

    def _skip(self, session: Session, data: MemberData, judged: set[Fields]) -> Array:
        """Return the keys of the texts not to ask about: those beyond ``teacher_texts``, and beyond the budget.

        Texts are drawn at random, the same share of each table. The labeled texts in `judged` have been asked about.
        """
        settings, seed = self.shared.recipe.teacher, derive_seed(self.shared.seed, KIND, "texts")
        labeled = [texts for texts, _ in data.parts]
        left, skipped = session.texts_left(self._typical(data)), [np.zeros(0, np.uint64)]
        drawn: list[tuple[float, np.uint64, Texts, int]] = []
        wanted = kept = 0
        for texts in data.known:
            keys = text_keys(texts.table, self.shared.task.fields)
            if texts in labeled:
                other = [fields not in judged for fields in self._fields(texts, range(len(texts)))]
                skipped.append(keys[np.asarray(other, dtype=bool)])
                continue
            order = np.random.default_rng(seed).permutation(len(keys))
            most = min(len(keys), settings.texts) if texts is data.pool and settings.texts else len(keys)
            wanted += most
            most = int(min(most, left))
            skipped.append(keys[order[most:]])
            drawn += [(place / len(keys), keys[row], texts, int(row)) for place, row in enumerate(order[:most])]
        if left == np.inf:
            return np.concatenate(skipped)
        calls = left * session.teacher.calls
        for _, key, texts, row in sorted(drawn, key=lambda entry: entry[0]):
            missing = session.missing(self._fields(texts, [row])[0])
            if missing > calls:
                skipped.append(np.asarray([key], np.uint64))
            else:
                calls, kept = calls - missing, kept + 1
        if kept < wanted:
            limit = session.budget.limit
            text = (
                f"member {self.name}: {limit} is enough for about {kept} of {wanted} texts; it abstains on the others"
            )
            warnings.warn(Notice(text), stacklevel=2)
        return np.concatenate(skipped)

    def _typical(self, data: MemberData) -> list[Fields]:
        """Return a few texts of each table, to estimate tokens."""
        return [
            fields
            for texts in data.known
            for fields in self._fields(texts, np.linspace(0, len(texts) - 1, min(20, len(texts))).astype(int))
        ]

    def _examples(self, data: MemberData) -> list[Example]:
        """Return the labeled texts in random order."""
        found = []
        for texts, rows in data.parts:
            labels = column_labels(texts.table)[rows]
            values = self._fields(texts, rows)
            order = np.random.default_rng(derive_seed(self.shared.seed, KIND, "examples")).permutation(len(rows))
            found += [Example(values[row], int(labels[row])) for row in order]
        return found

    def _fields(self, texts: Texts, rows: Sequence[int] | Array) -> list[Fields]:
        table = pick_columns(pick_rows(texts.table, rows), self.shared.task.fields)
        return list(zip(*(map(str, table[name]) for name in self.shared.task.fields), strict=True))

    def _teacher(self, examples: Sequence[Example], budget: str, dialect: Dialect, origin: str = "") -> Teacher:
        prompt = Prompt(self.shared.task, self.shared.recipe.teacher, tuple(examples))
        access = self.shared.access
        return Teacher(self.name, self.address, prompt, access, budget, dialect, origin, transport=self.transport)


def _counting(on_step: OnStep) -> OnRows:
    """Return a function that reports each finished text as a step."""

    def finished(rows: int) -> None:
        for _ in range(rows):
            on_step(0, None)

    return finished


def _save(fitted: Fitted, folder: Path) -> None:
    """Write what `_open` reads."""
    dialect = fitted.dialect
    values = {
        "budget": fitted.budget,
        "origin": fitted.origin,
        "kind": dialect.kind,
        "top": dialect.top,
        "limit": dialect.limit,
        "examples": [{"fields": example.fields, "label": example.label} for example in fitted.examples],
    }
    (folder / FITTED).write_text(json.dumps(plain(values), ensure_ascii=False) + "\n", encoding="utf-8")
    names = ("offset", "judged", "own_offsets", "skipped")
    save_file({name: np.ascontiguousarray(getattr(fitted, name)) for name in names}, folder / ARRAYS)


def _open(folder: Path, fields: int, labels: int) -> Fitted:
    """Read what `fit` wrote. Raises PetError if it is damaged."""
    example = record({"fields": list_of(text(10_000_000), fields, fields), "label": whole(0, labels - 1)})
    schema = record(
        {
            "budget": text(100),
            "kind": text(choices=(LOGPROBS, VOTES)),
            "top": whole(0, 100),
            "limit": text(100),
            "examples": list_of(example, 0, 10_000),
        },
        {"origin": text(3000)},
    )
    values = read_json(folder / FITTED, _AGAIN, schema)
    try:
        arrays = load_file(folder / ARRAYS)
        offset, judged, own, skipped = (arrays[name] for name in ("offset", "judged", "own_offsets", "skipped"))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise PetError(f"{folder / ARRAYS}: cannot be read ({error}); {_AGAIN}") from error
    shapes = offset.shape == (labels,) and own.shape == (*judged.shape, labels) and judged.ndim == skipped.ndim == 1
    finite = shapes and np.isfinite(offset).all() and np.isfinite(own).all()
    if not finite or not judged.dtype == skipped.dtype == np.uint64:
        raise PetError(f"{folder / ARRAYS}: does not hold what a teacher of {labels} labels needs; {_AGAIN}")
    dialect = Dialect(values["kind"], values["top"], values["limit"])
    examples = tuple(Example(tuple(entry["fields"]), entry["label"]) for entry in values["examples"])
    return Fitted(dialect, values.get("origin", ""), values["budget"], examples, offset, judged, own, skipped)


def _unusable(teacher: Teacher, session: Session) -> str:
    """Return why no labeled text got an answer."""
    outcome = teacher.outcome
    if outcome.spent:
        return f"{outcome.spent} does not even suffice for the labeled texts; raise it"
    if outcome.refused:
        return f"{teacher.address.url} refuses every request ({outcome.reason}); check the model"
    return (
        f"no answer of {teacher.address.model} names a label ({session.budget.calls} calls); use a model that follows "
        "instructions and answers without thinking first, or --set teacher_answers=words"
    )
