"""``pet init`` writes a task file that loads and reads its data, whatever the columns and labels are called."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pet.cli.main import main
from pet.cli.options import check_command
from pet.data.checks import column_labels
from pet.data.draw import DrawOptions, draw_file
from pet.data.infer_columns import MOST_LABELS, infer_columns
from pet.data.label_sets import labels_of
from pet.data.read import read_table
from pet.data.table_format import TableFormat
from pet.data.table_options import TableOptions
from pet.preflight.check_task import CheckOptions, check_task
from pet.scaffold.scaffold import field_names, guess_words
from pet.scaffold.write import NewTaskOptions, write_new_task
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


def test_the_task_file_loads_and_the_next_command_is_printed(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", [{"id": i} | row for i, row in enumerate(labeled(["Sports", "World"] * 5))])
    target = tmp_path / "task.yaml"
    result = call("news", "--input", source, "-o", target)
    assert result.exit_code == 0, result.output
    task = Task.load(target)
    assert (task.name, task.fields, task.labels) == ("news", ("text",), ("Sports", "World"))
    assert len(task.patterns) == 4
    assert task.patterns[0].verbalizer.words == {"Sports": ("sports",), "World": ("world",)}
    written = target.read_text()
    assert "# 5" in written
    assert "TODO" not in written
    assert f"pet check {target} --train {source}" in result.stdout


def test_the_next_command_can_be_pasted() -> None:
    given = {"--data": "my file.csv", "-m": None, "--max-length": 64}
    command = check_command("a.yaml", given, TableFormat(delimiter=";"), ["text=body"])
    assert command == "pet check a.yaml --data 'my file.csv' --max-length 64 --delimiter ';' --column text=body"


def test_columns_are_guessed_from_their_values(tmp_path: Path) -> None:
    source = tmp_path / "pairs.csv"
    with source.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["guid", "first", "second", "verdict"])
        writer.writerows(
            [i, SENTENCES[i % 6] + str(i), SENTENCES[-i % 6] + str(-i), "yes" if i % 2 else "no"] for i in range(8)
        )
    made = write_new_task("pairs", str(source), tmp_path / "task.yaml")
    assert (made.fields, made.labels) == (("first", "second"), ("no", "yes"))
    assert made.columns == {"id": "guid", "label": "verdict"}
    task = Task.load(tmp_path / "task.yaml")
    assert task.columns == made.columns
    table = read_table(source, task.fields, labels=task.labels, columns=task.columns)
    assert table["id"] == [str(i) for i in range(8)]


def test_ids_are_unique_and_have_a_name_or_a_form_that_says_so(tmp_path: Path, write_jsonl: WriteRows) -> None:
    rows = labeled(["a", "b"] * 3)
    more = [{"price": 10 + i, "docId": i // 2, "case": f"T-{100 + i}", "at": f"1{i}:00"} for i in range(6)]
    source = str(write_jsonl("train.jsonl", [row | other for row, other in zip(rows, more, strict=True)]))
    assert infer_columns(source).id == "case"
    source = str(write_jsonl("more.jsonl", [row | {"case": "T-1", "row_no": i} for i, row in enumerate(rows)]))
    assert infer_columns(source).id == "row_no"
    assert infer_columns(str(write_jsonl("none.jsonl", rows))).id is None


def test_labels_that_differ_in_case_or_spaces_are_named_and_merged_on_request(
    tmp_path: Path, write_jsonl: WriteRows
) -> None:
    source = write_jsonl("train.jsonl", labeled(["Sports", "sports ", "World", "Sports"] * 2))
    target = tmp_path / "task.yaml"
    said = call("x", "--input", source, "-o", target).stderr
    assert "'Sports'" in said and "'sports '" in said and "--merge-labels" in said
    said = call("x", "--input", source, "-o", target, "--force", "--merge-labels").stderr
    assert "--merge-labels" not in said
    task = Task.load(target)
    assert (task.labels, task.label_map) == (("Sports", "World"), {"sports ": "Sports"})
    table = read_table(source, task.fields, labels=task.labels, label_map=task.label_map)
    assert table["label"] == [0, 0, 1, 0] * 2
    source = write_jsonl("more.jsonl", labeled([" bug", " bug", "bug", "login"]))
    call("x", "--input", source, "-o", target, "--force", "--merge-labels")
    assert Task.load(target).labels == ("bug", "login") and not Task.load(target).multi_label


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_pet_check_accepts_the_file_with_the_model_that_found_the_words(
    family: str, tmp_path: Path, news_rows: list[dict[str, str]], write_jsonl: WriteRows, family_model: Any
) -> None:
    rows = [{"ticket_no": row["id"], "body": row["text"], "kind": row["label"].upper()} for row in news_rows]
    source, pool = write_jsonl("train.jsonl", rows[:24]), write_jsonl("pool.jsonl", rows[24:])
    target, model = tmp_path / "task.yaml", str(family_model(family))
    result = call("news", "--input", source, "--unlabeled", pool, "-m", model, "--max-length", 64, "-o", target, "-q")
    assert result.exit_code == 0, result.output
    assert "--column" not in result.stdout and f"-m {model}" in result.stdout
    task = Task.load(target)
    assert task.columns == {"id": "ticket_no", "label": "kind"}
    assert len(task.patterns) == (4 if family == "bert" else 2)
    sources = {"train": str(source), "unlabeled": str(pool)}
    options = CheckOptions(sources=sources, settings={"max_length": "64"}, weights=False)
    assert check_task(task, model, options).errors == []


@pytest.mark.parametrize("kind", ["list", "JSON", ";", ","])
def test_several_labels_per_text_are_recognized(kind: str, tmp_path: Path, write_jsonl: WriteRows) -> None:
    sets = [["bug"], ["bug", "billing"], ["billing"], ["bug", "refund"], [], ["refund"]] * 2
    if len(kind) == 1:
        sets = [labels or ["bug"] for labels in sets]
        values: list[Any] = [kind.join(labels) + kind * (len(labels) == 1) for labels in sets]
    else:
        values = sets if kind == "list" else [json.dumps(labels) for labels in sets]
    source, target = write_jsonl("train.jsonl", labeled(values)), tmp_path / "task.yaml"
    assert "3 labels" in call("tickets", "--input", source, "-o", target).stdout
    task = Task.load(target)
    assert task.multi_label and task.labels == ("billing", "bug", "refund")
    assert task.metrics == ("micro_f1", "macro_f1")
    table = read_table(str(source), task.fields, labels=labels_of(task), label_map=task.label_map)
    assert column_labels(table).tolist() == [[label in labels for label in task.labels] for labels in sets]


def test_lists_of_labels_are_recognized_even_if_no_list_repeats(tmp_path: Path, write_jsonl: WriteRows) -> None:
    sets = ["bug", "bug;billing", "billing", "refund", "bug;refund", "billing;refund", ""]
    rows = [{"body": row["text"], "topics": row["label"]} for row in labeled(sets)]
    source, target = write_jsonl("train.jsonl", rows), tmp_path / "task.yaml"
    said = call("tickets", "--input", source, "-o", target).stdout
    assert "--train, no label applies" in said  # to the row without labels
    task = Task.load(target)
    assert task.multi_label and task.labels == ("billing", "bug", "refund") and task.columns["label"] == "topics"


def test_a_decimal_comma_does_not_make_lists(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source, target = write_jsonl("train.jsonl", labeled(["1", "1,5", "2", "2,5", "5"] * 3)), tmp_path / "task.yaml"
    call("stars", "--input", source, "-o", target)
    task = Task.load(target)
    assert not task.multi_label and set(task.labels) == {"1", "1,5", "2", "2,5", "5"}


def test_labels_with_a_comma_of_their_own_stay_whole(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source, target = write_jsonl("train.jsonl", labeled(["arts, music", "sports"] * 5)), tmp_path / "task.yaml"
    call("news", "--input", source, "-o", target)
    assert Task.load(target).labels == ("arts, music", "sports")


def test_without_a_model_the_command_says_that_the_words_are_guesses(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["a", "b"] * 3))
    said = call("x", "--input", source, "-o", tmp_path / "task.yaml").stderr
    assert "guesses" in said and "-m MODEL" in said
    said = failure("x", "--input", source, "--unlabeled", source, "-o", tmp_path / "other.yaml")
    assert "--unlabeled" in said and "-m" in said


def test_with_a_model_the_command_says_how_many_labels_had_too_few_texts(
    tmp_path: Path, write_jsonl: WriteRows, tiny_model: Path
) -> None:
    source = write_jsonl("train.jsonl", labeled(["sports"] * 4 + ["world"] * 4 + ["business"]))
    how = ["-m", tiny_model, "--max-length", 64, "-q"]
    said = call("x", "--input", source, *how, "-o", tmp_path / "task.yaml").stderr
    assert "1 of 3 labels, such as 'business', had too few texts" in said and "descriptions:" in said
    source = write_jsonl("more.jsonl", labeled(["sports", "world"] * 4))
    assert "too few" not in call("x", "--input", source, *how, "-o", tmp_path / "other.yaml").stderr


def test_numbers_as_labels_are_sorted_by_value_and_their_words_are_marked_as_guesses(
    tmp_path: Path, write_jsonl: WriteRows
) -> None:
    source = write_jsonl("stars.jsonl", labeled([10, 9, 2, 1] * 3, label="stars"))
    made = write_new_task("stars", str(source), tmp_path / "task.yaml")
    assert made.labels == ("1", "2", "9", "10")
    written = (tmp_path / "task.yaml").read_text()
    assert written.count("# a guess") == 4 and "# ordered: true" in written and "hierarchy" not in written


def test_labels_that_look_like_a_hierarchy_are_pointed_out(tmp_path: Path, write_jsonl: WriteRows) -> None:
    for labels, expected in (["bank/card", "bank/loan", "travel"], True), (["n/a", "and/or", "travel"], False):
        source = write_jsonl("train.jsonl", labeled(labels * 3))
        write_new_task("x", str(source), tmp_path / "task.yaml", NewTaskOptions(force=True))
        assert ("# hierarchy: true" in (tmp_path / "task.yaml").read_text()) == expected


def test_named_columns_take_precedence_over_guesses(tmp_path: Path, write_jsonl: WriteRows) -> None:
    rows = [row | {"tone": "warm" if i % 3 else "cold"} for i, row in enumerate(labeled(["a", "b"] * 6))]
    source = write_jsonl("train.jsonl", rows)
    made = write_new_task("tone", str(source), tmp_path / "task.yaml", NewTaskOptions(["text"], "tone"))
    assert (made.labels, made.columns) == (("cold", "warm"), {"label": "tone"})


def test_class_names_of_a_file_keep_their_order(tmp_path: Path) -> None:
    import datasets

    kinds = datasets.ClassLabel(names=["zebra", "ant", "mole"])
    features = datasets.Features({"text": datasets.Value("string"), "kind": kinds})
    rows = {"text": SENTENCES, "kind": [0, 1, 0, 1, 0, 1]}
    source = tmp_path / "train.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(source)
    made = write_new_task("animals", str(source), tmp_path / "task.yaml")
    assert made.labels == ("zebra", "ant", "mole")
    few_path, few_rows = tmp_path / "few.parquet", DrawOptions(examples=2)
    draw_file(
        Task.load(tmp_path / "task.yaml"), str(source), few_path, few_rows, table=TableOptions(columns=made.columns)
    )
    few = datasets.Dataset.from_parquet(str(few_path), cache_dir=str(tmp_path))
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


def test_labels_and_columns_that_look_like_syntax_are_plain_text(tmp_path: Path, write_jsonl: WriteRows) -> None:
    text, label = "{mask}: \n!!python", " = la bel: #"
    source = write_jsonl("train.jsonl", labeled([x for x in HOSTILE if x.strip()] * 3, text, label))
    made = write_new_task("n: {a}\n# b", str(source), tmp_path / "task.yaml", NewTaskOptions([text], label))
    task = Task.load(tmp_path / "task.yaml")
    assert task.name == "n: {a}\n# b"
    assert set(task.labels) == {x for x in HOSTILE if x.strip()}
    assert made.columns == {task.fields[0]: text, "label": label}
    assert len(read_table(source, task.fields, labels=task.labels, columns=made.columns)) == 3 * len(task.labels)


# Names may be any text that UTF-8 can encode and that is not blank.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
LABELS = st.lists(NAMES | st.sampled_from(HOSTILE).filter(str.strip), min_size=2, max_size=8, unique=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, text=NAMES, label=NAMES, labels=LABELS)
@example(name="0", text="0\U0002f800", label="0", labels=["0", "00"])  # a character that NFC replaces
def test_any_names_give_a_task_that_reads_its_data(
    tmp_path: Path, name: str, text: str, label: str, labels: list[str]
) -> None:
    if text == label or "id" in (text, label):
        return
    source = tmp_path / "train.jsonl"
    rows = labeled(labels * 2, text, label)
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    target = tmp_path / "task.yaml"
    made = write_new_task(name, str(source), target, NewTaskOptions([text], label, force=True))
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
def test_fields_are_valid_and_unique_names(columns: list[str]) -> None:
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
def test_words_are_unused_parts_of_the_labels(labels: list[str], words: list[str]) -> None:
    assert list(guess_words(labels).words.values()) == words


def test_a_column_with_too_many_values_is_not_taken_for_labels(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled([f"l{i}" for i in range(MOST_LABELS + 1)]))
    said = failure("x", "--input", source, "-o", tmp_path / "task.yaml")
    assert "'label'" in said and f"more than {MOST_LABELS}" in said and "--label" in said
    just = write_jsonl("just.jsonl", labeled([f"l{i}" for i in range(MOST_LABELS)]))
    assert len(write_new_task("x", str(just), tmp_path / "task.yaml").labels) == MOST_LABELS


BAD = {
    "empty": (b"", "train.jsonl"),
    "cut": (b'{"text": "a b c", "label": "x"}\n{"text": "d', "train.jsonl:2"),
    "not UTF-8": (b'{"text": "\xff", "label": "x"}\n', "UTF-8"),
    "arrays": (b'["a"]\n', "train.jsonl:1"),
    "one label": (b'{"text": "a b c", "label": "x"}\n' * 3, "'x'"),
    "no text": (b'{"label": "x"}\n{"label": "y"}\n', "--text"),
    "no label": (b'{"text": "a b c"}\n{"text": "d e f"}\n', "--label"),
    "no label at all": (b'{"text": "a b c"}\n{"text": "d e f"}\n', "pet tasks yelp > mine.yaml"),
    "half a character": (
        b'{"text": "a b c", "label": "x"}\n{"text": "d e f", "label": "\\ud800"}\n',
        "train.jsonl:2",
    ),
    "half a column": (b'{"text": "a b", "\\ud800": "x"}\n{"text": "d e", "\\ud800": "y"}\n', "error"),
    "long label": (
        b'{"text": "a", "label": "%s"}\n{"text": "b", "label": "y"}\n' % (b"x" * 101),
        "101",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_gives_one_message_and_no_file(kind: str, tmp_path: Path) -> None:
    content, message = BAD[kind]
    source = tmp_path / "train.jsonl"
    source.write_bytes(content)
    assert message in failure("x", "--input", source, "-o", tmp_path / "task.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


def test_all_unknown_columns_are_named(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["a", "b"]))
    said = failure("x", "--input", source, "--text", "Text", "--label", "nope", "-o", tmp_path / "t.yaml")
    assert "--text Text" in said and "'text'" in said and "--label nope" in said


def test_an_existing_file_is_replaced_only_with_force(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["a", "b"]))
    target = tmp_path / "task.yaml"
    target.write_text("mine")
    said = failure("x", "--input", source, "-o", target)
    assert str(target) in said and "--force" in said
    assert target.read_text() == "mine"
    assert call("x", "--input", source, "-o", target, "--force").exit_code == 0
    assert Task.load(target).name == "x"


def test_the_output_must_be_yaml_and_the_name_not_blank(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["a", "b"]))
    assert ".yaml" in failure("x", "--input", source, "-o", tmp_path / "task.json")
    assert "NAME" in failure(" ", "--input", source, "-o", tmp_path / "task.yaml")


@pytest.mark.parametrize("missing", ["null", '" "'])
def test_rows_without_a_label_are_counted_and_left_to_data(missing: str, tmp_path: Path) -> None:
    source = tmp_path / "all.jsonl"
    rows = ['{"text": "a b", "label": "x"}', '{"text": "d e", "label": "y"}', f'{{"text": "g", "label": {missing}}}']
    source.write_text("\n".join(rows), encoding="utf-8")
    made = call("x", "--input", source, "-o", tmp_path / "task.yaml")
    assert made.exit_code == 0, made.output
    assert "1 row has no label" in made.stdout and f"--data {source}" in made.stdout
    assert Task.load(tmp_path / "task.yaml").labels == ("x", "y")


def test_named_columns_go_into_the_task_file(tmp_path: Path, write_jsonl: WriteRows) -> None:
    rows = [{"no": f"n{i}", "text": f"Title {i}", "body": row["text"], "stars": row["label"]} for i, row in
            enumerate(labeled(["one", "two"] * 4))]  # fmt: skip
    source = write_jsonl("train.jsonl", rows)
    target = tmp_path / "task.yaml"
    named = ["--column", "text=body", "--column", "label=stars", "--column", "id=no"]
    result = call("reviews", "--input", source, *named, "-o", target)
    assert result.exit_code == 0, result.output
    task = Task.load(target)
    assert task.fields == ("text",) and task.labels == ("one", "two")
    assert {name: str(column) for name, column in task.columns.items()} == {
        "text": "body",
        "label": "stars",
        "id": "no",
    }
    table = read_table(str(source), task.fields, labels=task.labels, columns=task.columns)
    assert table[0]["text"] == rows[0]["body"] and table[0]["id"] == "n0"
    # a column whose own name is given to another gets a new one
    assert field_names(["text", "body"], {"body": "text"}) == {"text_2": "text", "text": "body"}
    message = failure("reviews", "--input", source, "--column", "mask=body", "-o", tmp_path / "no.yaml")
    assert "mask" in message and "--column" in message and not (tmp_path / "no.yaml").exists()


def test_ids_that_repeat_are_left_out_on_request(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", [{"id": i // 2} | row for i, row in enumerate(labeled(["a", "b"] * 3))])
    target = tmp_path / "task.yaml"
    said = failure("x", "--input", source, "-o", target)
    assert "input: " in said and "--column id=" in said
    result = call("x", "--input", source, "--column", "id=", "-o", target)
    assert result.exit_code == 0, result.output
    assert f"--train {source} --column id=" in result.stdout
    assert "id" not in Task.load(target).columns


def test_named_columns_must_exist_and_serve_one_field(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source, target = write_jsonl("train.jsonl", labeled(["a", "b"] * 3)), tmp_path / "task.yaml"
    said = failure("x", "--input", source, "--column", "id=number", "-o", target)
    assert "id=number" in said and "'text', 'label'" in said
    said = failure("x", "--input", source, "--column", "body=text", "--column", "title=text", "-o", target)
    assert "title=text" in said and "'body'" in said
    assert not target.exists()


def test_whole_numbers_as_labels_have_no_fraction(tmp_path: Path) -> None:
    source, target = tmp_path / "train.csv", tmp_path / "task.yaml"
    values = ["10.0", "9.0", "", "2.0"] * 2  # as pandas writes numbers if some cells are empty
    source.write_text("text,stars\n" + "".join(f"{SENTENCES[i % 6]} {i},{x}\n" for i, x in enumerate(values)))
    assert call("stars", "--input", source, "-o", target).exit_code == 0
    task = Task.load(target)
    assert task.labels == ("2", "9", "10") and "# ordered: true" in target.read_text()
    table = read_table(f"labeled:{source}", task.fields, labels=task.labels, columns=task.columns)
    assert table["label"] == [2, 1, 0] * 2


@pytest.mark.parametrize("word", ["NaN", "NA", "N/A", "#N/A", "n.a.", "null", "None", "-", "?"])
def test_labels_that_may_be_missing_ones_are_pointed_out(tmp_path: Path, word: str) -> None:
    source = tmp_path / "train.csv"
    values = [word, "bug", "login"] * 3
    source.write_text("text,topic\n" + "".join(f"{SENTENCES[i % 6]} {i},{x}\n" for i, x in enumerate(values)))
    result = call("x", "--input", source, "-o", tmp_path / "task.yaml")
    (warning,) = (line for line in result.stderr.splitlines() if "missing" in line)
    assert all(
        part in warning for part in ("warning", str(source), "'topic'", f"'{word}' in 3 rows", "empty these cells")
    )
    assert "'bug'" not in result.stderr
    assert word in Task.load(tmp_path / "task.yaml").labels  # what is read stays the same


def test_several_words_for_a_missing_label_are_in_one_warning(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["NaN", "bug", "login", "bug", "login", "null", "null", "C#", "non-e"]))
    warnings = [
        line
        for line in call("x", "--input", source, "-o", tmp_path / "t.yaml").stderr.splitlines()
        if "missing" in line
    ]
    assert len(warnings) == 1 and "'NaN' in 1 row, 'null' in 2 rows" in warnings[0] and "'label'" in warnings[0]
    assert "C#" not in warnings[0] and "non-e" not in warnings[0]


def test_a_row_in_place_of_the_names_is_pointed_out(tmp_path: Path) -> None:
    source = tmp_path / "train.csv"
    source.write_text("".join(f"{SENTENCES[i % 6]} {i},{'bug' if i % 2 else 'login'}\n" for i in range(8)))
    result = call("x", "--input", source, "-o", tmp_path / "task.yaml")
    assert result.exit_code == 0 and "first line" in result.stderr and "'login'" in result.stderr


def test_values_inside_objects_are_left_to_the_task_file(tmp_path: Path, write_jsonl: WriteRows) -> None:
    rows = [{"text": row["text"], "label": {"name": row["label"]}} for row in labeled(["a", "b"] * 3)]
    source, target = write_jsonl("train.jsonl", rows), tmp_path / "task.yaml"
    for options in ([], ["--label", "label.name"]):
        said = failure("x", "--input", source, *options, "-o", target)
        assert "objects" in said and "`columns` in a task file" in said


def test_labels_that_look_like_lists_of_python_are_pointed_out(tmp_path: Path, write_jsonl: WriteRows) -> None:
    source = write_jsonl("train.jsonl", labeled(["['a', 'b']", "['a']"] * 3))
    result = call("x", "--input", source, "-o", tmp_path / "task.yaml")
    assert result.exit_code == 0 and "look like lists" in result.stderr
