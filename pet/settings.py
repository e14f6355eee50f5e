"""Settings that describe themselves: the field helper, checks, parsing, and the flat names that users see.

A group is a small frozen dataclass. Each of its fields carries its help, its range and the flat name under which
``--set`` and config.yaml know it. Groups nest: a recipe is a group of groups. This module imports no other room and no
torch, so that ``pet run --help`` stays fast.

Examples
--------
>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Student(Settings):
...     title = "Student"
...     steps: int = setting(200, "training steps", low=0, name="student_steps")
>>> to_flat(Student())
{'student_steps': 200}
>>> with_flat(Student(), parse_flat(Student(), {"student_steps": "50"})).steps
50
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar, cast

from pet.errors import PetError

_KINDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_MARK = "setting"


@dataclass(frozen=True)
class Declared:
    """What a field declares about its setting.

    Attributes
    ----------
    help : one line for people
    low, high : smallest and largest value, or None
    choices : the values that it can take, or none for no such list
    name : its flat name; empty: the name of the field
    old_name : a flat name from earlier versions, still accepted
    """

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    name: str = ""
    old_name: str = ""


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    name: str = "",
    old_name: str = "",
) -> Any:
    """Return a dataclass field for a setting; for the parameters see `Declared`."""
    return field(default=default, metadata={_MARK: Declared(help, low, high, tuple(choices), name, old_name)})


class Settings:
    """Base of all groups: it checks each field's range when a group is created.

    Raises
    ------
    PetError
        Naming every setting of the group that is out of range, with its help.
    """

    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        problems = [*self._range_problems(), *self.problems()]
        if problems:
            raise PetError(problems)

    @classmethod
    def flat_name(cls, attribute: str) -> str:
        """Return the flat name of a setting that declares none; groups may override this."""
        return attribute

    def problems(self) -> list[str]:
        """Return what is wrong with settings that depend on each other; groups override this."""
        return []

    def _range_problems(self) -> list[str]:
        return [text for item in own_settings(self) for text in _out_of_range(item)]


GroupT = TypeVar("GroupT", bound=Settings)


@dataclass(frozen=True)
class Setting:
    """A setting with its value.

    Attributes
    ----------
    name : its flat name
    attribute : its name within the group
    declared : help and range
    default, value : of the field, and in this group
    """

    name: str
    attribute: str
    declared: Declared
    default: Any
    value: Any


def declarations(group: type[Settings]) -> dict[str, tuple[Declared, Any]]:
    """Return attribute -> (declaration, default) of the settings of a group, without those of the groups inside it."""
    items = fields(cast(Any, group))
    return {item.name: (item.metadata[_MARK], item.default) for item in items if _MARK in item.metadata}


def own_settings(group: Settings) -> list[Setting]:
    """Return the settings of a group without those of the groups inside it."""
    return [
        Setting(declared.name or group.flat_name(name), name, declared, default, getattr(group, name))
        for name, (declared, default) in declarations(type(group)).items()
    ]


def groups_of(group: Settings) -> Iterator[Settings]:
    """Iterate over a group and all groups inside it, outermost first."""
    yield group
    for value in _parts(group).values():
        for inner in value.values() if isinstance(value, Mapping) else (value,):
            yield from groups_of(inner)


def all_settings(group: Settings) -> list[Setting]:
    """Return the settings of a group and of all groups inside it."""
    return [item for inner in groups_of(group) for item in own_settings(inner)]


def to_flat(group: Settings) -> dict[str, Any]:
    """Return flat name -> value for a group and all groups inside it."""
    return {item.name: item.value for item in all_settings(group)}


def parse_flat(group: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    """Parse settings given by flat name.

    Parameters
    ----------
    group : the group that has them
    given : flat name -> value, as text or as its own type; names from earlier versions are accepted

    Returns
    -------
    dict: current flat name -> value of the right type

    Raises
    ------
    PetError
        Naming every unknown setting, with the closest known name, and every value of the wrong type.
    """
    items = all_settings(group)
    known = {item.name: item for item in items}
    old = {item.declared.old_name: item for item in items if item.declared.old_name}
    problems, values = [], {}
    for key, text in given.items():
        item = known.get(key) or old.get(key)
        if item is None:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"settings are {', '.join(known)}"
            problems.append(f"unknown setting {key!r}; {hint}")
        elif key in old and item.name in given:
            problems.append(f"{key} is the old name of {item.name}; give one of them")
        else:
            try:
                values[item.name] = _parse(type(item.default), text)
            except (ValueError, TypeError, KeyError):
                problems.append(f"setting {key} is {text!r}: it must be {_KINDS[type(item.default)]}")
    if problems:
        raise PetError(problems)
    return values


def with_flat(group: GroupT, values: Mapping[str, Any]) -> GroupT:
    """Return the group with some settings, given by flat name, changed in it or in the groups inside it.

    Raises
    ------
    PetError
        Naming every value that is out of range, in whichever group.
    """
    problems: list[str] = []
    changed = _rebuild(group, values, problems)
    if problems:
        raise PetError(problems)
    return changed


def _rebuild(group: GroupT, values: Mapping[str, Any], problems: list[str]) -> GroupT:
    changes: dict[str, Any] = {i.attribute: values[i.name] for i in own_settings(group) if i.name in values}
    for name, part in _parts(group).items():
        if isinstance(part, Mapping):
            changes[name] = {key: _rebuild(inner, values, problems) for key, inner in part.items()}
        else:
            changes[name] = _rebuild(part, values, problems)
    try:
        return replace(cast(Any, group), **changes)  # type: ignore[no-any-return]
    except PetError as error:
        problems += error.problems
        return group


def _parts(group: Settings) -> dict[str, Any]:
    """Attribute -> the group in it, or a mapping of name -> group."""
    items = [item for item in fields(cast(Any, group)) if _MARK not in item.metadata]
    return {item.name: getattr(group, item.name) for item in items}


def _out_of_range(item: Setting) -> list[str]:
    declared, value = item.declared, item.value
    if declared.choices and value not in declared.choices:
        listed = f"{', '.join(declared.choices[:-1])} or {declared.choices[-1]}"
        return [f"{item.name} is {value!r}: it must be {listed}"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # text, lists, and None for "not given"
        return []
    low, high = declared.low, declared.high
    if value != value or (low is not None and value < low) or (high is not None and value > high):
        wanted = f"at least {low}" + (f" and at most {high}" if high is not None else "")
        return [f"{item.name} is {value}: it must be {wanted} ({declared.help})"]
    return []


def _parse(kind: Any, text: Any) -> Any:
    if kind is bool:
        return text if isinstance(text, bool) else {"true": True, "false": False}[str(text).lower()]
    if kind is int and isinstance(text, bool):
        raise ValueError("not a number")
    return kind(text) if not isinstance(text, kind) else text
