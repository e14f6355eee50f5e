"""YAML and JSON from outside: limits, and values that Python's readers would accept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pet.errors import LONGEST, MOST, PetError
from pet.resources import expand
from pet.settings import Settings, declarations, setting
from pet.store.json_reader import MAX_DEPTH, parse_json, read_json
from pet.store.schema import (
    Check,
    check,
    first_of,
    flag,
    inside,
    list_of,
    mapping_of,
    maybe,
    number,
    record,
    text,
    whole,
)
from pet.store.yaml_reader import parse_yaml

CURE = "write it again"
_LEVELS = "bcdefghij"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{level}: &{level} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, level in zip("a" + _LEVELS, _LEVELS, strict=False)
)


# ---- YAML ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("x: 2001-99-99", {"x": "2001-99-99"}),
        ("x: 2001-01-01", {"x": "2001-01-01"}),
        ("{1: a, no: b, 010: c}", {"1": "a", "no": "b", "010": "c"}),
        ("[1, -2, 1.5, 1.0e-5, true, null, ~, 0x1F]", [1, -2, 1.5, 1e-5, True, None, None, 31]),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("", None),
    ],
)
def test_yaml_has_plain_values(source: str, value: Any) -> None:
    assert parse_yaml(source.encode(), "c.yaml") == value


def test_what_the_library_writes_is_read_again() -> None:
    values = {
        "text": ["no", "2001-01-01", "1", "ü\u2028", "= x", "<<"],
        "number": [1, 1e-5, -0.5],
        "none": None,
        "yes": True,
    }
    dumped = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    assert parse_yaml(dumped.encode(), "c.yaml") == values


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("x: 1\n" + BOMB, ["c.yaml:", "aliases"]),
        ("x: " + "[" * 400, ["c.yaml:1", "deep"]),
        ("x:\n  &a [*a]", ["c.yaml:2", "itself"]),
        ("x: 1\ny: " + "9" * 10_000, ["c.yaml:2", "too large"]),
        ("x: .inf", ["c.yaml:1", "finite"]),
        ("x: 0b_", ["c.yaml:1", "0b_"]),
        ("x: 1\nx: 2", ["c.yaml:2", "twice"]),
        ("? [a]\n: 1", ["c.yaml:1", "key"]),
        ("x: {<<: {a: 1}}", ["c.yaml:1", "key"]),
        ("x: !!python/name:os.system", ["c.yaml:1", "python/name"]),
        ('x: "\\U00110000"', ["c.yaml", "YAML"]),
        ("x: [", ["c.yaml:1", "YAML"]),
        ("a\n---\nb", ["c.yaml:2", "YAML"]),
    ],
)
def test_yaml_beyond_the_limits_is_one_message(source: str, named: list[str]) -> None:
    begun = time.process_time()
    with pytest.raises(PetError) as caught:
        parse_yaml(source.encode(), "c.yaml")
    assert time.process_time() - begun < 2
    assert len(caught.value.problems) == 1
    assert all(part in str(caught.value) for part in named)


# ---- JSON ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("[1,\n2,]", "n.json:2"),
        ('{"a": NaN}', "NaN"),
        ("[-Infinity]", "Infinity"),
        ("[1e999]", "1e999"),
        ("[" + "9" * 30 + "]", "too large"),
        ("[" + "9" * 10_000 + "]", "too large"),
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "deep"),
        ("[" * 100_000, "deep"),
        ("", "n.json:1"),
    ],
)
def test_json_beyond_the_limits_is_one_message_with_the_cure(source: str, named: str) -> None:
    with pytest.raises(PetError) as caught:
        parse_json(source, "n.json", CURE)
    (problem,) = caught.value.problems
    assert problem.startswith("n.json") and named in problem and problem.endswith(CURE)


def test_a_file_that_cannot_be_read_is_one_message_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"a":\n"\xff"}')
    (tmp_path / "large.json").write_bytes(b" " * 101)
    for name, named in (("latin.json", "latin.json:2"), ("large.json", "too large"), ("absent.json", "absent.json")):
        with pytest.raises(PetError) as caught:
            read_json(tmp_path / name, CURE, limit=100)
        assert named in str(caught.value) and str(caught.value).endswith(CURE)


# ---- schemas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "good", "bad", "named"),
    [
        (text(3), "abc", "abcd", "4 characters"),
        (text(), "a", 1, "text"),
        (text(choices=["a", "b"]), "a", "c", "a, b"),
        (text(pattern="[ab]+", wanted="a or b"), "ab", "c", "a or b"),
        (whole(0, 5), 5, 6, "0 to 5"),
        (whole(0, 5), 0, True, "0 to 5"),
        (whole(0, 5), 1, 1.0, "0 to 5"),
        (number(0, 1), 0.5, 2, "0 to 1"),
        (number(), 1, "1", "number"),
        (flag(), False, 0, "true or false"),
        (maybe(flag()), None, "no", "true or false"),
        (
            list_of(whole(0, 5), 2, 2, per="one per label"),
            [1, 2],
            [1],
            "length 1; it must have length 2 (one per label)",
        ),
        (list_of(whole(0, 5)), [1], [1, "x"], "[1]"),
        (list_of(flag()), [], {}, "list"),
        (first_of(whole(0, 5), text()), [1, "a", "more"], ["a", "b"], "[0]"),
        (mapping_of(flag()), {"a": True}, {"a": 1}, "a is 1"),
        (mapping_of(flag(), inside()), {"g0/a": True}, {"../a": True}, "../a"),
        (record({"a": flag()}, {"b": flag()}), {"a": True, "c": 1}, {"b": True}, "a is missing"),
        (record({"a": record({"b": flag()})}), {"a": {"b": True}}, {"a": {"b": []}}, "a.b is a list"),
        (inside(), "g0/p1-r1", "/etc/passwd", "folder"),
        (inside(), "ü.txt", "a/../../b", "folder"),
        (inside(), "a b", "a\\b", "folder"),
    ],
)
def test_a_schema_names_the_place_and_what_must_be_there(schema: Check, good: Any, bad: Any, named: str) -> None:
    check(good, schema, "n.json", CURE)
    with pytest.raises(PetError) as caught:
        check(bad, schema, "n.json", CURE)
    (problem,) = caught.value.problems
    assert problem.startswith("n.json: ") and named in problem and problem.endswith(CURE)


def test_a_large_broken_value_has_a_short_message() -> None:
    with pytest.raises(PetError) as caught:
        check(["\x1b\n" + "x" * 10_000] * 1000, list_of(flag()), "n.json", CURE)
    assert len(caught.value.problems) == 10
    assert all(len(problem) < 200 and problem.isprintable() for problem in caught.value.problems)


# ---- messages and settings -------------------------------------------------------------------------


def test_messages_are_shortened_in_the_middle() -> None:
    error = PetError([f"place {'x' * 10_000} cure"] * (MOST + 7))
    assert all(p.startswith("place") and p.endswith("cure") and len(p) <= LONGEST for p in error.problems[:-1])
    assert len(error.problems) == MOST + 1 and error.problems[-1].startswith("... and 7 more")


def _groups(group: type[Settings]) -> list[type[Settings]]:
    return [group, *(inner for sub in group.__subclasses__() for inner in _groups(sub))]


def test_every_number_declares_its_range() -> None:
    import pet.adapt.settings
    import pet.recipe  # noqa: F401  (both define groups)

    for group in _groups(Settings):
        if not group.__module__.startswith("pet.") or "__dataclass_fields__" not in vars(group):
            continue
        for name, (declared, default) in declarations(group).items():
            kind = str(group.__dataclass_fields__[name].type)  # type: ignore[attr-defined]
            if kind.startswith(("int", "float")):
                assert declared.low is not None and declared.high is not None, f"{group.__name__}.{name}"
                assert default is None or declared.low <= default <= declared.high


def test_a_number_without_a_range_is_a_mistake_of_the_programmer() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Loose(Settings):
        steps: int = setting(1, "steps", low=0)

    with pytest.raises(TypeError, match="steps"):
        Loose()


def test_a_path_may_begin_with_a_tilde_and_no_user() -> None:
    assert expand("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert expand("~/x") == Path.home() / "x"
