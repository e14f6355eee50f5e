"""Settings that describe themselves: the field helper, checks, parsing, and the flat names that users see.

A group is a small frozen dataclass. Each of its fields carries its help, its range and the flat name under which
``--set`` and config.yaml know it. Groups nest: a recipe is a group of groups. This module does not import torch, so
that ``pet run --help`` stays fast.

Examples
--------
>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Student(Settings):
...     title = "Student"
...     steps: int = setting(200, "training steps", low=0, high=1000, name="student_steps")
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
from pet.terminal import clean

_KINDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_JSON_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_MARK = "setting"


@dataclass(frozen=True)
class Declared:
    """What a field declares about its setting.

    Attributes
    ----------
    help : one line for people
    low, high : smallest and largest value of a number; None for other values
    choices : the allowed values; empty: any
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


def list_settings(groups: Mapping[str, Settings]) -> list[dict[str, Any]]:
    """Describe every setting of groups of one kind, such as recipes, in plain values that JSON can hold.

    Parameters
    ----------
    groups : name -> a group with these values; all of one class

    Returns
    -------
    for each setting a dict with ``name``, ``group`` (its title), ``type`` (as in JSON Schema), ``default``,
    ``choices``, ``low`` and ``high`` (None where they do not apply), ``values`` (name of a group -> value) and ``help``

    Examples
    --------
    >>> from pet.recipe import RECIPES
    >>> found = list_settings(RECIPES)[0]
    >>> found["name"], found["type"], found["default"], found["low"], found["values"]["paper"]
    ('max_length', 'integer', 256, 8, 256)
    """
    found = []
    for parts in zip(*map(groups_of, groups.values()), strict=True):
        for items in zip(*map(own_settings, parts), strict=True):
            declared = items[0].declared
            found.append(
                {
                    "name": items[0].name,
                    "group": parts[0].title,
                    "type": _JSON_TYPES[type(items[0].default)],
                    "default": items[0].default,
                    "choices": list(declared.choices) or None,
                    "low": declared.low,
                    "high": declared.high,
                    "values": {name: item.value for name, item in zip(groups, items, strict=True)},
                    "help": declared.help,
                }
            )
    return found


def as_given(value: object) -> str:
    """Format a value as ``--set`` accepts it.

    Examples
    --------
    >>> as_given(True), as_given(0.5)
    ('true', '0.5')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


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
            near = difflib.get_close_matches(key[:100], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"settings are {', '.join(known)}"
            problems.append(f"unknown setting {shorten(repr(key))}; {hint}")
        elif key in old and item.name in given:
            problems.append(f"{key} is the old name of {item.name}; give one of them")
        else:
            try:
                values[item.name] = _parse(type(item.default), text)
            except (ValueError, TypeError, KeyError, OverflowError):
                shown = shorten(repr(text))
                problems.append(f"setting {key} is {shown}: it must be {_KINDS[type(item.default)]}")
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


def out_of_range(options: object, ranges: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return messages about options, other than settings, that are out of range.

    Parameters
    ----------
    options : object with the options as attributes; None: not given
    ranges : attribute -> smallest and largest value

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> out_of_range(SimpleNamespace(worker_cpus=0, seed=None), {"worker_cpus": (1, 64), "seed": (0, 10)})
    ['--worker-cpus is 0: it must be at least 1 and at most 64']
    """
    problems = []
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            option = f"--{name.replace('_', '-')}"
            problems.append(f"{option} is {shorten(value)}: it must be at least {low} and at most {high}")
    return problems


def shorten(value: object) -> str:
    """Return a value as text for a message, with an ellipsis in the middle of a long one.

    Examples
    --------
    >>> shorten(10), len(shorten("9" * 5000))
    ('10', 43)
    """
    text = clean(str(value))
    return text if len(text) <= 60 else f"{text[:20]}...{text[-20:]}"


def _out_of_range(item: Setting) -> list[str]:
    declared, value = item.declared, item.value
    if declared.choices and value not in declared.choices:
        listed = f"{', '.join(declared.choices[:-1])} or {declared.choices[-1]}"
        return [f"{item.name} is {shorten(repr(value))}: it must be {listed}"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):  # text, lists, and None for "not given"
        return []
    low, high = declared.low, declared.high
    if low is None or high is None:
        raise TypeError(f"setting {item.name} is a number and must declare its smallest and largest value")
    if not low <= value <= high:
        wanted = f"at least {low} and at most {high}"
        return [f"{item.name} is {shorten(value)}: it must be {wanted} ({declared.help})"]
    return []


def _parse(kind: type, value: Any) -> Any:
    """Return a value as the type of its setting; any of several exceptions if it is another kind of value."""
    if isinstance(value, bool) != (kind is bool) and not isinstance(value, str):
        raise TypeError("a boolean is not a number or text, nor the other way around")
    if isinstance(value, kind):
        return value
    if kind is bool:
        return {"true": True, "false": False}[value.lower()]
    if not isinstance(value, (str, int, float)) or (isinstance(value, float) and kind is int and value % 1):
        raise TypeError("neither text nor a number of this kind")
    return kind(value)
