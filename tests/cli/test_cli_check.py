"""``pet check``: what a run would do, and what would stop it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from datasets import Dataset
from small_run import QUICK, pet, write_inputs, write_rows

from pet.backbones.info import ModelInfo
from pet.cli.main import main
from pet.ipet.plan import make_plan
from pet.members.models import Models
from pet.members.shared import Shared
from pet.preflight.cost import Round, Speed, Work, all_rounds, estimate, mean_tokens, rounds_of, training_sets
from pet.preflight.patterns import Filled
from pet.preflight.text import abbreviate
from pet.preflight.zero_shot import untrained_accuracy
from pet.recipe import make_recipe
from pet.task.task import Task

WriteRows = Callable[..., Path]
TASK = """\
task: topics
fields: [text]
labels: [World, Sports, Business, Technology]
verbalizer: {World: world, Sports: sports, Business: business, Technology: technology}
patterns:
  - "{mask} news: {text}"
  - "{text} || The topic was {mask}."
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "topics.yaml"
    path.write_text(TASK)
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, arguments), "--device", "cpu", "--precision", "fp32"])


def report(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def failure(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return "\n".join(line for line in result.stderr.splitlines() if line.startswith("error: "))


def test_the_report_covers_patterns_words_accuracy_time_and_overlaps(
    task: Path, tiny_model: Path, news_rows: list[dict[str, str]], write_jsonl: WriteRows
) -> None:
    train = write_jsonl("train.jsonl", news_rows[:16])
    pool = write_jsonl("pool.jsonl", [{"text": row["text"]} for row in news_rows[12:]])
    test = write_jsonl("test.jsonl", news_rows[30:])
    files = ["--train", train, "--unlabeled", pool, "--test", test]
    result = call(task, *files, "-m", tiny_model, "--max-length", 48, "--set", "steps=20", "--set", "student_steps=30")
    assert result.exit_code == 0, result.output
    assert "[CLS] [MASK] news :" in result.stdout  # the first pattern, filled, in tokens
    assert "the topic was [MASK] . [SEP]" in result.stdout
    assert "World = world; Sports = sports" in result.stdout
    assert "untrained" in result.stdout and "centered" in result.stdout
    assert "student" in result.stdout
    assert re.search("warning: unlabeled: 4 rows .*train", result.stderr)
    assert re.search("warning: test: 10 rows .*unlabeled", result.stderr)


def test_the_json_document_holds_the_figures(
    task: Path, tiny_model: Path, news_rows: list[dict[str, str]], write_jsonl: WriteRows
) -> None:
    train = write_jsonl("train.jsonl", news_rows[:9])
    found = report(task, "--train", train, "-m", tiny_model, "--max-length", 48, "--rows", 6, "--set", "steps=5")
    assert found["rows"] == {"train": 9}
    assert found["label_counts"]["train"] == {"World": 3, "Sports": 2, "Business": 2, "Technology": 2}
    first, second = found["patterns"]
    assert first["fixed_length"] == 5  # [CLS] [MASK] news : [SEP]
    assert first["words"]["World"] == {"world": ["world"]}
    tokens = first["filled"][0]["tokens"]
    assert tokens[first["filled"][0]["mask"]] == "[MASK]" and tokens[:1] == ["[CLS]"]
    assert second["cut"] == {"train": 0.0}
    zero_shot = found["zero_shot"]
    assert (zero_shot["table"], zero_shot["rows"], len(zero_shot["patterns"])) == ("train", 6, 2)
    assert all(0 <= figures["accuracy"] <= 1 for figures in zero_shot["patterns"])
    assert found["seconds"]["student"] == 0 < found["seconds"]["members"]
    assert not found["errors"] and not found["warnings"]


@pytest.mark.parametrize("labeled", [True, False])
def test_the_time_of_ipet_is_that_of_its_generations(
    task: Path, tiny_model: Path, news_rows: list[dict[str, str]], write_jsonl: WriteRows, labeled: bool
) -> None:
    files = ["--unlabeled", write_jsonl("pool.jsonl", [{"text": row["text"]} for row in news_rows[8:]])]
    files += ["--train", write_jsonl("train.jsonl", news_rows[:8])] if labeled else []
    small = ["--set", "steps=20", "--set", "growth=2", "--set", "generations=2", "--set", "first_set=6"]
    small += ["--set", "pool_share=1"]
    result = call(task, *files, "-m", tiny_model, "--max-length", 48, *small, "--method", "ipet", "--json", "-q")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["training_sets"] == ([8, 16] if labeled else [0, 6, 12])
    assert all(found["seconds"][part] > 0 for part in ("members", "labeling", "student"))
    shown = call(task, *files, "-m", tiny_model, "--max-length", 48, *small, "--method", "ipet").stdout
    assert ("8, 16" if labeled else "0, 6, 12") in shown


def test_what_ipet_lacks_is_named(
    task: Path, tiny_model: Path, news_rows: list[dict[str, str]], write_jsonl: WriteRows
) -> None:
    options = [task, "-m", tiny_model, "--max-length", 48, "--no-model", "--method", "ipet"]
    train = write_jsonl("train.jsonl", news_rows[:8])
    assert "--unlabeled" in failure(*options, "--train", train)
    task.write_text(TASK.rpartition("  - ")[0])
    pool = write_jsonl("pool.jsonl", [{"text": row["text"]} for row in news_rows])
    assert "add a pattern" in failure(*options, "--unlabeled", pool)


def test_without_data_the_patterns_are_filled_with_the_names_of_the_fields(task: Path, tiny_model: Path) -> None:
    result = call(task, "-m", tiny_model, "--max-length", 48)
    assert result.exit_code == 0, result.output
    assert "the topic was [MASK] ." in result.stdout
    assert "cuts" not in result.stdout and "untrained" not in result.stdout


def test_without_model_no_weights_are_needed(
    task: Path, tiny_model: Path, tmp_path: Path, news_rows: list[dict[str, str]], write_jsonl: WriteRows
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    train = write_jsonl("train.jsonl", news_rows)
    options = [task, "--train", train, "-m", bare, "--max-length", 48]
    found = report(*options, "--no-model")
    assert found["zero_shot"] is None and found["seconds"] is None and len(found["patterns"]) == 2
    assert str(bare) in failure(*options)


def test_a_pool_without_other_texts_than_those_of_train_is_pointed_out(
    task: Path, tiny_model: Path, news_rows: list[dict[str, str]], write_jsonl: WriteRows
) -> None:
    train = write_jsonl("train.jsonl", news_rows[:8])
    options = [task, "-m", tiny_model, "--max-length", 48, "--no-model", "--train", train, "--unlabeled"]
    assert "every text is also in train" in failure(*options, train)
    assert report(*options, write_jsonl("pool.jsonl", news_rows[7:9]))["rows"] == {"train": 8, "unlabeled": 1}


def test_only_the_texts_that_a_run_draws_are_checked(
    task: Path, tiny_model: Path, news_rows: list[dict[str, str]], write_jsonl: WriteRows
) -> None:
    train = write_jsonl("train.jsonl", news_rows[:8])
    options = [task, "-m", tiny_model, "--max-length", 48, "--no-model", "--train", train, "--unlabeled", train]
    found = report(*options, "--examples", 2)
    assert found["rows"] == {"train": 2, "unlabeled": 6}
    assert report(*options, "--shots", 1, "--pool-size", 3)["rows"]["unlabeled"] == 3
    assert "train" not in report(*options, "--examples", 0)["rows"]
    assert "--pool-size is 0" in failure(*options, "--examples", 2, "--pool-size", 0)
    assert "cannot be combined" in failure(*options, "--examples", 2, "--shots", 1)


def test_truncated_texts_are_counted(task: Path, tiny_model: Path, write_jsonl: WriteRows) -> None:
    rows = [{"text": "word " * n, "label": "World"} for n in (2, 100, 100, 100)]
    found = report(task, "--train", write_jsonl("t.jsonl", rows), "-m", tiny_model, "--max-length", 32, "--no-model")
    assert [pattern["cut"]["train"] for pattern in found["patterns"]] == [0.75, 0.75]
    assert any("75%" in warning for warning in found["warnings"])
    assert any("every example has the label 'World'" in warning for warning in found["warnings"])
    assert all(len(filled["tokens"]) <= 32 for pattern in found["patterns"] for filled in pattern["filled"])


def test_all_bad_words_of_all_patterns_come_at_once(task: Path, tiny_model: Path) -> None:
    task.write_text(
        TASK.replace("World: world", "World: 🐙")
        + '  - {template: "{mask}: {text}", '
        + "verbalizer: {World: world, Sports: 🦄, Business: business, Technology: World}}\n"
    )
    said = failure(task, "-m", tiny_model, "--max-length", 48).splitlines()
    assert len(said) == 3  # the shared one once, though two patterns have it
    for message, words in zip(
        said,
        [
            ("topics.yaml:4", "'🐙'", "'World'", "unknown"),
            ("'🦄'", "'Sports'"),
            ("'World'", "'Technology'", "'world'"),
        ],
        strict=True,
    ):
        assert all(word in message for word in words)


def test_mistakes_in_data_model_and_words_come_together(task: Path, tiny_model: Path, write_jsonl: WriteRows) -> None:
    task.write_text(TASK.replace("Sports: sports", "Sports: 🐙"))
    train = write_jsonl("train.jsonl", [{"text": "a", "label": "world"}])
    pool = write_jsonl("pool.jsonl", [{"body": "a"}])
    test = task.parent / "none.jsonl"
    files = ["--train", train, "--unlabeled", pool, "--test", test]
    said = failure(task, *files, "-m", tiny_model, "--max-length", 5000)
    for part in (
        "'world'",
        "'text'",
        "none.jsonl",
        "5000",
        "🐙",
    ):
        assert part in said


def test_a_kept_field_that_does_not_fit_is_found_in_any_row(
    task: Path, tiny_model: Path, write_jsonl: WriteRows
) -> None:
    task.write_text(TASK.replace("{mask} news: {text}", "{mask} news: {text!keep}"))
    rows = [{"text": "word " * (200 if n == 30 else 2), "label": "World"} for n in range(40)]
    files = ["--train", write_jsonl("t.jsonl", rows)]
    said = failure(task, *files, "-m", tiny_model, "--max-length", 32, "--no-model")
    assert "id '30'" in said and "!keep" in said and "train" in said


def test_a_pattern_longer_than_the_limit_is_an_error(task: Path, tiny_model: Path) -> None:
    said = failure(task, "-m", tiny_model, "--max-length", 8)
    assert "topics.yaml:7" in said and "8" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "./nowhere"], "./nowhere"),
        (["--rows", "0"], "--rows"),
        (["--recipe", "fast"], "'fast'"),
        (["--set", "stepz=1"], "stepz"),
        (["--max-length", "1"], "max_length"),
        (["--column", "text"], "FIELD=COLUMN"),
    ],
)
def test_a_mistake_in_an_option_names_it(options: list[str], message: str, task: Path, tiny_model: Path) -> None:
    model = [] if "-m" in options else ["-m", tiny_model]
    assert message in failure(task, *model, *options)


def test_a_model_without_a_mask_is_refused(task: Path, tiny_model: Path, tmp_path: Path) -> None:
    maskless = tmp_path / "maskless"
    shutil.copytree(tiny_model, maskless)
    config = json.loads((maskless / "tokenizer_config.json").read_text())
    config.pop("mask_token")
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (maskless / "tokenizer_config.json").write_text(json.dumps(config))
    said = failure(task, "-m", maskless, "--max-length", 48)
    assert len(said.splitlines()) == 1 and "mask" in said


def test_an_unknown_task_is_one_message(tiny_model: Path) -> None:
    assert len(failure("no-such-task", "-m", tiny_model).splitlines()) == 1


# ---- the arithmetic -----------------------------------------------------------------------------------


def test_times_are_products_of_counts_and_speeds() -> None:
    speed = Speed(load=2.0, member_update=0.5, scored_tokens=100.0, student_update=0.25)
    work = Work([Round(members=3, updates=10, tokens=1000.0)], student_updates=40)
    assert estimate(speed, work) == {
        "members": 3 * (2 + 5.0),
        "labeling": 3 * (2 + 10.0),
        "student": 2 + 10.0,
        "total": 21 + 36 + 12.0,
    }
    assert estimate(Speed(2.0, 100.0), work)["total"] == 0


def test_the_rounds_of_ipet_add_up() -> None:
    speed = Speed(load=2.0, member_update=0.5, scored_tokens=100.0, student_update=0.25)
    rounds = [Round(2, None, 1000.0), Round(6, 10, 1000.0), Round(6, 30, 1000.0)]
    assert estimate(speed, Work(rounds, 40)) == {
        "members": 6 * (2 + 5.0) + 6 * (2 + 15.0),
        "labeling": 14 * (2 + 10.0),
        "student": 12.0,
        "total": 42 + 102 + 168 + 12.0,
    }


@pytest.mark.parametrize(
    ("labeled", "pool", "sizes", "updates"),
    [
        # Five times as many texts each time, to 1,000 or more; eight texts per step, and at least sixty steps.
        (10, 5000, [10, 50, 250, 1250], [60, 60, 60, 157]),
        (10, 500, [10, 50, 250, 510], [60, 60, 60, 64]),  # limited by the pool
        (0, 5000, [0, 10, 50, 250, 1250], [None, 60, 60, 60, 157]),  # with first_set=10
        (0, 30, [0, 10, 30, 30, 30], [None, 60, 60, 60, 60]),
    ],
)
def test_training_sets_of_ipet_grow(
    task: Path, labeled: int, pool: int, sizes: list[int], updates: list[int | None]
) -> None:
    recipe = make_recipe("default", {"repetitions": 3, "first_set": 10})
    plan = make_plan(Task.load(str(task)), recipe.ipet, np.array([labeled, 0, 0, 0]), recipe.member.repetitions)
    assert training_sets(plan, pool) == sizes
    rounds = rounds_of(recipe, sizes, 2, 7.0)
    assert [these.updates for these in rounds] == updates
    assert [these.members for these in rounds] == [6 if labeled else 2, *[6] * (len(sizes) - 1)]
    assert {these.tokens for these in rounds} == {7.0}


def test_texts_that_patterns_label_take_time_to_label_and_to_learn(task: Path, tiny_model: Path) -> None:
    settings = {"pattern_labels": 400, "pattern_share": 0.25}
    models = Models(ModelInfo(str(tiny_model)), 48, shared=False)
    shared = Shared(Task.load(str(task)), make_recipe("default", settings), models)
    table = Dataset.from_dict({"text": ["news"] * 2000})
    tables = {"train": table.select(range(10)), "unlabeled": table}
    trained = [Round(2, 100, 8000.0), Round(2, 60, 8000.0)]  # 400 labeled by patterns, and ten texts forty times
    patterns = Round(1, None, 2 * 8000 * 1600 / 2000)
    assert all_rounds(shared, tables, [10, 50], 8000.0) == [*trained, patterns]
    assert all_rounds(shared, {"unlabeled": table}, [0, 400], 8000.0) == rounds_of(shared.recipe, [0, 400], 2, 8000.0)


def test_tokens_are_those_of_pool_and_test() -> None:
    lengths: Mapping[str, float] = {"train": 9.0, "unlabeled": 20.0, "test": 10.0}
    assert mean_tokens(lengths, {"train": 5, "unlabeled": 100, "test": 7}) == 2070


def test_centering_removes_the_bias_of_a_word() -> None:
    # The first label always scores 10 more; the remaining differences separate the rows.
    scores = np.array([[11.0, 0.0], [10.0, 1.0], [12.0, 0.5], [9.0, 1.5]])
    gold = np.array([0, 1, 0, 1])
    assert untrained_accuracy(scores, gold) == {"accuracy": 0.5, "centered": 1.0}


def test_long_rows_keep_their_ends_and_the_mask() -> None:
    tokens = tuple(f"t{i}" for i in range(100))
    shown = abbreviate(Filled(tokens, 50)).split()
    assert shown[:6] == list(tokens[:6]) and shown[-6:] == list(tokens[-6:])
    assert shown.count("…") == 2 and "t50" in shown and len(shown) == 6 + 25 + 6 + 2
    assert abbreviate(Filled(tokens[:20], 3)) == " ".join(tokens[:20])


@pytest.mark.parametrize(
    ("members", "status", "named"),
    [
        ("[hed]", 2, ("hed", "head")),
        ("[{external: nowhere.csv}]", 2, ("nowhere.csv",)),
        ("[{external: wrong.csv, name: teacher}]", 2, ("teacher", "wrong.csv:2", "'Weather'")),
        ("[head, {external: some.csv}]", 0, ("some", "1 of", "train")),
    ],
)
def test_members_of_the_task_are_checked(
    tmp_path: Path, tiny_model: Path, members: str, status: int, named: tuple[str, ...]
) -> None:
    folder = write_inputs(tmp_path / "in")
    first = json.loads((folder / "train.jsonl").read_text().splitlines()[0])["id"]
    (folder / "wrong.csv").write_text(f"id,label\n{first},Weather\n")
    (folder / "some.csv").write_text(f"id,label\n{first},World\n")
    with (folder / "task.yaml").open("a", encoding="utf-8") as task:
        task.write(f"members: {members}\n")
    done = pet(
        "check", folder / "task.yaml", "--model", tiny_model, "--train", folder / "train.jsonl", "--no-model",
        "--max-length", 64,
        expect=status,
    )  # fmt: skip
    assert all(part in done.stderr for part in named), done.stderr


@pytest.mark.parametrize(
    ("lines", "options", "named"),
    [
        ("", ["--set", "student_loss=ordinal"], "ordered: true"),
        ("multi_label: true", ["--set", "loss=hinge"], "multi_label: true"),
        ("multi_label: true", ["--set", "class_weight=balanced"], "balanced_batches"),
        ("members: [head, head]", [], "two members are named head"),
        ("members: [{external: same.csv}]", [], "id '0' stands for different texts in train and unlabeled"),
        ("members: [{embeddings: not-a-model}]", [], "not-a-model"),
        ("members: [{nli: mini-en}]", [], "entailment"),
        ("input: '" + "world " * 80 + "{text}'", [], "leave no room for text in 64 tokens"),
        ("members: [{gliclass: mini-en}]", [], "GLiClass"),
    ],
)
def test_the_check_refuses_what_a_run_refuses(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, lines: str, options: list[str], named: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(write_inputs(tmp_path / "in"))
    Path("same.csv").write_text("id,label\n0,World\n")
    for table in ("train.jsonl", "pool.jsonl"):  # without ids, which then are row numbers
        rows = [json.loads(line) for line in Path(table).read_text().splitlines()]
        for row in rows:
            del row["id"]
            if "label" in row and "multi_label" in lines:
                row["label"] = [row["label"]]
        write_rows(Path(table), rows)
    with Path("task.yaml").open("a", encoding="utf-8") as task:
        task.write(lines + "\n")
    given = ["task.yaml", "-m", tiny_model, "--train", "train.jsonl", "--unlabeled", "pool.jsonl", *options]
    checked = pet("check", *given, "--no-model", "--max-length", 64, expect=2)
    assert named in checked.stderr
    ran = pet("run", *given, "-o", "run", "--max-length", 64, expect=2)
    assert named in ran.stderr and not Path("run").exists()


@pytest.mark.parametrize("pattern", ["{text!keep} It is {mask}.", "{text!keep} Is it {label}? {mask}."])
@pytest.mark.parametrize("table", ["train", "pool", "test"])
def test_a_kept_field_that_does_not_fit_is_named_before_anything_is_trained(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, table: str
) -> None:
    monkeypatch.chdir(write_inputs(tmp_path / "in"))
    asks = "{label}" in pattern
    words = "" if asks else "verbalizer: {World: world, Sports: sports, Business: business, Technology: technology}\n"
    start = "task: topics\nfields: [text]\nlabels: [World, Sports, Business, Technology]\n"
    Path("task.yaml").write_text(f"{start}{words}multi_label: {str(asks).lower()}\npatterns: [{json.dumps(pattern)}]\n")
    for name in ("train", "pool", "test"):
        rows = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
        if asks:
            rows = [row | {"label": [row["label"]]} if "label" in row else row for row in rows]
        if name == table:
            rows[3]["text"] = "world " * 80
            long = rows[3]["id"]
        write_rows(Path(f"{name}.jsonl"), rows)
    given = [
        "task.yaml",
        "-m",
        tiny_model,
        "--train",
        "train.jsonl",
        "--unlabeled",
        "pool.jsonl",
        "--test",
        "test.jsonl",
    ]
    name = {"pool": "unlabeled"}.get(table, table)
    checked = pet("check", *given, "--no-model", "--max-length", 64, expect=2)
    assert f"{name}: pattern" in checked.stderr and f"id {long!r}" in checked.stderr
    for method in ("pet", "zero-shot"):
        ran = pet("run", *given, *QUICK, "-o", "run", "--method", method, expect=2)
        assert f"error: {name}: pattern" in ran.stderr and f"id {long!r}" in ran.stderr
        assert not Path("run").exists()


def test_a_text_that_fits_with_some_labels_only_is_found(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long text is the first, which the check fills with the first label, a short one."""
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text(
        "task: t\nfields: [text]\nlabels: [World, world sports business technology]\nmulti_label: true\n"
        "patterns: ['{text!keep} {label}? {mask}']\n"
    )
    rows = [{"id": str(n), "text": "world " * count, "label": ["World"]} for n, count in enumerate((10, 1, 1))]
    write_rows(Path("t.jsonl"), rows)
    given = ["task.yaml", "-m", tiny_model, "--train", "t.jsonl", "--no-model", "--max-length", 16]
    assert "the first has the id '0'" in pet("check", *given, expect=2).stderr


def test_a_kept_field_that_does_not_fit_is_found_before_a_supervised_run_with_baselines(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_inputs(tmp_path / "in"))
    Path("task.yaml").write_text(Path("task.yaml").read_text().replace("{text} It", "{text!keep} It"))
    rows = [json.loads(line) for line in Path("test.jsonl").read_text().splitlines()]
    write_rows(Path("test.jsonl"), [row | {"text": "world " * 80} for row in rows[:2]])
    given = ["task.yaml", "-m", tiny_model, "--train", "train.jsonl", "--test", "test.jsonl", "--method", "supervised"]
    ran = pet("run", *given, *QUICK, "--baselines", "-o", "run", expect=2)
    assert "error: test: pattern" in ran.stderr and f"id {rows[0]['id']!r}" in ran.stderr
    assert not Path("run").exists()
    pet("run", *given, *QUICK, "-o", "run")  # no pattern reads the texts
