"""The kinds of members; create, fit, save, and open members of any kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pet.backbones.gliclass import check_gliclass
from pet.backbones.load import check_model, model_fingerprint
from pet.backbones.place import resolve_model
from pet.errors import PetError
from pet.members import chat, embeddings, external, gliclass, head, nli, pattern, rules, tfidf, untrained
from pet.members.seam import MemberData, OnStep, Report, Scorer
from pet.members.shared import Shared
from pet.members.spec import SPEC, MemberSpec, old_pattern_spec
from pet.settings import shorten
from pet.store.files import plain
from pet.store.json_reader import read_json
from pet.store.schema import check, inside
from pet.suggest import suggest
from pet.terminal import clean

NOTE = "member.json"  # describes the member in its folder
_AGAIN = "train this member again"


@dataclass(frozen=True)
class MemberKind:
    """A kind of member.

    Attributes
    ----------
    make : (spec, what members share, seed, folder to continue training from) -> an unfitted member
    open : (spec, what members share, folder) -> a fitted member
    trains : True if it is trained on labeled texts
    evidence : how labeled texts can measure how good it is, though it learns from them: ``given`` (it does not),
        ``fold`` (each member leaves out a fold), ``refit`` (it is fast enough to be fitted again without each fold), or
        empty (not at all)
    reads_texts : True if it reads ids or fields, False if it reads only token ids
    asks : True if it asks a server. It is then made before the other members and in the leading process
    updates : (what members share, number of labeled texts) -> number of updates in its training
    """

    make: Callable[[MemberSpec, Shared, int, Path | None], Scorer]
    open: Callable[[MemberSpec, Shared, Path], Scorer]
    trains: bool = True
    evidence: Literal["", "given", "fold", "refit"] = ""
    reads_texts: bool = True
    asks: bool = False
    updates: Callable[[Shared, int], int] = lambda shared, rows: 0


KINDS: dict[str, MemberKind] = {
    pattern.KIND: MemberKind(
        make=lambda spec, shared, seed, start: pattern.PatternMember(spec, shared, seed, start),
        open=lambda spec, shared, folder: pattern.PatternMember(spec, shared, folder=folder),
        evidence="fold",
        reads_texts=False,
        updates=lambda shared, rows: shared.recipe.member.updates(rows),
    ),
    untrained.KIND: MemberKind(
        make=lambda spec, shared, seed, start: untrained.UntrainedMember(spec, shared),
        open=lambda spec, shared, folder: untrained.UntrainedMember(spec, shared, folder=folder),
        trains=False,
        reads_texts=False,
    ),
    head.KIND: MemberKind(
        make=lambda spec, shared, seed, start: head.HeadMember(spec, shared, seed),
        open=lambda spec, shared, folder: head.HeadMember(spec, shared, folder=folder),
        evidence="fold",
        updates=lambda shared, rows: head.steps(shared.recipe, rows),
    ),
    embeddings.KIND: MemberKind(
        make=lambda spec, shared, seed, start: embeddings.EmbeddingsMember(spec, shared, seed),
        open=lambda spec, shared, folder: embeddings.EmbeddingsMember(spec, shared, folder=folder),
        evidence="refit",
    ),
    tfidf.KIND: MemberKind(
        make=lambda spec, shared, seed, start: tfidf.TfidfMember(spec, shared, seed),
        open=lambda spec, shared, folder: tfidf.TfidfMember(spec, shared, folder=folder),
        evidence="refit",
    ),
    external.KIND: MemberKind(
        make=lambda spec, shared, seed, start: external.ExternalMember(spec, shared.task.labels, shared.task.fields),
        open=lambda spec, shared, folder: external.ExternalMember(spec, shared.task.labels, shared.task.fields, folder),
        trains=False,
        evidence="given",
    ),
    chat.KIND: MemberKind(
        make=lambda spec, shared, seed, start: chat.ChatMember(spec, shared),
        open=lambda spec, shared, folder: chat.ChatMember(spec, shared, folder),
        trains=False,
        evidence="given",
        asks=True,
        updates=lambda shared, rows: min(rows, chat.MOST_JUDGED),
    ),
    nli.KIND: MemberKind(
        make=lambda spec, shared, seed, start: nli.NliMember(spec, shared),
        open=lambda spec, shared, folder: nli.NliMember(spec, shared, folder),
        trains=False,
        evidence="given",
    ),
    gliclass.KIND: MemberKind(
        make=lambda spec, shared, seed, start: gliclass.GliclassMember(spec, shared),
        open=lambda spec, shared, folder: gliclass.GliclassMember(spec, shared, folder),
        trains=False,
        evidence="given",
    ),
    rules.KIND: MemberKind(
        make=lambda spec, shared, seed, start: rules.RulesMember(spec, shared.task),
        open=lambda spec, shared, folder: rules.RulesMember(spec, shared.task, folder),
        trains=False,
        evidence="given",
    ),
}
QUICK = (embeddings.KIND, tfidf.KIND)  # kinds that take seconds
# Kinds that users can name in the task file or with --member -> function that parses the argument after the colon.
NAMED: Mapping[str, Callable[[str], MemberSpec]] = {
    embeddings.KIND: embeddings.parse,
    tfidf.KIND: tfidf.parse,
    head.KIND: head.parse,
    external.KIND: external.parse,
    chat.KIND: chat.parse,
    nli.KIND: nli.parse,
    gliclass.KIND: gliclass.parse,
    rules.KIND: rules.parse,
}
ONE_LABEL = (external.KIND, chat.KIND, rules.KIND)  # kinds that give each text exactly one label
TEACHERS = (chat.KIND, nli.KIND, gliclass.KIND, rules.KIND)  # kinds that --teacher accepts


_MODEL_CHECKS: Mapping[str, Callable[[str], None]] = {nli.KIND: nli.check_nli, gliclass.KIND: check_gliclass}
# Files and folders beside those of members.
_TAKEN = frozenset(
    {"acceptance", "ensemble", "examples", "labels", "pretrained", "primers", "ratio", "second-view", "untrained"}
)


def parse_member(text: str) -> MemberSpec:
    """Parse a member in a task file or option: ``KIND``, ``KIND:ARGUMENT``, or ``NAME=KIND:ARGUMENT``.

    Parameters
    ----------
    text : the user's text; relative paths in it start from the working directory

    Raises
    ------
    PetError
        If the kind is unknown, or its file is missing.

    Examples
    --------
    >>> parse_member("baseline=head").name
    'baseline'
    """
    name, equals, rest = text.partition("=")
    given, rest = (name.strip(), rest) if equals and ":" not in name else ("", text)
    kind, _, argument = rest.strip().partition(":")
    if kind not in NAMED:
        raise PetError(f"member {text!r}: unknown kind {kind!r}; {suggest(kind, list(NAMED))}")
    spec = NAMED[kind](argument.strip())
    name = given or spec.name
    if name.split(".")[0].casefold() in _TAKEN:
        raise PetError(
            f"member {shorten(text)!r}: a run has files of its own named {shorten(name.split('.')[0])!r}; write "
            f"NAME={kind}..., with another name"
        )
    if list(inside(longest=100)(name, "")) or "/" in name:  # the name of a folder
        raise PetError(
            f"member {shorten(text)!r}: the name {shorten(name)!r} cannot be that of a folder; write NAME={kind}..., "
            "with letters, digits, dots, dashes and underscores in the name"
        )
    return MemberSpec(spec.kind, name, spec.options)


def check_member_model(spec: MemberSpec, *, allow_pickle: bool = False) -> None:
    """Check the model that a member opens, if it opens one, without opening its weights. Hub names are looked up.

    Raises
    ------
    PetError
        If there is no such model, or it is of another kind than the member needs.
    """
    if "model" not in spec.options:
        return
    name = str(spec.options["model"])
    check_model(name, allow_pickle=allow_pickle)
    if not Path(resolve_model(name)).is_dir():
        model_fingerprint(name)
    if spec.kind in _MODEL_CHECKS:
        _MODEL_CHECKS[spec.kind](name)


def make_scorer(spec: MemberSpec, shared: Shared, seed: int = 0, start: Path | None = None) -> Scorer:
    """Return an unfitted member.

    Parameters
    ----------
    spec, shared : the member's specification, and what it shares with the others
    seed : random seed of its training
    start : folder of a member of the same kind to continue training from
    """
    return KINDS[spec.kind].make(spec, shared, seed, start)


def fit_scorer(
    spec: MemberSpec, scorer: Scorer, data: MemberData, folder: Path, on_step: OnStep = lambda step, loss: None
) -> Report:
    """Fit a member and save it, with the ``member.json`` that `open_scorer` reads."""
    report = scorer.fit(data, folder, on_step)
    about = {
        **asdict(spec),
        "scale": scorer.scale.value,
        **report.notes,
        "losses": report.losses,
        "labeled": report.labeled,
    }
    (folder / NOTE).write_text(
        json.dumps(plain(about, finite=True), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return report


def open_scorer(folder: Path, shared: Shared) -> Scorer:
    """Open a fitted member from its folder.

    Raises
    ------
    PetError
        If the folder does not hold a member of a known kind.
    """
    spec = read_spec(folder)
    return KINDS[spec.kind].open(spec, shared, folder)


def read_spec(folder: Path) -> MemberSpec:
    """Read the specification of the member in a folder. Members of old runs are recognized by their names."""
    path = folder / NOTE
    values: Any = read_json(path, _AGAIN) if path.is_file() else {}
    if isinstance(values, dict) and "kind" not in values:
        old = old_pattern_spec(pattern.KIND if values else untrained.KIND, folder.name)
        if old is not None:
            return old
    check(values, SPEC, str(path), _AGAIN)
    if values["kind"] not in KINDS:
        raise PetError(f"{path}: unknown kind of member {clean(values['kind'])!r}; {_AGAIN}")
    if values["kind"] in (pattern.KIND, untrained.KIND) and not {"pattern", "repetition"} <= values["options"].keys():
        raise PetError(f"{path}: options name no pattern and repetition; {_AGAIN}")
    return MemberSpec.from_dict(values)
