"""Task files: reading them, and the messages about mistakes in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pet.cloze.words import word_token, word_tokens
from pet.errors import PetError
from pet.task.filters import FILTERS
from pet.task.parse import KEYS, METRICS
from pet.task.task import Task, list_tasks

GOOD = """\
task: mood
fields: [text]
labels: [no, yes, 1]
verbalizer:
  no: bad
  yes: [good, great]
  1: [fine]
patterns:
  - "{text} It is {mask}."
  - template: "{mask}: {text}"
    verbalizer: {no: off, yes: on, 1: null}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(text or bytes)`` writes a task file and returns its path."""

    def write_file(content: str | bytes, name: str = "mood.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def problems(source: str | Path | dict[str, Any]) -> list[str]:
    with pytest.raises(PetError) as caught:
        Task.from_dict(source) if isinstance(source, dict) else Task.load(source)
    return caught.value.problems


def test_the_guide_documents_every_key_filter_and_metric(write: Write) -> None:
    guide = Path(__file__).parents[2] / "docs" / "task-file.md"
    if not guide.is_file():
        pytest.skip("docs are not part of this tree")
    text = guide.read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    task = Task.load(write(example))
    assert len(task.patterns) == 3 and task.metrics == ("macro_f1", "accuracy")
    assert set(KEYS) == set(yaml.safe_load(example))
    assert [name for name in (*FILTERS, *METRICS) if name not in text] == []


# --- valid files -------------------------------------------------------------------------------------


def test_yaml_scalars_keep_their_literal_text(write: Write) -> None:
    task = Task.load(write(GOOD))
    assert task.labels == ("no", "yes", "1")
    assert dict(task.patterns[0].verbalizer.words) == {
        "no": ("bad",),
        "yes": ("good", "great"),
        "1": ("fine",),
    }
    assert dict(task.patterns[1].verbalizer.words) == {"no": ("off",), "yes": ("on",), "1": ("null",)}


def test_optional_keys_have_defaults(write: Write) -> None:
    path = write(GOOD.replace("[text]", "[text, title]"))
    task = Task.load(path)
    assert task.name == "mood"
    assert task.metrics == ("accuracy", "macro_f1")
    assert task.label_map == {}
    assert task.input.render({"text": "one", "title": "two"}) == "one two"
    assert task.path == path


def test_descriptions_and_columns_are_read_and_checked(write: Write) -> None:
    more = "columns: {text: body, id: no, label: class}\ndescriptions: {yes: All   is well., no: It is not.}\n"
    task = Task.load(write(GOOD + more))
    assert task.columns == {"text": "body", "id": "no", "label": "class"}
    assert list(task.descriptions.items()) == [("no", "It is not."), ("yes", "All is well.")]
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    found = problems(write(GOOD + "columns: {body: text}\ndescriptions: {maybe: x, 1: }\n"))
    assert [problem.split(": ", 1)[0].rpartition(":")[2] for problem in found] == ["12", "13", "13"]
    assert "'body'" in found[0] and "'maybe'" in found[1] and "'1'" in found[2]


def test_verbalizer_words_follow_the_order_of_the_labels(write: Write) -> None:
    swapped = GOOD.replace("  no: bad\n", "").replace("  1: [fine]\n", "  1: [fine]\n  no: bad\n")
    assert list(Task.load(write(swapped)).patterns[0].verbalizer.words) == ["no", "yes", "1"]


def test_patterns_and_words_know_their_file_and_line(write: Write) -> None:
    path = write(GOOD)
    first, second = Task.load(path).patterns
    assert (first.place, second.place) == (f"{path}:9", f"{path}:10")
    assert first.verbalizer.places["yes"] == f"{path}:6"
    assert second.verbalizer.places["yes"] == f"{path}:11"


def test_a_byte_order_mark_is_accepted(write: Write) -> None:
    assert Task.load(write(b"\xef\xbb\xbf" + GOOD.encode())).name == "mood"


def test_a_yaml_alias_can_share_a_verbalizer(write: Write) -> None:
    text = GOOD.replace("verbalizer:\n", "verbalizer: &words\n", 1)
    text = text.replace("{no: off, yes: on, 1: null}", "*words")
    first, second = Task.load(write(text)).patterns
    assert first.verbalizer == second.verbalizer


@pytest.mark.parametrize("name", list_tasks())
def test_a_task_round_trips_through_a_mapping_yaml_and_json(name: str) -> None:
    task = Task.load(name)
    plain = task.to_dict()
    assert Task.from_dict(plain) == task
    assert Task.from_dict(yaml.safe_load(yaml.safe_dump(plain))) == task
    assert Task.from_dict(json.loads(json.dumps(plain))) == task


def test_numbers_in_a_mapping_become_text() -> None:
    task = Task.from_dict(
        {
            "task": "stars",
            "fields": ["text"],
            "labels": [1, 2],
            "verbalizer": {1: "bad", 2: ("good", "great")},
            "patterns": ["{text} {mask}"],
            "label_map": {0: 1},
        }
    )
    assert task.labels == ("1", "2")
    assert task.label_map == {"0": "1"}
    assert task.patterns[0].verbalizer.words == {"1": ("bad",), "2": ("good", "great")}


# --- shipped tasks -----------------------------------------------------------------------------------

SHIPPED = {
    "agnews",
    "banking",
    "boolq",
    "cb",
    "copa",
    "emotion",
    "eprstmt",
    "german-sentiment",
    "imdb",
    "japanese-topic",
    "mnli",
    "multirc",
    "news",
    "record",
    "rte",
    "sms-spam",
    "snli",
    "sst2",
    "subj",
    "tickets",
    "trec",
    "wic",
    "wsc",
    "xstance",
    "yahoo",
    "yelp",
    "yelp-polarity",
}


def test_all_documented_tasks_are_shipped() -> None:
    assert set(list_tasks()) >= SHIPPED


@pytest.mark.parametrize("name", list_tasks())
def test_a_shipped_task_is_complete_and_uses_only_its_fields(name: str) -> None:
    task = Task.load(name)
    assert task.name == name
    assert task.description
    assert len(task.patterns) >= {"copa": 2, "record": 1}.get(name, 3)
    assert {field.name for field in task.input.fields} == set(task.fields)
    for pattern in task.patterns:
        assert {field.name for field in pattern.template.fields} <= set(task.fields)


def test_every_shipped_task_binds(family_model: Callable[[str], Path]) -> None:
    """With a tokenizer of bytes, which has tokens for every language; most words are several of them."""
    from transformers import AutoTokenizer

    from pet.cloze.bind import bind_patterns

    tokenizer = AutoTokenizer.from_pretrained(family_model("roberta"))
    for task in map(Task.load, list_tasks()):
        pvps = bind_patterns(task, tokenizer, 400)
        assert [pvp.word_to_label.shape[1] for pvp in pvps] == [len(task.labels)] * len(task.patterns)


def test_loading_a_task_imports_no_heavy_library() -> None:
    code = (
        "import sys; from pet.task.task import Task; Task.load('agnews'); "
        "print([m for m in ('torch', 'transformers', 'datasets', 'sklearn') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    shown = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


# Tasks with English label words that are the same for every text.
ENGLISH = sorted(SHIPPED - {"eprstmt", "german-sentiment", "japanese-topic", "xstance", "copa", "record", "wsc"})


@pytest.mark.shared
@pytest.mark.parametrize("name", ENGLISH)
def test_label_words_are_single_tokens_in_bert(name: str, shared_dir: Path) -> None:
    _check_words(name, shared_dir / "models" / "minilm-mlm-en")


@pytest.mark.shared
def test_label_words_are_single_tokens_in_a_chinese_model(shared_dir: Path) -> None:
    model = shared_dir / "models" / "albert-tiny-zh"
    _check_words("eprstmt", model)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.convert_ids_to_tokens(word_token(tokenizer, "好")) == ["好"]


def _check_words(name: str, model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    task = Task.load(name)
    for pattern in task.patterns:
        found = word_tokens(pattern.verbalizer, tokenizer, task.labels)
        assert all(len(word) == 1 for words in found for word in words)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["agnews", "yelp", "sst2", "mnli", "eprstmt"])
def test_labels_and_fields_match_the_data(name: str, shared_dir: Path) -> None:
    task = Task.load(name)
    with (shared_dir / "data" / name / "train.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert {row["label"] for row in rows} == set(task.labels)
    assert set(task.fields) <= set(rows[0])


# --- one mistake, one message with its line ----------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "named"),
    [
        ("[text]", "[text, text]", 2, ["'text'", "twice", "fields"]),
        ("[text]", "[text, label]", 2, ["'label'", "reserved"]),
        ("[text]", "[text, mask]", 2, ["'mask'", "reserved"]),
        ("[text]", "[text, a.b]", 2, ["'a.b'", "letter"]),
        ("[text]", "[text, two words]", 2, ["'two words'", "--column"]),
        ("[text]", "[text, {}]", 2, ["mapping", "quotes"]),
        ("[no, yes, 1]", "[no, yes, 1, no]", 3, ["'no'", "twice", "labels"]),
        ("  no: bad\n", "", 5, ["label 'no'", "`no: word`"]),
        ("  no: bad\n", "  no: []\n", 5, ["label 'no'"]),
        ("  no: bad\n", "  no:\n", 5, ["label 'no'", "empty"]),
        ("  no: bad\n", "  no: good\n", 6, ["'good'", "'yes'", "'no'"]),
        ("great]", "good]", 6, ["'good'", "twice"]),
        ("  1: [fine]\n", "  1: [fine]\n  2: ok\n", 8, ["label '2'", "no, yes, 1"]),
        ("  1: [fine]\n", "  1: [fine]\n  1: ok\n", 8, ["label '1'", "twice"]),
        ("yes: on", "Yes: on", 11, ["label 'Yes'", "did you mean 'yes'?"]),
        ("{text} It is {mask}.", "{txet} It is {mask}.", 9, ["'txet'", "did you mean 'text'?"]),
        ("{text} It is {mask}.", "{text} It is.", 9, ["no {mask}"]),
        ("{text} It is {mask}.", "{text} {mask} {mask}", 9, ["2 masks"]),
        ("{text} It is {mask}.", "{text|strp_punct} {mask}", 9, ["'strp_punct'", "'strip_punct'"]),
        ("{text} It is {mask}.", "{text {mask}", 9, ["closed"]),
        ("{text} It is {mask}.", "{text.__class__} {mask}", 9, ["attribute", "{text}"]),
        ("{text} It is {mask}.", "{soft:} {text} {mask}", 9, ["{soft:}", "{soft:3}"]),
        ("{text} It is {mask}.", "{text} {mask:3}", 9, ["reserved", "{mask}"]),
        ("{text} It is {mask}.", "{text} || {mask} || !", 9, ["3 segments"]),
        ("{text} It is {mask}.", "", 9, ["pattern", "empty"]),
        ('"{text} It is {mask}."', "{text}", 9, ["quotes"]),
        ('"{text} It is {mask}."', "It is {mask}: {text}", 9, ["a pattern parses as a YAML mapping", "quotes"]),
        ('"{text} It is {mask}."', "{text}: {mask}", 9, ["a pattern parses as a YAML mapping", "quotes"]),
        ('"{text} It is {mask}."', "[a]", 9, ["text", "list"]),
        ("template:", "tempalte:", 10, ["key 'tempalte'", "did you mean 'template'?"]),
        ("{mask}: {text}", "{text} is {it}", 10, ["'it'"]),
        ("task: mood", "task: mood\ncolor: red", 2, ["key 'color'"]),
        ("task: mood", "task: mood\nmetric: [mcc]", 2, ["'metric'", "did you mean 'metrics'?"]),
        ("task: mood", "task: mood\nmetrics: [f1]", 2, ["metric 'f1'"]),
        ("task: mood", "task: mood\ntask: moods", 2, ["key 'task'", "twice"]),
        ("task: mood", "task:", 1, ["task", "empty"]),
        ("task: mood", "task: mood\ninput: '{text} {mask}'", 2, ["{mask}", "input"]),
        ("task: mood", "task: mood\nlabel_map: {0: nope}", 2, ["label_map", "'nope'"]),
        ("task: mood", "task: mood\nlabel_map: {no: yes}", 2, ["label_map", "'no'", "'yes'"]),
        ("task: mood", "task: mood\nlabel_map: {a: no, a: yes}", 2, ["label_map", "'a'", "twice"]),
        ("task: mood", "task: mood\nlabel_map: [a]", 2, ["label_map", "{0: negative}"]),
        ("task: mood", "task: mood\ndataset: {name: x}", 2, ["dataset", "path"]),
        ("task: mood", "task: mood\ndataset: {path: x, columns: {txt: y}}", 2, ["'txt'", "'text'"]),
        ("fields: [text]", "fields: [text", 3, ["YAML"]),
        ("  no: bad", "\tno: bad", 5, ["tab", "spaces"]),
        ("task: mood", "task: !!python/object/apply:os.system [ls]", 1, ["!!python/object/apply:os.system"]),
        ("task: mood", "task: !secret mood", 1, ["tag !secret"]),
        ("fields: [text]", "fields: &a [text, *a]", 2, ["alias"]),
        ("task: mood", "task: mo\x07od", 1, ["0x7"]),
    ],
)
def test_a_mistake_is_reported_with_file_line_and_name(
    write: Write, old: str, new: str, line: int, named: list[str]
) -> None:
    path = write(GOOD.replace(old, new, 1))
    found = problems(path)
    assert found[0].startswith(f"{path}:{line}: ")
    assert [words for words in named if words not in found[0]] == []


@pytest.mark.parametrize("key", ["task", "fields", "labels", "patterns"])
def test_a_missing_key_is_reported(write: Write, key: str) -> None:
    lines = GOOD.splitlines(keepends=True)
    kept = [text for text in lines if not text.startswith(key)]
    if key == "patterns":
        kept = lines[:7]
    path = write("".join(kept))
    assert any(problem.startswith(f"{path}:1: '{key}' ") and f"`{key}: ...`" in problem for problem in problems(path))


def test_a_pattern_without_a_verbalizer_is_reported(write: Write) -> None:
    path = write(GOOD[: GOOD.index("verbalizer")] + 'patterns: ["{text} {mask}"]\n')
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:4: ") and "`verbalizer:`" in problem


@pytest.mark.parametrize("labels", ["[]", "[no]"])
def test_fewer_than_two_labels_are_reported(write: Write, labels: str) -> None:
    path = write(GOOD.replace("[no, yes, 1]", labels))
    assert any(problem.startswith(f"{path}:3: ") and "labels" in problem for problem in problems(path))


@pytest.mark.parametrize("patterns", ["[]", "{text: a}", '"{text} {mask}"'])
def test_patterns_that_are_not_a_nonempty_list_are_reported(write: Write, patterns: str) -> None:
    path = write(GOOD[: GOOD.index("patterns")] + f"patterns: {patterns}\n")
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:8: patterns ")


def test_a_duplicate_pattern_is_reported(write: Write) -> None:
    path = write(GOOD + '  - "{text} It is {mask}."\n')
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:12: ") and "'{text} It is {mask}.'" in problem and "twice" in problem


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "just text", "# nothing but a comment\n"])
def test_a_file_that_is_not_a_mapping_is_reported(write: Write, content: str) -> None:
    path = write(content)
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:1: ") and "mapping" in problem


def test_a_file_that_is_not_utf8_is_reported_with_line_and_byte(write: Write) -> None:
    path = write(GOOD.encode().replace(b"great", b"gr\xe4t"))
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:6: ") and "0xe4" in problem and "UTF-8" in problem


def test_excessive_nesting_is_reported(write: Write) -> None:
    (problem,) = problems(write("task: " + "[" * 5000))
    assert "nested" in problem


def test_a_file_that_is_too_large_is_reported(write: Write) -> None:
    (problem,) = problems(write("#" * 2_000_001))
    assert "larger than 2 MB" in problem


def test_all_mistakes_are_reported_at_once_in_file_order(write: Write) -> None:
    path = write(
        """\
task: mood
fields: [text, text]
labels: [bad, good]
metrics: [acuracy]
colour: red
label_map: {0: wrong}
verbalizer: {bad: poor, god: fine}
patterns:
  - "{text}"
  - "{mask} {text.x} {tixt}"
  - {template: "{text} {mask}", verbalizer: {bad: same, good: same}}
"""
    )
    found = problems(path)
    places = [int(problem.removeprefix(f"{path}:").split(":")[0]) for problem in found]
    assert places == [2, 4, 5, 6, 7, 7, 9, 10, 10, 11]


def test_a_mistake_in_a_mapping_is_reported_with_its_path() -> None:
    words = {"A": "bad", "B": "good"}
    patterns = ["{text} {mask}", {"template": "{text}", "verbalizer": words}]
    (problem,) = problems(
        {"task": "mood", "fields": ["text"], "labels": ["A", "B"], "verbalizer": words, "patterns": patterns}
    )
    assert problem.startswith("task.patterns[1].template: pattern '{text}': ") and "no {mask}" in problem


@pytest.mark.parametrize("value", [True, {1, 2}, b"bytes"])
def test_a_value_in_a_mapping_that_is_not_text_is_reported(value: object) -> None:
    (problem,) = problems({"task": "mood", "labels": [value]})
    assert problem.startswith("task.labels[0]: ")


# --- finding the file --------------------------------------------------------------------------------


def test_an_unknown_name_suggests_similar_tasks() -> None:
    (problem,) = problems("agnew")
    assert "did you mean 'agnews'" in problem


def test_a_missing_file_suggests_similar_files(write: Write) -> None:
    path = write(GOOD)
    (problem,) = problems(path.with_name("moood.yaml"))
    assert str(path.with_name("moood.yaml")) in problem
    assert "did you mean 'mood.yaml'?" in problem


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "nowhere" / "mood.yaml")
    assert f"folder {tmp_path / 'nowhere'} " in problem


def test_a_folder_in_place_of_a_task_file_is_reported(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path)
    assert str(tmp_path) in problem and "folder" in problem


def test_a_shipped_task_takes_precedence_over_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agnews").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Task.load("agnews").name == "agnews"


def test_a_local_task_file_needs_no_suffix(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD, "mytask")
    monkeypatch.chdir(tmp_path)
    assert Task.load("mytask").name == "mood"
