"""CSV and TSV files are read as they were written; a stray quote never swallows rows without a word."""

from __future__ import annotations

import csv
import gzip
import io
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import pet.data.delimited
import pet.data.dialect
import pet.data.quoting
import pet.data.read
from pet.data.delimited import Dialect, split_records
from pet.data.quoting import Evidence, choose_quoting, weigh_regular
from pet.data.quoting import weigh as weigh_every_record
from pet.data.read import iter_table, read_table
from pet.data.source import Unsound
from pet.data.table_format import TableFormat, TableNotice
from pet.data.text_file import WrongText
from pet.errors import PetError

QUIET = pytest.mark.filterwarnings("ignore::pet.data.table_format.TableNotice")
LOOSE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COLUMNS = ["title", "text", "mark"]
# Many quotes, delimiters, spaces and line breaks among few letters.
ODD = st.text(st.sampled_from('""",;\t|\n\r ab\xe9\u2028\x85\ufeff'), max_size=8)
PLAIN = st.text(st.sampled_from('""" ab\xe9'), max_size=5)
DELIMITERS = st.sampled_from(",;\t|")


def _refuse(*_: object) -> Any:
    raise Unsound("test")
    yield


def _read(path: Path, columns: Sequence[str] = COLUMNS, **options: Any) -> list[list[str]]:
    """The rows of a file; the careful reader must give the same ones, and the same mistakes."""
    results: list[Any] = []
    for fast in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not fast:
                patch.setattr(pet.data.read, "fast_batches", _refuse)
            try:
                results.append([[row[name] for name in columns] for row in read_table(path, columns, **options)])
            except PetError as error:
                results.append(error.problems)
    assert results[0] == results[1]
    if results[0] and isinstance(results[0][0], str):
        raise PetError(results[0])
    rows: list[list[str]] = results[0]
    return rows


def _notice(path: Path, columns: Sequence[str] = ("text", "mark"), **options: Any) -> tuple[list[list[str]], str]:
    """The rows of a file, and what a notice says about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TableNotice)
        rows = _read(path, columns, **options)
    said = {str(warning.message) for warning in caught if warning.category is TableNotice}
    assert len(said) <= 1
    return rows, said.pop() if said else ""


def _csv(rows: Sequence[Sequence[str]], **options: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n", **options).writerows(rows)
    return text.getvalue()


# Files that programs write


@QUIET
@settings(LOOSE, max_examples=40)
@given(
    rows=st.lists(st.tuples(ODD, ODD, ODD), min_size=1, max_size=6),
    delimiter=DELIMITERS,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@example(rows=[("\t", "\n", "\t")], delimiter="\t", quoting=csv.QUOTE_MINIMAL)
@example(rows=[("a\nb", "c", "d"), ("", 'x"y', "")], delimiter=";", quoting=csv.QUOTE_MINIMAL)
def test_a_written_table_is_read_or_its_two_readings_are_named(
    tmp_path: Path, rows: list[tuple[str, str, str]], delimiter: str, quoting: int
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(_csv([COLUMNS, *rows], delimiter=delimiter, quoting=quoting).encode())
    expected = [list(row) for row in rows]
    assert _read(path, table_format=TableFormat(delimiter=delimiter, quoting="standard")) == expected
    try:
        found, notice = _notice(path, COLUMNS)
    except PetError as error:
        assert quoting == csv.QUOTE_MINIMAL and "--quoting standard" in str(error)
        assert any(f"x.csv:{line}: " in str(error) for line in range(2, 100))
    else:  # values of tabs and line breaks look more like rows than like values
        assert found == expected or (delimiter == "\t" and "--quoting standard" in notice)


@QUIET
@settings(LOOSE, max_examples=20)
@given(texts=st.lists(ODD, min_size=1, max_size=6), encoding=st.sampled_from(["utf-16", "utf-8-sig", "utf-32"]))
def test_a_table_with_one_column_is_read_in_every_marked_encoding(
    tmp_path: Path, texts: list[str], encoding: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(_csv([["text"], *([text] for text in texts)], quoting=csv.QUOTE_ALL).encode(encoding))
    assert _read(path, ["text"]) == [[text] for text in texts]


@settings(LOOSE, max_examples=300)
@given(parts=st.lists(st.sampled_from(['"', '"', ",", "\n", "\r\n", "a"]), max_size=25), quoted=st.booleans())
def test_records_are_those_of_the_csv_module_up_to_the_first_mistake(parts: list[str], quoted: bool) -> None:
    content = "".join(parts)
    lines = io.StringIO(content, newline="\n").readlines()
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    expected: list[list[str]] = []
    wrong = False
    try:
        expected += (row for row in csv.reader(lines, strict=True, quoting=quoting) if row)
    except csv.Error:
        wrong = True
    found = list(split_records(lines, Dialect(",", quoted)))
    sound = next((i for i, record in enumerate(found) if record.mistake), len(found))
    assert [record.values for record in found[: len(expected)]] == expected
    assert sound == len(expected) and wrong == (sound < len(found))


# Stray quotes


@st.composite
def _lines(draw: st.DrawFn) -> tuple[str, list[list[str]]]:
    """Lines that are one row each: some with stray quotes, some properly quoted; and the delimiter."""
    delimiter = draw(DELIMITERS)
    lines = draw(
        st.lists(
            st.tuples(st.lists(PLAIN, min_size=2, max_size=2), st.sampled_from(["raw", "raw", "quoted"])),
            min_size=1,
            max_size=8,
        )
    )
    rows = [values for values, _ in lines if any(values)]
    written = [
        delimiter.join(values)
        if how == "raw"
        else delimiter.join('"' + value.replace('"', '""') + '"' for value in values)
        for values, how in lines
        if any(values)
    ]
    return delimiter, [[delimiter.join(["text", "mark"])], written, *rows]


@QUIET
@settings(LOOSE, max_examples=100)
@given(made=_lines())
@example(made=(",", [["text,mark"], ['"a,b', 'a,b"'], ['"a', "b"], ["a", 'b"']]))
@example(made=("\t", [["text\tmark"], ['"a\tb', 'a\tb"'], ['"a', "b"], ["a", 'b"']]))
def test_a_line_is_a_row_or_the_file_is_refused(tmp_path: Path, made: tuple[str, list[list[str]]]) -> None:
    _, (header, lines, *rows) = made
    if not rows:
        return
    path = tmp_path / "x.csv"
    path.write_text("\n".join([*header, *lines]) + "\n", encoding="utf-8")
    try:
        found = _read(path, ["text", "mark"])
    except PetError as error:
        assert any(f"x.csv:{line}: " in str(error) for line in range(1, 20))
        return
    assert len(found) == len(lines)
    for values, wanted in zip(found, rows, strict=True):
        assert [value.replace('"', "") for value in values] == [value.replace('"', "") for value in wanted]


@QUIET
@settings(LOOSE, max_examples=100)
@given(content=st.text(st.sampled_from('""",;\n\n\rab'), max_size=30), width=st.integers(1, 3))
def test_both_readers_agree_on_whatever_a_file_contains(tmp_path: Path, content: str, width: int) -> None:
    path = tmp_path / "x.csv"
    path.write_text(",".join(COLUMNS[:width]) + "\n" + content, encoding="utf-8", newline="\n")
    try:
        _read(path, COLUMNS[:width])
    except PetError as error:
        assert "x.csv" in str(error)


SWALLOWED = ['"Good start', "bad", "so so", "fine", "well", 'the end"']


@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_six_lines_are_six_rows_or_refused(tmp_path: Path, suffix: str) -> None:
    delimiter = {".tsv": "\t", ".csv": ","}[suffix]
    path = tmp_path / f"x{suffix}"
    lines = [f"{text}{delimiter}{number}" for number, text in enumerate(SWALLOWED)]
    path.write_text("\n".join([f"text{delimiter}mark", *lines, ""]), encoding="utf-8")
    literal = [[text, str(number)] for number, text in enumerate(SWALLOWED)]
    if suffix == ".tsv":
        rows, notice = _notice(path)
        assert rows == literal and "x.tsv: " in notice and "--quoting standard" in notice
    else:
        with pytest.raises(PetError, match=r"x\.csv:2: .* 6 lines.*--quoting standard.*--quoting none"):
            _read(path, ["text", "mark"])
    assert _notice(path, table_format=TableFormat(quoting="none")) == (literal, "")
    (row,) = _read(path, ["text", "mark"], table_format=TableFormat(quoting="standard"))
    assert row[1] == "5" and row[0].count("\n") == 5


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        pytest.param(['"Good" film,1', "bad,2"], [['"Good" film', "1"], ["bad", "2"]], id="text behind the quote"),
        pytest.param(['"Never closed,1', "bad,2"], [['"Never closed', "1"], ["bad", "2"]], id="never closed"),
        pytest.param(["x,1", 'a,"b', 'c",2'], [["x", "1"], ["a", '"b'], ['c"', "2"]], id="too many columns"),
    ],
)
def test_lines_are_rows_if_quotes_make_no_sense_otherwise(
    tmp_path: Path, lines: list[str], rows: list[list[str]]
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["text,mark", *lines, ""]), encoding="utf-8")
    found, notice = _notice(path)
    assert found == rows and "--quoting standard" in notice
    with pytest.raises(PetError, match=r"x\.csv:\d: "):
        _read(path, ["text", "mark"], table_format=TableFormat(quoting="standard"))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param('text,mark\n"a, b",1\n"Good" film,2\n', 3, id="behind the quote"),
        pytest.param('text,mark\n"a",1\n"b",2\n"Good" film,3\n', 4, id="other quotes enclose values"),
        pytest.param('text,mark\n"say ""a""",1\n"Good" film,3\n', 3, id="a doubled quote"),
        pytest.param('text,mark\n"a, b",1\nc,2\n"Never closed,3\nd,4\n', 4, id="never closed"),
        pytest.param('text,mark\n"a, b",1\n"Good start,2\nbad,3\nthe end",4\n', 3, id="swallowed rows"),
        pytest.param('text,mark\n"a\nb",1\n5" disk,2\n"Good start,2\nthe end",4\n', 5, id="swallowed by a loose file"),
    ],
)
def test_a_file_with_quoted_values_and_a_stray_quote_is_refused_with_the_line(
    tmp_path: Path, content: str, line: int
) -> None:
    (tmp_path / "x.csv").write_text(content, encoding="utf-8")
    with pytest.raises(PetError, match=rf"x\.csv:{line}: "):
        _read(tmp_path / "x.csv", ["text", "mark"])


def test_a_value_of_several_lines_is_read_as_a_spreadsheet_writes_it(tmp_path: Path) -> None:
    rows = [["Hello\nworld", "1"], ["One, two, three\n\nfour", "2"], ['He said "no"\r\nand left', "3"], ["plain", "4"]]
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf" + _csv([["text", "mark"], *rows]).encode())
    assert _notice(tmp_path / "x.csv") == (rows, "")
    (tmp_path / "y.csv").write_bytes(_csv([["text", "mark"], *rows], delimiter=";").encode("cp1252"))
    found, notice = _notice(tmp_path / "y.csv")
    assert found == rows and "';'" in notice


def test_a_doubtful_value_is_announced_if_others_are_sound(tmp_path: Path) -> None:
    rows = [["Hello\nworld", "1"], ["Hi, you\nbye", "2"]]
    (tmp_path / "x.csv").write_bytes(_csv([["text", "mark"], *rows]).encode())
    found, notice = _notice(tmp_path / "x.csv")
    assert found == rows and "x.csv: line 4: " in notice and "--quoting none" in notice


# Delimiters


@pytest.mark.parametrize(
    ("name", "content", "notice"),
    [
        ("x.csv", "text;mark\na, b;1\n", "';'"),
        ("x.csv", "text\tmark\na, b\t1\n", "tab"),
        ("x.csv", "text|mark\na, b|1\n", "'|'"),
        ("x.csv", 'text;mark\n"a, b";1\n', "';'"),
        ("x.csv", 'text,mark\n"a, b",1\n', ""),
        ("x.tsv", "text\tmark\na, b\t1\n", ""),
        ("x.tsv", 'text,mark\n"a, b",1\n', "','"),
    ],
)
def test_the_delimiter_is_detected_and_announced(tmp_path: Path, name: str, content: str, notice: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    rows, said = _notice(tmp_path / name)
    assert rows == [["a, b", "1"]]
    assert (notice in said and f"{name}: " in said) if notice else not said


def test_a_column_without_delimiters_is_one_column(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text\na; b\nc\n", encoding="utf-8")
    assert _notice(tmp_path / "x.csv", ["text"]) == ([["a; b"], ["c"]], "")


def test_lines_of_text_with_commas_are_one_column_if_the_delimiter_is_given(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text\nHello, world\nbye\n", encoding="utf-8")
    with pytest.raises(PetError, match=r"x\.csv:2: .*--delimiter tab"):
        _read(tmp_path / "x.csv", ["text"])
    given = TableFormat(delimiter="tab")
    assert _read(tmp_path / "x.csv", ["text"], table_format=given) == [["Hello, world"], ["bye"]]


def test_two_possible_delimiters_are_refused_and_one_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text;a|mark\nb;c|d\n", encoding="utf-8")
    with pytest.raises(PetError, match=r"x\.csv:1: .*';'.*'\|'.*--delimiter"):
        _read(tmp_path / "x.csv", ["text"])
    assert _read(tmp_path / "x.csv", ["mark"], table_format=TableFormat(delimiter="pipe")) == [["d"]]


def test_excels_hint_about_the_delimiter_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("sep=;\ntext;mark\na;1\n", encoding="utf-8")
    with pytest.raises(PetError, match=r"x\.csv:1: .*Excel.*remove"):
        _read(tmp_path / "x.csv", ["text"])


def test_a_file_without_a_header_is_told_to_add_one(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('"3","Stocks rose on Monday morning again"\n"1","Rain"\n', encoding="utf-8")
    with pytest.raises(PetError, match=r"x\.csv: .*'text'.*add a line"):
        _read(tmp_path / "x.csv", ["text"])


# Encodings and bytes


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl"])
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    content = ("text\nna\xefve 🎉\n" if "csv" in suffix else '{"text": "na\xefve 🎉"}\n').encode(encoding)
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    rows, notice = _notice(path, ["text"])
    assert rows == [["na\xefve 🎉"]] and (encoding in notice or encoding == "utf-8-sig")


def test_cp1252_is_detected_and_announced_wherever_its_first_byte_is(tmp_path: Path) -> None:
    lines = ["text,mark", *["plain " * 1000 + ",1"] * 60, "Caf\xe9 \u201cn\xe9\u201d \u2013 5 \u20ac,2"]
    (tmp_path / "x.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    rows, notice = _notice(tmp_path / "x.csv")
    assert rows[-1] == ["Caf\xe9 \u201cn\xe9\u201d \u2013 5 \u20ac", "2"] and "cp1252" in notice
    assert _notice(tmp_path / "x.csv", table_format=TableFormat(encoding="Windows-1252")) == (rows, "")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param("text\n\u041f\u0440\u0438\u0432\u0435\u0442\n".encode("cp1251"), 2, id="Cyrillic"),
        pytest.param("text\n\u4f60\u597d\u4f60\u597d\n".encode("gb18030"), 2, id="Chinese"),
        pytest.param("text\na\xe9\n\xe0\n".encode() + b"b\xe9\n", 4, id="mostly UTF-8"),
        pytest.param(b"text\na\n\x81b\n", 3, id="not cp1252"),
    ],
)
def test_another_encoding_is_refused_with_the_line_and_can_be_given(tmp_path: Path, content: bytes, line: int) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(PetError, match=rf"x\.csv:{line}: .*UTF-8.*--encoding"):
        _read(tmp_path / "x.csv", ["text"])


def test_a_given_encoding_is_used_and_checked(tmp_path: Path) -> None:
    text = "text\n\u041f\u0440\u0438\u0432\u0435\u0442\n"
    (tmp_path / "x.csv").write_bytes(text.encode("cp1251"))
    assert _notice(tmp_path / "x.csv", ["text"], table_format=TableFormat(encoding="cp1251")) == (
        [[text.split("\n")[1]]],
        "",
    )
    with pytest.raises(PetError, match=r"x\.csv:2: .*ascii.*0xcf.*--encoding"):
        _read(tmp_path / "x.csv", ["text"], table_format=TableFormat(encoding="ascii"))
    (tmp_path / "y.jsonl").write_bytes('{"text": "\xe9"}\n'.encode("latin-1"))
    assert _read(tmp_path / "y.jsonl", ["text"], table_format=TableFormat(encoding="latin-1")) == [["\xe9"]]


def test_an_encoding_that_fits_only_one_of_several_files_is_announced(tmp_path: Path) -> None:
    given = TableFormat(encoding="cp1251")
    (tmp_path / "x.csv").write_text("text\nna\xefve\n", encoding="utf-8")
    rows, notice = _notice(tmp_path / "x.csv", ["text"], table_format=given)
    assert "UTF-8" in notice and "cp1251" in notice and rows != [["na\xefve"]]
    (tmp_path / "x.jsonl").write_text('{"text": "na\xefve"}\n', encoding="utf-8")
    rows, notice = _notice(tmp_path / "x.jsonl", ["text"], table_format=given)
    assert "utf-8" in notice and rows == [["na\xefve"]]  # JSON is UTF-8
    with pytest.raises(PetError, match=r"x\.csv:1: .*utf-16.*cp1251"):
        (tmp_path / "x.csv").write_text("text\na\n", encoding="utf-16")
        _read(tmp_path / "x.csv", ["text"], table_format=given)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["text\nplain\n", "text\n\u4f60\u597d,\n"])
def test_utf_16_without_a_mark_is_refused_and_can_be_given(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "x.csv").write_bytes(text.replace(",", "").encode(encoding))
    with pytest.raises(PetError, match=f"UTF-16.*--encoding {encoding}"):
        _read(tmp_path / "x.csv", ["text"])
    rows = _read(tmp_path / "x.csv", ["text"], table_format=TableFormat(encoding=encoding))
    assert rows == [[text.replace(",", "").split("\n")[1]]]


@pytest.mark.parametrize(
    ("file", "content", "parts"),
    [
        pytest.param("x.csv", b"text,mark\ra,1\rb,2\r", ["x.csv: ", "CR", "tr "], id="CR"),
        pytest.param("x.jsonl", b'{"text": "a"}\r{"text": "b"}\r', ["x.jsonl:1: ", "CR", "tr "], id="CR in JSON"),
        pytest.param("x.csv", b"text,mark\na,1\nb\rc,2\n", ["x.csv:3: ", "CR"], id="CR in a value"),
        pytest.param("x.csv", b"text,mark\na,1\nb\0c,2\n", ["x.csv:3: ", "NUL"], id="NUL"),
        pytest.param("x.csv", b"text,mark\na,1\n" + bytes(9), ["x.csv:3: ", "NUL"], id="NUL at the end"),
        pytest.param("x.csv", b"text,mark\na,1\nb\n", ["x.csv:3: ", "1 column", "2"], id="too few columns"),
        pytest.param("x.csv", b"text,mark\na,1\nb, c,2\n", ["x.csv:3: ", "3 columns", "2"], id="too many columns"),
    ],
)
def test_damaged_files_are_one_message(tmp_path: Path, file: str, content: bytes, parts: list[str]) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(PetError) as caught:
        _read(tmp_path / file, ["text"])
    (message,) = caught.value.problems
    assert all(part in message for part in parts)


@QUIET
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_truncated_gzip_file_is_one_message_in_every_encoding(tmp_path: Path, encoding: str, suffix: str) -> None:
    draw = random.Random(0)
    lines = ["text,mark", *(f"caf\xe9 {draw.random()},1" for _ in range(3000))]
    content = gzip.compress("\n".join(lines).encode(encoding))
    (tmp_path / f"x{suffix}.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(PetError, match=r"x\.\w+\.gz.*gzip"):
        _read(tmp_path / f"x{suffix}.gz", ["text"])


@QUIET
def test_very_long_values_are_read_and_the_limit_of_the_csv_module_stays(tmp_path: Path) -> None:
    texts = ["x" * 300_000, 'y"' * 200_000, "z\n" * 20_000, "\r"]
    (tmp_path / "x.csv").write_bytes(_csv([["text", "mark"], *([text, "1"] for text in texts)]).encode())
    for _ in _read(tmp_path / "x.csv", ["text"]):
        assert csv.field_size_limit() == 131072
    assert [row[0] for row in _read(tmp_path / "x.csv", ["text"])] == texts


def test_a_quote_that_is_never_closed_takes_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pet.data.delimited, "LONGEST_VALUE", 100)
    taken = [len(record.lines) for record in split_records(['"a\n'] * 1 + ["b\n"] * 500, Dialect(","))]
    assert max(taken) < 60 and sum(max(n, 1) for n in taken) == 501


@QUIET
@pytest.mark.parametrize("block", [3, 16, 1 << 20])
def test_detection_does_not_depend_on_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    for module in (pet.data.dialect, pet.data.quoting):
        monkeypatch.setattr(module, "BLOCK", block)
    draw = random.Random(0)
    for number in range(40):
        rows = [["".join(draw.choices('"a,\n', k=draw.randrange(6))), "1"] for _ in range(4)]
        path = tmp_path / f"{number}.csv"
        path.write_bytes(_csv([["text", "mark"], *rows]).encode())
        regular, exact = (weigh(path, "utf-8", ",") for weigh in (weigh_regular, weigh_every_record))
        assert regular is None or _decision(regular) == _decision(exact)
        try:
            assert _read(path, ["text", "mark"]) == rows
        except PetError as error:
            assert "--quoting" in str(error)


def _decision(evidence: Evidence) -> bool | None:
    try:
        return choose_quoting(evidence, ",")[0]
    except WrongText:
        return None


# Options


@pytest.mark.parametrize(
    "options",
    [{"delimiter": "ab"}, {"delimiter": '"'}, {"encoding": "utf-9"}, {"encoding": "base64"}, {"quoting": "all"}],
)
def test_an_option_that_does_not_exist_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(PetError) as caught:
        TableFormat(**options)
    ((name, value),) = options.items()
    assert f"--{name}" in str(caught.value) and repr(value) in str(caught.value)


def test_a_stream_of_chunks_has_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text;mark\n" + "na\xefve;1\n" * 100, encoding="cp1252")
    with pytest.warns(TableNotice):
        chunks = list(iter_table(tmp_path / "x.csv", ["text"], chunk_rows=33))
    assert [len(chunk) for chunk in chunks] == [33, 33, 33, 1]
    assert {text for chunk in chunks for text in chunk["text"]} == {"na\xefve"}
