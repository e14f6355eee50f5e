"""Texts that were passed in Python, kept in the folder of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pet.data.memory import table_of
from pet.progress import Reporter
from pet.run.inputs import load_data
from pet.run.kept_texts import keep_texts, with_kept_texts
from pet.run.settings import RunSettings
from pet.task.task import Task

TASK = {
    "task": "mail",
    "fields": ["title", "text"],
    "labels": ["bug", "bill; or refund"],
    "columns": {"text": "body", "label": "kind"},
    "verbalizer": {"bug": "bug", "bill; or refund": "money"},
    "patterns": ["{title} {text} {mask}"],
}
TEXTS = {"title": ["a", "", "ü\u2028"], "text": ["1\n2", " = x", '"'], "body": ["", "", ""]}
SETTINGS = RunSettings(task=TASK, train="memory:train", unlabeled="memory:unlabeled", test=None, model="m")


def test_the_files_are_read_as_the_tables_that_were_given(tmp_path: Path) -> None:
    task = Task.from_dict(TASK)
    texts = {field: TEXTS[field] for field in task.fields}
    tables = {
        "train": table_of(texts, task.fields, labels=np.array([0, 1, 0])),
        "unlabeled": table_of({**texts, "title": ["d", "e", "f"]}, task.fields),
    }
    keep_texts(tmp_path, task, tables)
    settings = with_kept_texts(SETTINGS, tmp_path)
    assert settings == replace(
        SETTINGS, train=str(tmp_path / "texts" / "train.jsonl"), unlabeled=str(tmp_path / "texts" / "unlabeled.jsonl")
    )
    given, found = (load_data(own, task, Reporter("quiet"), part) for own, part in ((SETTINGS, tables), (settings, {})))
    assert found.train is not None and given.train is not None and found.train.to_dict() == given.train.to_dict()
    assert found.pool is not None and given.pool is not None and found.pool.to_dict() == given.pool.to_dict()


def test_several_labels_of_a_text_are_kept(tmp_path: Path) -> None:
    task = Task.from_dict({**TASK, "multi_label": True})
    table = table_of({"title": ["a", "b"], "text": ["c", "d"]}, task.fields, labels=np.array([[1, 1], [0, 0]]))
    keep_texts(tmp_path, task, {"train": table})
    settings = with_kept_texts(replace(SETTINGS, task=task.to_dict(), unlabeled=None), tmp_path)
    found = load_data(settings, task, Reporter("quiet")).train
    assert found is not None and found["label"] == [[1, 1], [0, 0]]


def test_a_folder_without_texts_changes_nothing(tmp_path: Path) -> None:
    assert with_kept_texts(SETTINGS, tmp_path) == SETTINGS
