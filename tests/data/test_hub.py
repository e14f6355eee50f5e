"""Hub data sets are read like files; `datasets.load_dataset` is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

import pet.data.read
from pet.data.hub import parse_hub
from pet.data.read import iter_table, read_table
from pet.data.source import Unsound
from pet.errors import PetError

LABELS = ["World", "Sports"]


def hub_table(labels: list[int | None]) -> datasets.Dataset:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=LABELS)})
    return datasets.Dataset.from_dict({"text": [f"text {n}" for n in range(len(labels))], "label": labels}, features)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []

    def load(path: str, name: str | None = None, *, split: str | None = None, **_: Any) -> Any:
        seen.append((path, name, split))
        both = datasets.DatasetDict(train=hub_table([1, 0, 1]), test=hub_table([0, -1]))
        return both if split is None else both[split]

    monkeypatch.setattr(datasets, "load_dataset", load)
    return seen


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hub:ag_news", ("ag_news", None, None)),
        ("hub:o/n@test", ("o/n", None, "test")),
        ("hub:o/n:c@train[:10%]", ("o/n", "c", "train[:10%]")),
    ],
)
def test_hub_names_are_split_into_path_config_and_split(text: str, parts: tuple[str | None, ...]) -> None:
    assert parse_hub(text) == parts


@pytest.mark.parametrize("fast", [True, False])
def test_class_numbers_become_names_in_the_order_of_the_task(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    def refuse(*_: object) -> Any:
        raise Unsound("test")
        yield

    if not fast:
        monkeypatch.setattr(pet.data.read, "fast_batches", refuse)
    # The order of the task differs from that of the hub.
    table = read_table("hub:owner/news:plain@train", ["text"], labels=["Sports", "World"])
    assert calls == [("owner/news", "plain", "train")]
    assert table["label"][:] == [0, 1, 0]
    assert table["id"][:] == ["0", "1", "2"]
    chunks = iter_table("hub:owner/news@train", ["text"], labels=["Sports", "World"], chunk_rows=2)
    assert [len(chunk) for chunk in chunks] == [2, 1]


def test_only_selected_rows_of_a_data_set_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    picked = hub_table([0, 1, 1]).select([2, 0])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: picked)
    table = read_table("hub:x", ["text"], labels=LABELS)
    assert table["text"][:] == ["text 2", "text 0"] and table["label"][:] == [1, 0]


def test_a_row_without_a_label_is_named(calls: list[tuple[Any, ...]]) -> None:
    with pytest.raises(PetError, match=r"hub:o/n@test: row 2: label"):
        read_table("hub:o/n@test", ["text"], labels=LABELS)
    assert len(read_table("hub:o/n@test", ["text"])) == 2


def test_several_splits_are_named_if_none_is_chosen(calls: list[tuple[Any, ...]]) -> None:
    with pytest.raises(PetError, match=r"train, test.*hub:o/n@train"):
        read_table("hub:o/n", ["text"])


def test_a_missing_column_is_named_with_those_that_exist(calls: list[tuple[Any, ...]]) -> None:
    with pytest.raises(PetError, match=r"'headline'.*'text', 'label'.*--column"):
        read_table("hub:o/n@train", ["headline"])


def test_a_network_error_is_one_message_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("cannot reach the hub\nwith much to say")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    monkeypatch.setattr("pet.network.cut_off", lambda: False)
    with pytest.raises(PetError) as caught:
        read_table("hub:o/n", ["text"], name="train")
    (message,) = caught.value.problems
    assert message.startswith("train: hub:o/n: ") and "cannot reach the hub" in message and "file" in message
    assert "\n" not in message


def test_an_empty_name_shows_the_syntax() -> None:
    with pytest.raises(PetError, match="hub:OWNER/NAME"):
        read_table("hub:", ["text"])


def test_class_names_are_read_from_parquet_written_by_datasets(tmp_path: Path) -> None:
    hub_table([1, 0]).to_parquet(str(tmp_path / "x.parquet"))
    assert read_table(tmp_path / "x.parquet", ["text"], labels=["Sports", "World"])["label"][:] == [0, 1]


def test_minus_one_and_null_both_mean_no_label_in_parquet_written_by_datasets(tmp_path: Path) -> None:
    table, path = hub_table([1, -1, None, 0]), tmp_path / "x.parquet"
    table.to_parquet(str(path))
    texts = table["text"][:]
    labeled = read_table(f"labeled:{path}", ["text"], labels=["Sports", "World"])
    assert (labeled["text"][:], labeled["label"][:]) == ([texts[0], texts[3]], [0, 1])
    assert read_table(f"unlabeled:{path}", ["text"])["text"][:] == texts[1:3]
