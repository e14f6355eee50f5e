"""``pet init``: a task file for a data file, whatever its columns and labels are called."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pet.cli.main import main
from pet.data.draw import draw_file
from pet.data.infer_columns import MOST_LABELS
from pet.data.read import read_table
from pet.scaffold.scaffold import field_names, guess_words
from pet.scaffold.write import write_new_task
from pet.task.grammar import NAME
from pet.task.task import Task

WriteRows = Callable[..., Path]
SENTENCES = [f"This is the long sentence number {i} of the file." for i in range(6)]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, arguments)])


def failure(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.output
    return result.stderr


def labeled(labels: list[Any], text: str = "text", label: str = "label") -> list[dict[str, Any]]:
    return [{text: f"{SENTENCES[i % 6]} {i}", label: value} for i, value in enumerate(labels)]


def test_a_data_file_becomes_a_task_that_loads(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", [{"id": i} | row for i, row in enumerate(labeled(["Sports", "World"] * 5))])
    target = tmp_path / "task.yaml"
    result = call("news", "--input", source, "-o", target)
    assert result.exit_code == 0, result.output
    task = Task.load(target)
    assert (task.name, task.fields, task.labels) == ("news", ("text",), ("Sports", "World"))
    assert len(task.patterns) == 4
    assert task.patterns[0].verbalizer.words == {"Sports": ("sports",), "World": ("world",)}
    written = target.read_text()
    assert "# 5" in written and 'Not used: "id"' in written
    assert "TODO" not in written
    assert f"pet check {target} --train {source}" in result.stdout


def test_columns_are_guessed_by_what_is_in_them(tmp_path: Path) -> None:
    source = tmp_path / "pairs.csv"
    with source.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["guid", "first", "second", "verdict"])
        writer.writerows(
            [i, SENTENCES[i % 6] + str(i), SENTENCES[-i % 6] + str(-i), "yes" if i % 2 else "no"] for i in range(8)
        )
    made = write_new_task("pairs", str(source), tmp_path / "task.yaml")
    assert (made.fields, made.labels) == (("first", "second"), ("no", "yes"))
    assert made.columns == {"label": "verdict"}
    task = Task.load(tmp_path / "task.yaml")
    assert len(read_table(source, task.fields, labels=task.labels, columns=made.columns)) == 8


def test_stars_keep_the_order_of_numbers_and_say_that_their_words_are_guesses(
    tmp_path: Path, write_jsonl: WriteRows
) -> None:
    source = write_jsonl("stars.jsonl", labeled([10, 9, 2, 1] * 3, label="stars"))
    made = write_new_task("stars", str(source), tmp_path / "task.yaml")
    assert made.labels == ("1", "2", "9", "10")
    assert (tmp_path / "task.yaml").read_text().count("# a guess") == 4


def test_named_columns_win_over_the_guess(tmp_path: Path, write_jsonl: WriteRows) -> None:
    rows = [row | {"tone": "warm" if i % 3 else "cold"} for i, row in enumerate(labeled(["a", "b"] * 6))]
    source = write_jsonl("train.jsonl", rows)
    made = write_new_task("tone", str(source), tmp_path / "task.yaml", text=["text"], label="tone")
    assert (made.labels, made.columns) == (("cold", "warm"), {"label": "tone"})


def test_classes_that_the_file_names_keep_their_order(tmp_path: Path) -> None:
    import datasets

    kinds = datasets.ClassLabel(names=["zebra", "ant", "mole"])
    features = datasets.Features({"text": datasets.Value("string"), "kind": kinds})
    rows = {"text": SENTENCES, "kind": [0, 1, 0, 1, 0, 1]}
    source = tmp_path / "train.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(source)
    made = write_new_task("animals", str(source), tmp_path / "task.yaml")
    assert made.labels == ("zebra", "ant", "mole")
    draw_file(
        Task.load(tmp_path / "task.yaml"),
        str(source),
        tmp_path / "few.parquet",
        examples=2,
        columns=made.columns,
    )
    few = datasets.Dataset.from_parquet(str(tmp_path / "few.parquet"), cache_dir=str(tmp_path))
    assert sorted(few["kind"]) == ["ant", "zebra"]


HOSTILE = [
    "{text.__class__}",
    "a: b",
    "two\nlines",
    "!!python/object/apply:os.system [ls]",
    "no",
    "null",
    "# not a comment",
    "*alias",
    "&anchor",
    "tab\there",
    '"quoted"',
    "'",
    "||",
    "{mask}",
    "\u2028",
    "x\x85y",
    "🦄",
    "\\x41",
    "- item",
    "1e3",
    "%YAML",
    "\x07bell",
]


def test_hostile_labels_and_columns_are_only_text(tmp_path: Path, write_jsonl: WriteRows) -> None:
    text, label = "{mask}: \n!!python", " = la bel: #"
    source = write_jsonl("train.jsonl", labeled([x for x in HOSTILE if x.strip()] * 3, text, label))
    made = write_new_task("n: {a}\n# b", str(source), tmp_path / "task.yaml", text=[text], label=label)
    task = Task.load(tmp_path / "task.yaml")
    assert task.name == "n: {a}\n# b"
    assert set(task.labels) == {x for x in HOSTILE if x.strip()}
    assert made.columns == {task.fields[0]: text, "label": label}
    assert len(read_table(source, task.fields, labels=task.labels, columns=made.columns)) == 3 * len(task.labels)


# Names as data has them: any text that UTF-8 can hold and that is not blank.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
LABELS = st.lists(NAMES | st.sampled_from(HOSTILE).filter(str.strip), min_size=2, max_size=8, unique=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, text=NAMES, label=NAMES, labels=LABELS)
def test_any_names_make_a_task_that_reads_its_data(
    tmp_path: Path, name: str, text: str, label: str, labels: list[str]
) -> None:
    if text == label or "id" in (text, label):
        return
    source = tmp_path / "train.jsonl"
    rows = labeled(labels * 2, text, label)
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    target = tmp_path / "task.yaml"
    made = write_new_task(name, str(source), target, text=[text], label=label, force=True)
    task = Task.load(target)
    assert task.name == name
    assert set(task.labels) == set(labels)
    words = [word for group in task.patterns[0].verbalizer.words.values() for word in group]
    assert len({word.casefold() for word in words}) == len(words) == len(labels)
    table = read_table(source, task.fields, labels=task.labels, columns=made.columns)
    assert list(table[task.fields[0]]) == [row[text] for row in rows]


@given(
    st.lists(
        NAMES | st.sampled_from(["mask", "label", "id", "soft", "text_id", "a b", "a_b"]),
        unique=True,
        max_size=6,
    )
)
def test_fields_are_names_and_each_its_own(columns: list[str]) -> None:
    fields = field_names(columns)
    assert list(fields.values()) == columns
    assert all(NAME.fullmatch(field) and field not in ("mask", "soft", "id", "label") for field in fields)
    assert all(field == column for field, column in fields.items() if column in fields)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["card payment", "card"], ["payment", "card"]),
        (["Sci/Tech", "World"], ["sci", "world"]),
        (["notFunny", "funny"], ["not", "funny"]),
        (["café", "cafe", "CAFE"], ["café", "a", "b"]),
        (["+", "-"], ["a", "b"]),
        (["0", "1"], ["0", "1"]),
    ],
)
def test_words_are_parts_of_the_labels(labels: list[str], words: list[str]) -> None:
    assert list(guess_words(labels).words.values()) == words


def test_too_many_labels_are_free_text(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled([f"l{i}" for i in range(MOST_LABELS + 1)]))
    assert "more than 200 different values: that looks like free text or numbers" in failure(
        "x", "--input", source, "-o", tmp_path / "task.yaml"
    )
    just = write_jsonl("just.jsonl", labeled([f"l{i}" for i in range(MOST_LABELS)]))
    assert len(write_new_task("x", str(just), tmp_path / "task.yaml").labels) == MOST_LABELS


BAD = {
    "empty": (b"", "is empty"),
    "cut": (b'{"text": "a b c", "label": "x"}\n{"text": "d', "cut off"),
    "not UTF-8": (b'{"text": "\xff", "label": "x"}\n', "not UTF-8"),
    "arrays": (b'["a"]\n', "is an array"),
    "one label": (b'{"text": "a b c", "label": "x"}\n' * 3, "two labels at least"),
    "no text": (b'{"label": "x"}\n{"label": "y"}\n', "no column looks like text"),
    "no label": (b'{"text": "a b c"}\n{"text": "d e f"}\n', "no column looks like labels"),
    "null label": (
        b'{"text": "a b c", "label": "x"}\n{"text": "d e f", "label": "y"}\n{"text": "g", "label": null}\n',
        ":3: label is null",
    ),
    "blank label": (
        b'{"text": "a b", "label": "x"}\n{"text": "d e", "label": "y"}\n{"text": "g", "label": ""}\n',
        ":3:",
    ),
    "half a character": (
        b'{"text": "a b c", "label": "x"}\n{"text": "d e f", "label": "\\ud800"}\n',
        "half a character",
    ),
    "half a column": (b'{"text": "a b", "\\ud800": "x"}\n{"text": "d e", "\\ud800": "y"}\n', "error"),
    "long label": (
        b'{"text": "a", "label": "%s"}\n{"text": "b", "label": "y"}\n' % (b"x" * 101),
        "free text",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_is_one_message_and_no_file(kind: str, tmp_path: Path) -> None:
    content, message = BAD[kind]
    source = tmp_path / "train.jsonl"
    source.write_bytes(content)
    assert message in failure("x", "--input", source, "-o", tmp_path / "task.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


def test_unknown_columns_are_all_named(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["a", "b"]))
    said = failure("x", "--input", source, "--text", "Text", "--label", "nope", "-o", tmp_path / "t.yaml")
    assert "--text Text" in said and "did you mean 'text'?" in said and "--label nope" in said


def test_what_is_there_stays_unless_forced(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["a", "b"]))
    target = tmp_path / "task.yaml"
    target.write_text("mine")
    assert "is there already" in failure("x", "--input", source, "-o", target)
    assert target.read_text() == "mine"
    assert call("x", "--input", source, "-o", target, "--force").exit_code == 0
    assert Task.load(target).name == "x"


def test_the_output_must_be_yaml_and_the_name_not_blank(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["a", "b"]))
    assert ".yaml" in failure("x", "--input", source, "-o", tmp_path / "task.json")
    assert "NAME is empty" in failure(" ", "--input", source, "-o", tmp_path / "task.yaml")
