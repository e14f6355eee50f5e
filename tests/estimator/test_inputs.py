"""The same rows give the same labels and texts, or the same mistake, from every file and every object in memory."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

import pet.data.read
from pet.data.memory import table_of
from pet.data.read import iter_table, read_table
from pet.data.source import Unsound
from pet.data.targets import class_values, label_positions
from pet.data.values import as_text, is_unicode
from pet.errors import PetError
from pet.estimator.inputs import target_values
from pet.task.usual import UsualColumn

Columns = dict[str, list[Any]]
TEXTS = ["a b", "", "c\nd", "é"]


def write_csv(columns: Columns, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",", quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_jsonl(columns: Columns, path: Path) -> None:
    rows = zip(*columns.values(), strict=True)
    path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows), encoding="utf-8")


def write_parquet(columns: Columns, path: Path) -> None:
    pq.write_table(pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()}), path)


FILES: dict[str, Callable[[Columns, Path], None]] = {
    ".csv": write_csv,
    ".tsv": write_csv,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
}


def frame(kind: str) -> Callable[[Columns], Any]:
    return lambda columns: pd.DataFrame({name: pd.Series(values, dtype=kind) for name, values in columns.items()})


MEMORY: dict[str, Callable[[Columns], Any]] = {
    "data frame": pd.DataFrame,
    "data frame of objects": frame("object"),
    "data frame of categories": frame("category"),
    "mapping of columns": dict,
    "mapping of arrays": lambda columns: {name: np.array(values) for name, values in columns.items()},
    "list of mappings": lambda columns: [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ],
    "Arrow table": lambda columns: pa.table({n: pa.array(v, from_pandas=True) for n, v in columns.items()}),
    "data set": lambda columns: datasets.Dataset(
        pa.table({n: pa.array(v, from_pandas=True) for n, v in columns.items()})
    ),
}
READ = "read_table of a "
SOURCES = [*FILES, *MEMORY, *(READ + source for source in MEMORY)]


def column(table: Any, name: str) -> Any:
    return [row[name] for row in table] if isinstance(table, list) else table[name]


def read(source: str, columns: Columns, labels: list[str], folder: Path) -> datasets.Dataset:
    """The table that a source gives, with fields and labels checked."""
    fields = [name for name in columns if name != "label"]
    if source in FILES:
        FILES[source](columns, folder / f"x{source}")
        return read_table(folder / f"x{source}", fields, labels=labels, name="X")
    if source.startswith(READ):
        return read_table(MEMORY[source.removeprefix(READ)](columns), fields, labels=labels, name="X")
    table = MEMORY[source](columns)
    return table_of(table, fields, labels=label_positions(target_values(column(table, "label")), labels, {}))


def mistake(source: str, columns: Columns, labels: list[str], folder: Path) -> str:
    with pytest.raises((PetError, ValueError)) as caught:
        read(source, columns, labels, folder)
    return str(caught.value)


# Labels


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


SPELLINGS = [
    pytest.param(["bad", "good"], ["good", "bad", "good", "bad"], id="text"),
    pytest.param(["0", "1"], [1, 0, 1, 0], id="integers"),
    pytest.param(["0", "1"], [1.0, 0.0, 1.0, 0.0], id="whole floats"),
    pytest.param(["0.0", "1.0"], [1, 0, 1, 0], id="integers for labels that are floats"),
    pytest.param(["0", "1"], ["1.0", "0", "1", "0.0"], id="texts of numbers"),
    pytest.param(["-1", "1"], [1.0, -1.0, 1.0, -1.0], id="negative"),
    pytest.param(["false", "true"], [True, False, True, False], id="truth values"),
    pytest.param(["False", "True"], [True, False, True, False], id="truth values as Python writes them"),
    pytest.param(["False", "True"], ["true", "FALSE", "TRUE", "false"], id="texts of truth values"),
    pytest.param(["sévère", "éloge"], [decomposed("éloge"), "sévère", "éloge", decomposed("sévère")], id="decomposed"),
    pytest.param([decomposed("sévère"), "éloge"], ["éloge", "sévère", "éloge", "sévère"], id="decomposed in the task"),
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("labels", "values"), SPELLINGS)
def test_every_source_gives_the_same_labels_and_texts(
    source: str, labels: list[str], values: list[Any], tmp_path: Path
) -> None:
    table = read(source, {"text": TEXTS, "label": values}, labels, tmp_path)
    assert table["text"][:] == TEXTS
    assert table["label"][:] == [1, 0, 1, 0]


@pytest.mark.parametrize("source", FILES)
@pytest.mark.parametrize(("labels", "values"), SPELLINGS)
def test_the_row_by_row_reader_finds_the_same_labels(
    source: str, labels: list[str], values: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pet.data.read, "fast_batches", unsound)
    assert read(source, {"text": TEXTS, "label": values}, labels, tmp_path)["label"][:] == [1, 0, 1, 0]


def unsound(*_: object) -> Iterator[Any]:
    raise Unsound("test")
    yield


@pytest.mark.parametrize(
    "kind", ["int8", "Int64", "float32", "Float64", "category", "object", "string", "int64[pyarrow]", "double[pyarrow]"]
)
def test_numbers_of_every_pandas_type_are_labels(kind: str) -> None:
    values = pd.Series(["1", "0", "1"] if kind == "string" else [1, 0, 1], dtype=kind)
    assert label_positions(target_values(values), ["0", "1"], {}).tolist() == [1, 0, 1]
    assert label_positions(target_values(pa.array(values)), ["0", "1"], {}).tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", ["bool", "boolean", "object", "category", "bool[pyarrow]"])
def test_truth_values_of_every_pandas_type_are_labels(kind: str) -> None:
    values = pd.Series([True, False, True], dtype=kind)
    assert label_positions(target_values(values), ["false", "true"], {}).tolist() == [1, 0, 1]


def test_an_exact_label_comes_before_one_that_means_the_same() -> None:
    mapped = {"1.0": "good", "1": "bad", "x": "bad"}
    assert label_positions(["1.0", "1", "x"], ["bad", "good"], mapped).tolist() == [1, 0, 0]
    with pytest.raises(PetError, match=r"'1\.00'"):
        label_positions(["1.00"], ["bad", "good"], mapped)  # it could be either


@pytest.mark.parametrize(
    ("labels", "y"),
    [
        (["0", "1"], np.array([1.0, 0.0, 1.0])),
        (["0", "1"], np.array([1, 0, 1], dtype=np.uint8)),
        (["0", "1", "2"], np.array([1.0, 0.0, 1.0], dtype=np.float32)),
        (["0", "1"], [1, 0.0, 1]),
        (["0", "1"], pd.Series([1, 0, 1], dtype="Int64")),
        (["0", "1"], pd.Series([1, 0, 1], dtype="Float64")),
        (["0", "1"], pd.Series([1, 0, 1], dtype="category")),
        (["0", "1"], pd.Series([1, 0, 1], dtype="object").tolist()),
        (["false", "true"], pd.Series([True, False, True], dtype="boolean")),
        (["False", "True"], pd.Series([True, False, True], dtype="boolean")),
        (["a", "b"], pd.Series(["b", "a", "b"], dtype="string")),
        (["a", "b"], pd.Series(["b", "a", "b"], dtype="category")),
        (["a", "b"], pd.Series(["b", "a", "b"], dtype="object")),
        (["a", "\u00e9"], np.array(["e\u0301", "a", "e\u0301"])),
    ],
)
def test_predictions_have_a_type_that_metrics_take_together_with_y(labels: list[str], y: Any) -> None:
    values = target_values(y)
    classes = class_values(labels, {}, values)
    predicted = classes[label_positions(values, labels, {})]
    assert f1_score(y, predicted, average="macro") == accuracy_score(y, predicted) == 1
    assert classes.dtype != object


HIDDEN = [
    pytest.param("good ", "SPACE", id="trailing space"),
    pytest.param("\u00a0good", "U+00A0", id="no-break space"),
    pytest.param("go\u200bod", "U+200B", id="zero-width space"),
    pytest.param("\ufeffgood", "U+FEFF", id="byte order mark"),
    pytest.param("g\u043eod", "U+043E CYRILLIC SMALL LETTER O", id="another alphabet"),
    pytest.param("GOOD", "", id="case"),
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("label", "shown"), HIDDEN)
def test_a_difference_that_is_hard_to_see_is_shown(source: str, label: str, shown: str, tmp_path: Path) -> None:
    message = mistake(source, {"text": ["a", "b"], "label": ["bad", label]}, ["bad", "good"], tmp_path)
    assert "did you mean 'good'?" in message and shown in message


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_a_missing_label_is_refused(source: str, missing: Any, tmp_path: Path) -> None:
    message = mistake(source, {"text": ["a", "b"], "label": ["bad", missing]}, ["bad", "good"], tmp_path)
    assert "label" in message and "missing" in message


@pytest.mark.parametrize(
    ("y", "named"),
    [
        (pd.Series([1, None], dtype="Int64"), ["1 of 2", "missing", "unlabeled="]),
        (pd.Series([True, None], dtype="boolean"), ["1 of 2", "missing"]),
        (pd.Series([1, None]), ["1 of 2", "missing"]),
        (pd.Series(["1", None], dtype="category"), ["1 of 2", "missing"]),
        (pd.to_datetime(pd.Series(["2020-01-01", None])), ["1 of 2", "missing"]),
        (["1", None, None, "0"], ["2 of 4", "1, 2"]),
        (np.array([b"1", b"0"]), ["2 of 2", "bytes", "decode"]),
        ([["1"], ["0", "1"]], ["array"]),
        ([0.5, 1.0], ["continuous"]),
        ("1", ["str", "list"]),
        ({"1": 2}, ["dict", "list"]),
        ({"0", "1"}, ["set", "list"]),
    ],
)
def test_y_that_is_no_labels_is_refused(y: Any, named: list[str]) -> None:
    with pytest.raises((PetError, ValueError)) as caught:
        label_positions(target_values(y), ["0", "1"], {})
    assert all(part in str(caught.value) for part in named), str(caught.value)


# Texts


VALUES = [
    pytest.param([1, 2], ["1", "2"], id="integers"),
    pytest.param([1.0, 2.5], ["1.0", "2.5"], id="floats"),
    pytest.param([True, False], ["true", "false"], id="truth values"),
    pytest.param(["nan", "NA"], ["nan", "NA"], id="texts that other programs take for missing"),
    pytest.param(["01", "1.0"], ["01", "1.0"], id="texts of numbers"),
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("values", "texts"), VALUES)
def test_every_source_gives_values_the_same_text(
    source: str, values: list[Any], texts: list[str], tmp_path: Path
) -> None:
    table = read(source, {"text": values, "label": ["bad", "good"]}, ["bad", "good"], tmp_path)
    found = table["text"][:]
    assert found == texts or (source in (".csv", ".tsv") and found == [str(value) for value in values])


@pytest.mark.parametrize("kind", ["s", "ms", "us", "ns"])
def test_dates_are_text_in_every_unit(kind: str, tmp_path: Path) -> None:
    days = np.array(["2020-01-01", "2021-12-31"], dtype=f"datetime64[{kind}]")
    expected = ["2020-01-01 00:00:00", "2021-12-31 00:00:00"]
    pq.write_table(pa.table({"text": pa.array(days)}), tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet", ["text"])["text"][:] == expected
    for form in (days, list(days), pd.Series(days), pd.DataFrame({"text": days}), pa.table({"text": pa.array(days)})):
        assert table_of(form, ["text"])["text"][:] == expected


@pytest.mark.parametrize("source", [source for source in SOURCES if source not in (".csv", ".tsv")])
@pytest.mark.parametrize(
    ("values", "kind"), [(["a", None], "missing"), ([1.0, float("nan")], "missing"), ([["a"], ["b"]], "an array")]
)
def test_a_value_without_text_is_refused(source: str, values: list[Any], kind: str, tmp_path: Path) -> None:
    if source.endswith("data frame of categories") and kind == "an array":
        pytest.skip("pandas does not make categories of lists")
    message = mistake(source, {"text": values, "label": ["bad", "good"]}, ["bad", "good"], tmp_path)
    assert f"field 'text' is {kind}" in message


def test_arrays_of_strings_and_series_of_every_type_are_texts() -> None:
    forms: list[Any] = [np.array(["a", "b"]), np.array(["a", "b"], dtype=object), pa.array(["a", "b"])]
    forms += [np.array(["a", "b"], dtype=np.dtypes.StringDType())] if hasattr(np.dtypes, "StringDType") else []
    forms += [pd.Series(["a", "b"], dtype=kind) for kind in ("object", "string", "category")]
    forms += [pa.chunked_array([["a"], ["b"]]), pd.Index(["a", "b"]), (text for text in "ab")]
    for form in forms:
        assert table_of(form, ["text"])["text"][:] == ["a", "b"]


# Columns


def twice(columns: Columns, name: str) -> list[Any]:
    """Objects in memory that have one of the columns twice."""
    data = pd.DataFrame(columns)
    arrow = pa.table(columns)
    return [
        pd.concat([data, data[[name]]], axis=1),
        arrow.append_column(name, arrow[name]),
        pa.RecordBatch.from_arrays([pa.array(columns[name])] * 2, names=[name, name]),
        {**columns, decomposed(name): columns[name]},
    ]


def test_a_column_twice_in_memory_is_refused() -> None:
    columns = {"é": ["a", "b"], "other": ["c", "d"]}
    for form in twice(columns, "é"):
        with pytest.raises(PetError, match="X: has the column 'é' twice"):
            table_of(form, ["é"])
        with pytest.raises(PetError, match=r"X: .*has the column 'é' twice"):
            read_table(form, ["é"], name="X")
    for form in twice(columns, "other")[:2]:
        assert table_of(form, ["é"])["é"][:] == ["a", "b"]  # a column that nobody reads


@pytest.mark.parametrize("name", ["text", "label", "id"])
def test_a_column_twice_in_a_file_is_refused(tmp_path: Path, name: str) -> None:
    row = {"id": "1", "text": "a", "label": "bad"}
    header, cells = [*row, name], [*row.values(), row[name]]
    (tmp_path / "x.csv").write_text(",".join(header) + "\n" + ",".join(cells) + "\n", encoding="utf-8")
    (tmp_path / "x.tsv").write_text("\t".join(header) + "\n" + "\t".join(cells) + "\n", encoding="utf-8")
    pairs = ", ".join(f'"{key}": "{value}"' for key, value in zip(header, cells, strict=True))
    (tmp_path / "x.jsonl").write_text("{" + pairs + "}\n", encoding="utf-8")
    pq.write_table(pa.Table.from_arrays([pa.array([cell]) for cell in cells], names=header), tmp_path / "x.parquet")
    for suffix in FILES:
        with pytest.raises(PetError, match=f"{name}' twice"):
            read_table(tmp_path / f"x{suffix}", ["text"], labels=["bad", "good"])


def test_columns_twice_that_nobody_reads_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,n,n,,\na,1,2,,\n", encoding="utf-8")
    assert read_table(tmp_path / "x.csv", ["text"])["text"][:] == ["a"]


@pytest.mark.filterwarnings("ignore:.*accents:pet.data.table_format.TableNotice")
@pytest.mark.parametrize("source", SOURCES)
def test_columns_are_found_with_accents_composed_or_decomposed(source: str, tmp_path: Path) -> None:
    columns = {decomposed("résumé"): ["a", "b"], "label": ["x", "y"]}
    if source in FILES:
        FILES[source](columns, tmp_path / f"x{source}")
        assert read_table(tmp_path / f"x{source}", ["résumé"])["résumé"][:] == ["a", "b"]
    elif source.startswith(READ):
        assert read_table(MEMORY[source.removeprefix(READ)](columns), ["résumé"])["résumé"][:] == ["a", "b"]
    else:
        assert table_of(MEMORY[source](columns), ["résumé"])["résumé"][:] == ["a", "b"]


@pytest.mark.parametrize("source", ["mapping of columns", "data frame", "Arrow table", "list of mappings", "data set"])
@pytest.mark.parametrize("name", ["Text", "text ", "text\u200b", "\ufefftext"])
def test_a_similar_column_is_named(source: str, name: str) -> None:
    with pytest.raises(PetError) as caught:
        table_of(MEMORY[source]({name: ["a"], "other": ["b"]}), ["text"])
    assert "'text'" in str(caught.value)
    assert source == "list of mappings" or "did you mean" in str(caught.value)


def test_a_mapping_of_columns_needs_columns_of_the_same_length() -> None:
    with pytest.raises(PetError, match=r"'title' has 2, 'text' has 1"):
        table_of({"title": ["a", "b"], "text": ["c"]}, ["title", "text"])
    for form in ({"text": "a"}, {"text": 1}):
        with pytest.raises(PetError, match="X is a dict with one value for 'text'"):
            table_of(form, ["text"])
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"]})})
    with pytest.raises(PetError, match=r"DatasetDict of several tables.*'train'"):
        table_of(splits, ["text"])


def test_values_with_names_are_taken_by_name() -> None:
    from collections import namedtuple

    fields = ["title", "text"]
    Row = namedtuple("Row", ["text", "title"])
    array = np.array([("c", "a"), ("d", "b")], dtype=[("text", "U1"), ("title", "U1")])
    for form in ([Row("c", "a"), Row("d", "b")], array):
        assert table_of(form, fields).to_list() == [
            {"id": "0", "title": "a", "text": "c"},
            {"id": "1", "title": "b", "text": "d"},
        ]


def test_a_set_of_texts_is_refused_because_it_has_no_order() -> None:
    with pytest.raises(PetError, match=r"X is a set.*order"):
        table_of({"a", "b"}, ["text"])


def test_data_sets_that_are_formatted_selected_or_streamed_are_texts() -> None:
    table = datasets.Dataset.from_dict({"n": [1, 2, 3], "text": ["a", "b", "c"]})
    assert table_of(table.with_format("numpy"), ["text"])["text"][:] == ["a", "b", "c"]
    assert table_of(table.select([2, 0]), ["text"])["text"][:] == ["c", "a"]
    assert table_of(table.to_iterable_dataset(), ["text"])["text"][:] == ["a", "b", "c"]


def test_masked_values_are_missing() -> None:
    with pytest.raises(PetError, match=r"row 1 .*missing"):
        table_of(np.ma.array(["a", "b"], mask=[False, True]), ["text"])
    with pytest.raises(PetError, match="1 of 2 labels are missing"):
        target_values(np.ma.array([1, 0], mask=[False, True]))


def test_a_data_set_gives_the_names_of_its_classes() -> None:
    kind = datasets.Features({"text": datasets.ClassLabel(names=["no", "yes"])})
    assert table_of(datasets.Dataset.from_dict({"text": [1, 0]}, features=kind), ["text"])["text"][:] == ["yes", "no"]


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,text\n1,a\n,b\n", encoding="utf-8")
    with pytest.raises(PetError, match=r"x\.csv:3: id is empty.*--column id="):
        read_table(tmp_path / "x.csv", ["text"])


@pytest.mark.parametrize("source", MEMORY)
def test_a_table_in_memory_is_read_with_ids_and_other_names(source: str) -> None:
    columns = {"nr": [7, 8], "review": ["a", "b"], "stars": [1, 0]}
    names = {"id": "nr", "text": "review", "label": "stars"}
    table = read_table(MEMORY[source](columns), ["text"], labels=["0", "1"], columns=names)
    assert table.to_list() == [{"id": "7", "text": "a", "label": 1}, {"id": "8", "text": "b", "label": 0}]
    with pytest.raises(PetError, match=r"row 1 .*same id '7' as row 0"):
        read_table(MEMORY[source]({**columns, "nr": [7, 7]}), ["text"], columns=names)


@pytest.mark.parametrize(
    "source",
    [
        {"title": ["a"], "body": ["b"]},
        pd.DataFrame({"body": ["b"], "title": ["a"], "headline": ["x"]}),
        pa.table({"title": ["a"], "body": ["b"]}),
        [{"body": "b", "title": "a"}],
        [{"body": "b", "headline": "a"}],
        pd.DataFrame({"headline": ["a"], "body": ["b"]}),
        [("a", "b")],
    ],
)
def test_columns_of_the_task_are_found_as_in_files(source: Any) -> None:
    table = table_of(source, ["headline", "body"], columns={"headline": UsualColumn("title"), "label": "topic"})
    assert table.to_list() == [{"id": "0", "headline": "a", "body": "b"}]


@pytest.mark.parametrize("table", [None, 3, [], ["a"], [{"text": "a"}, "b"], {"text": []}, pd.DataFrame({"text": []})])
def test_what_is_no_table_is_refused(table: Any) -> None:
    with pytest.raises(PetError, match=r"^train: "):
        read_table(table, ["text"], name="train")


# Anything


def objects(values: list[Any]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


VALUES_OF_ANY_KIND = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.integers(-3, 3),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.binary(max_size=2),
    st.lists(st.text(max_size=1), max_size=2),
    st.sampled_from(
        [pd.NA, pd.NaT, np.float32(1), np.str_("a"), Decimal("NaN"), np.datetime64("NaT"), 1j, object(), {}]
    ),
)
FORMS: list[Callable[[list[Any]], Any]] = [
    list,
    objects,
    lambda values: pd.Series(values, dtype=object),
    lambda values: pd.DataFrame({"text": objects(values)}),
    lambda values: pd.concat(
        [pd.DataFrame({"other": objects(values)}), pd.DataFrame({"text": objects(values)})], axis=1
    ),
    lambda values: {"text": values},
    lambda values: [{"text": value} for value in values],
    lambda values: [(value,) for value in values],
]


@settings(max_examples=150, deadline=None)
@given(values=st.lists(VALUES_OF_ANY_KIND, min_size=1, max_size=4), form=st.sampled_from(FORMS))
def test_every_row_gives_its_text_or_a_message(values: list[Any], form: Callable[[list[Any]], Any]) -> None:
    expected = [as_text(value) for value in values]
    try:
        table = table_of(form(values), ["text"])
    except PetError:
        # A list is a row of several values in a list of rows. Otherwise a value without text is the mistake.
        assert None in expected or not all(map(is_unicode, filter(None, expected)))
        return
    if not any(isinstance(value, list) for value in values):
        assert table["text"][:] == expected
    assert len(table) == len(values)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # of scikit-learn, for infinity
@settings(max_examples=150, deadline=None)
@given(values=st.lists(VALUES_OF_ANY_KIND, min_size=1, max_size=4), labels=st.sampled_from([["a", "b"], ["0", "1"]]))
def test_every_y_gives_a_label_each_or_a_message(values: list[Any], labels: list[str]) -> None:
    try:
        positions = label_positions(target_values(values), labels, {})
    except (PetError, ValueError):
        return
    texts = [str(int(value)) if isinstance(value, (float, np.floating)) else str(value) for value in values]
    assert [labels[position] for position in positions] == texts


def test_functions_that_need_a_file_say_so() -> None:
    with pytest.raises(PetError, match=r"input: is a DataFrame.*file"):
        iter_table(pd.DataFrame({"text": ["a"]}), ["text"])  # type: ignore[arg-type]
