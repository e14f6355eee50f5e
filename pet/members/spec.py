"""The identity of a member in plain values, for manifests and messages between processes."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pet.errors import PetError
from pet.resources import expand
from pet.store.schema import record, text, whole

_NUMBER = whole(1, 1_000_000)
SPEC = record(
    {
        "kind": text(100),
        "name": text(500),
        "options": record(
            {}, {"pattern": _NUMBER, "repetition": _NUMBER, "file": text(), "address": text(), "model": text()}
        ),
    }
)

# Names of members in old runs, which counted patterns and repetitions from 0.
_OLD_NAME = re.compile(r"p(\d+)-r(\d+)")


@dataclass(frozen=True)
class MemberSpec:
    """One member of an ensemble.

    Attributes
    ----------
    kind : one of `pet.members.kinds.KINDS`
    name : unique in its ensemble
    options : options of its kind, in plain values; ``pattern`` and ``repetition`` count from 1
    """

    kind: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pattern(self) -> int | None:
        """Position of its pattern in the task, from 0; None if it has no pattern."""
        number = self.options.get("pattern")
        return number - 1 if isinstance(number, int) else None

    @property
    def seed_parts(self) -> tuple[str | int, ...]:
        """Makes its random numbers differ from those of other members."""
        if self.pattern is None:
            return (self.kind, self.name)
        return (self.pattern, self.options["repetition"] - 1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MemberSpec:
        """Return the specification that `dataclasses.asdict` describes."""
        return cls(values["kind"], values["name"], dict(values["options"]))


def plain_spec(kind: str, argument: str) -> MemberSpec:
    """Return the specification of a kind without options. Raises PetError if the user gave an argument."""
    if argument:
        raise PetError(f"member {kind}:{argument}: {kind} takes no argument; write {kind}")
    return MemberSpec(kind, kind)


def file_spec(kind: str, argument: str, example: str) -> MemberSpec:
    """Return the specification of a member that is made from a file, ``KIND:FILE``. It is named after the file.

    Raises
    ------
    PetError
        With an example of a file name if the file is missing, or if it does not exist.
    """
    if not argument:
        raise PetError(f"member {kind}: the file is missing; write {kind}:FILE, as in {kind}:{example}")
    path = expand(argument)
    if not path.is_file():
        raise PetError(f"member {kind}:{argument}: no such file: {path}")
    return MemberSpec(kind, path.name.split(".")[0] or kind, {"file": os.path.abspath(path)})


def model_spec(kind: str, argument: str) -> MemberSpec:
    """Return the specification of a member that opens a model, ``KIND:MODEL``: a folder, or a hub name.

    Raises
    ------
    PetError
        If the model is missing.
    """
    if not argument:
        raise PetError(f"member {kind}: the model is missing; write {kind}:MODEL, a folder or a hub name")
    path = expand(argument)
    return MemberSpec(kind, kind, {"model": os.path.abspath(path) if path.is_dir() else argument})


def pattern_spec(kind: str, pattern: int, repetition: int) -> MemberSpec:
    """Return the specification of a member with a pattern.

    `pattern` and `repetition` count from 0. The name and the options count from 1, like everything that people read.

    Examples
    --------
    >>> pattern_spec("pattern", 0, 2).name
    'p1-r3'
    """
    name = f"p{pattern + 1}-r{repetition + 1}"
    return MemberSpec(kind, name, {"pattern": pattern + 1, "repetition": repetition + 1})


def check_names(names: Iterable[str]) -> None:
    """Raise PetError if two members of an ensemble have the same name."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise PetError(f"two members are named {twice[0]}; rename one, as in NAME=KIND:...")


def old_pattern_spec(kind: str, name: str) -> MemberSpec | None:
    """Return the specification of a member of an old run, whose names count from 0; None for any other name."""
    found = _OLD_NAME.fullmatch(name)
    if found is None:
        return None
    return MemberSpec(kind, name, {"pattern": int(found[1]) + 1, "repetition": int(found[2]) + 1})
