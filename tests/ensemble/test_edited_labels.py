"""Labels edited by hand: they agree with the probabilities, stand alone, or are named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pet.cli.main import main
from pet.ensemble.soft_label_files import read_soft_labels
from pet.errors import PetError
from pet.members.external import VOTE, read_external

ORDER = ["bad", "good", "so so"]
Rows = Sequence[tuple[str, list[float] | None, Any]]  # id, probabilities, label


def write_json(path: Path, rows: Rows) -> None:
    lines = []
    for row_id, probabilities, label in rows:
        mapped = None if probabilities is None else dict(zip(ORDER, probabilities, strict=True))
        lines.append(json.dumps({"id": row_id, "probabilities": mapped, "label": label}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
        table.writerow(["id", "label", *(f"p({label})" for label in ORDER)])
        for row_id, probabilities, label in rows:
            table.writerow([row_id, label, *(probabilities or [""] * len(ORDER))])


def write_parquet(path: Path, rows: Rows) -> None:
    ids, probabilities, labels = zip(*rows, strict=True)
    columns = {"id": ids, "probabilities": pa.array(probabilities, pa.list_(pa.float64())), "label": labels}
    pq.write_table(pa.table(columns).replace_schema_metadata({"labels": json.dumps(ORDER)}), path)


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    "jsonl": write_json, "csv": write_csv, "tsv": write_csv, "parquet": write_parquet
}  # fmt: skip
BAD, GOOD = [0.9, 0.05, 0.05], [0.1, 0.7, 0.2]


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Rows], Path]:
    def write(rows: Rows) -> Path:
        path = tmp_path / f"labels.{request.param}"
        WRITERS[request.param](path, rows)
        return path

    return write


def test_a_label_that_was_edited_is_named_with_its_id_line_count_and_cure(written: Callable[[Rows], Path]) -> None:
    rows: Rows = [("a", BAD, "bad"), ("b", BAD, "good"), ("c", GOOD, "good"), ("d", GOOD, "so so"), ("e", BAD, "good")]
    path = written(rows)
    with pytest.raises(PetError) as caught:
        read_soft_labels(path)
    (message,) = caught.value.problems
    line = {"jsonl": ":2: ", "parquet": ": row 2: "}.get(path.suffix[1:], ":3: ")
    assert f"{path}{line}" in message
    assert all(part in message for part in ("'b'", "'good'", "'bad'", "0.900", "2 more", "empty", "`label`"))
    with pytest.raises(PetError, match=r"2 more"):
        read_external(path, ORDER, "teacher")


def test_a_label_alone_is_certain(written: Callable[[Rows], Path]) -> None:
    table = read_soft_labels(written([("a", BAD, "bad"), ("b", None, "so so"), ("c", GOOD, None)]), ORDER)
    np.testing.assert_allclose(table.probabilities, [BAD, [0, 0, 1], GOOD])
    assert (table.ids, table.labels, table.certain) == (["a", "b", "c"], ORDER, 1)


def test_labels_alone_need_no_probabilities_at_all(written: Callable[[Rows], Path]) -> None:
    path = written([("a", None, "so so"), ("b", None, "bad"), ("c", None, "good")])
    table = read_soft_labels(path)
    assert table.labels == ORDER and table.certain == 3
    np.testing.assert_array_equal(table.probabilities, np.eye(3)[[2, 0, 1]])
    np.testing.assert_array_equal(read_soft_labels(path, ORDER[::-1]).probabilities, np.eye(3)[[0, 2, 1]])


@pytest.mark.parametrize("name", ["l.csv", "l.jsonl", "l.parquet"])
def test_a_file_with_a_column_of_labels_only_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_text("id,label\na,good\nb,bad\n", encoding="utf-8")
    elif name.endswith("jsonl"):
        path.write_text('{"id": "a", "label": "good"}\n{"id": "b", "label": "bad"}\n', encoding="utf-8")
    else:
        pq.write_table(pa.table({"id": ["a", "b"], "label": ["good", "bad"]}), path)
    table = read_soft_labels(path)
    assert (table.labels, table.probabilities.tolist()) == (["bad", "good"], [[0, 1], [1, 0]])


def test_a_row_with_neither_is_named(written: Callable[[Rows], Path]) -> None:
    with pytest.raises(PetError, match=r"`probabilities`.*`label`"):
        read_soft_labels(written([("a", BAD, "bad"), ("b", None, None)]), ORDER)


@pytest.mark.parametrize("probabilities", [BAD, None])
def test_an_unknown_label_is_named(written: Callable[[Rows], Path], probabilities: list[float] | None) -> None:
    with pytest.raises(PetError) as caught:
        read_soft_labels(written([("a", GOOD, "good"), ("b", probabilities, "goood")]), ORDER)
    (message,) = caught.value.problems
    assert "'goood'" in message and "mean 'good'" in message


@pytest.mark.parametrize("missing", ["NaN", "null", " "])
def test_a_missing_label_is_none_in_any_spelling(written: Callable[[Rows], Path], missing: str) -> None:
    assert read_soft_labels(written([("a", BAD, missing), ("b", GOOD, "good")]), ORDER).ids == ["a", "b"]
    with pytest.raises(PetError, match=r"`probabilities`.*`label`"):
        read_soft_labels(written([("a", None, missing), ("b", GOOD, "good")]), ORDER)


def test_rounded_and_tied_probabilities_do_not_contradict(written: Callable[[Rows], Path]) -> None:
    rows: Rows = [("a", [0.5, 0.5, 0.0], "good"), ("b", [0.3334, 0.3333, 0.3333], "so so"), ("c", BAD, "bad")]
    assert read_soft_labels(written(rows), ORDER).ids == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["jsonl", "parquet"])
def test_a_label_may_be_the_position_of_the_most_probable_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"l.{name}"
    WRITERS[name](path, [("a", BAD, 0), ("b", GOOD, 1)])
    assert read_soft_labels(path, ORDER).ids == ["a", "b"]
    WRITERS[name](path, [("a", BAD, 0), ("b", GOOD, 2)])
    with pytest.raises(PetError, match="'b'"):
        read_soft_labels(path, ORDER)
    WRITERS[name](path, [("a", BAD, 0), ("b", None, 1)])  # alone, a number could mean anything
    with pytest.raises(PetError, match="'1'"):
        read_soft_labels(path, ORDER)


@pytest.mark.parametrize("extra", [{}, {"label": "good"}])
def test_logits_without_probabilities_are_refused(tmp_path: Path, extra: dict[str, str]) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(json.dumps({"id": "a", "logits": [0.1, 2.0, 0.3], **extra}) + "\n", encoding="utf-8")
    with pytest.raises(PetError, match=r"l\.jsonl:1: .*`logits`"):
        read_soft_labels(path, ORDER)
    with pytest.raises(PetError, match=r"l\.jsonl:1: .*`logits`"):
        read_external(path, ORDER, "teacher")
    pq.write_table(pa.table({"id": ["a"], "logits": [[0.1, 2.0, 0.3]], "label": ["good"]}), tmp_path / "l.parquet")
    with pytest.raises(PetError, match=r"l\.parquet: .*`logits`"):
        read_soft_labels(tmp_path / "l.parquet", ORDER)


def test_an_external_member_votes_where_it_has_a_label_alone(written: Callable[[Rows], Path]) -> None:
    ids, scores = read_external(written([("a", None, "good"), ("b", BAD, "bad"), ("c", None, None)]), ORDER, "teacher")
    assert ids == ["a", "b"]
    np.testing.assert_allclose(np.exp(scores[0]), [(1 - VOTE) / 2, VOTE, (1 - VOTE) / 2], rtol=1e-5)
    np.testing.assert_allclose(np.exp(scores[1]), BAD, rtol=1e-5)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.none(), st.lists(st.integers(1, 100), min_size=3, max_size=3)),
            st.one_of(st.none(), st.sampled_from(ORDER)),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_all_formats_agree(tmp_path: Path, rows: list[tuple[list[int] | None, str | None]]) -> None:
    made: Rows = [
        (f"r{number}", None if parts is None else [part / sum(parts) for part in parts], label)
        for number, (parts, label) in enumerate(rows)
    ]
    found = []
    for name, write in WRITERS.items():
        write(tmp_path / f"x.{name}", made)
        try:
            table = read_soft_labels(tmp_path / f"x.{name}", ORDER)
            found.append((table.ids, table.probabilities.round(9).tolist(), table.certain))
        except PetError:
            found.append(([], [], -1))
    assert all(other == found[0] for other in found)
    sound = all(
        label is not None if p is None else label is None or p[ORDER.index(label)] >= max(p) - 1e-3
        for _, p, label in made
    )
    assert sound == bool(found[0][0])


def _distill(folder: Path, rows: Rows, *options: object) -> Result:
    write_json(folder / "labels.jsonl", rows)
    texts = [json.dumps({"id": row_id, "text": f"text {row_id}"}) + "\n" for row_id, *_ in rows]
    (folder / "texts.jsonl").write_text("".join(texts), encoding="utf-8")
    arguments = ["--labels", folder / "labels.jsonl", "--input", folder / "texts.jsonl", "-o", folder / "student"]
    return CliRunner().invoke(main, ["distill", *map(str, (*arguments, *options))])


def test_distill_refuses_an_edited_label_and_writes_nothing(tmp_path: Path) -> None:
    made = _distill(tmp_path, [("a", BAD, "bad"), ("b", GOOD, "bad")])
    assert made.exit_code == 2 and "labels.jsonl:2: " in made.stderr and "'b'" in made.stderr
    assert not (tmp_path / "student").exists()


def test_distill_says_how_many_labels_it_takes_as_certain(tmp_path: Path, tiny_model: Path) -> None:
    options = ("-m", tiny_model, "--max-length", 32, "--set", "student_steps=1", "--device", "cpu")
    made = _distill(tmp_path, [("a", BAD, "bad"), ("b", None, "good"), ("c", None, "bad")], *options)
    assert made.exit_code == 0, made.output
    assert "2 rows" in made.stderr and "certain" in made.stderr
