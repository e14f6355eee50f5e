"""``pet run``: what it prints, what it leaves, what it refuses."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from small_run import QUICK, pet, refused, run_options, write_inputs, write_rows
from tiny_text import LABELS, news_rows

from pet.run import pipeline
from pet.run.load_run import read_settings


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    return write_inputs(tmp_path / "in")


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Inputs, folder and output of a run with baselines."""
    root = tmp_path_factory.mktemp("finished")
    inputs = write_inputs(root / "in")
    result = pet(*run_options(inputs, tiny_model), "--baselines", "-o", root / "run")
    return inputs, root / "run", result.stdout


# --- a run ---------------------------------------------------------------------------------------------


def test_it_ends_with_a_comparison_and_the_next_command(finished: tuple[Path, Path, str]):
    _, folder, output = finished
    names = [re.split("  +", line)[0] for line in output.splitlines()[2:8]]
    assert names == ["embeddings", "tfidf", "zero-shot", "supervised", "pet ensemble", "pet student"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"{metrics['student']['accuracy']:.3f}" in output
    accuracies = [m["accuracy"] for m in metrics["members"].values()]
    assert any("'World'" in line and "0.250" in line for line in output.splitlines())  # the majority label
    (members,) = [line for line in output.splitlines() if "2 members" in line]
    assert f"{min(accuracies):.3f}" in members and f"{max(accuracies):.3f}" in members
    assert f"pet predict {folder / 'student'} --input FILE" in output


def test_the_student_is_a_plain_classifier(finished: tuple[Path, Path, str]):
    transformers = pytest.importorskip("transformers")
    folder = finished[1] / "student"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    assert [model.config.id2label[i] for i in range(4)] == list(LABELS)
    assert "## Training" in (folder / "README.md").read_text()
    assert not list(folder.glob("*.bin"))


def test_a_supervised_run_needs_no_texts_in_the_pool(inputs: Path, tiny_model: Path, tmp_path: Path):
    options = run_options(inputs, tiny_model, parts=("train", "test"))
    pet(*options, "--method", "supervised", "--unlabeled", inputs / "train.jsonl", "-q", "-o", tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["data"]["pool"] == 0 and 0 <= metrics["student"]["accuracy"] <= 1


def test_the_same_command_again_keeps_everything_and_prints_json(finished: tuple[Path, Path, str], tiny_model: Path):
    inputs, folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    result = pet(*run_options(inputs, tiny_model), "--baselines", "--json", "-o", folder)
    assert json.loads(result.stdout) == json.loads((folder / "metrics.json").read_text())
    assert "student" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")} == before


def test_a_config_repeats_its_run(finished: tuple[Path, Path, str], tmp_path: Path):
    _, folder, _ = finished
    pet("run", folder / "config.yaml", "-q", "-o", tmp_path / "again")
    for name in (
        "g0/p1-r1/model.safetensors",
        "g0/labels.parquet",
        "student/model.safetensors",
        "config.yaml",
    ):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name
    pet("run", folder / "config.yaml", "-q", "--seed", 7, "-o", tmp_path / "other")
    changed = yaml.safe_load((tmp_path / "other" / "config.yaml").read_text())["settings"]
    assert changed["seed"] == 7 and changed["baselines"] is True
    assert (tmp_path / "other/student/model.safetensors").read_bytes() != (
        folder / "student/model.safetensors"
    ).read_bytes()


def test_a_config_without_output_continues_in_its_folder(finished: tuple[Path, Path, str]):
    result = pet("run", finished[1] / "config.yaml")
    assert "g0/p1-r1" in result.stderr and " steps" not in result.stderr
    message = refused("run", finished[1] / "config.yaml", "--shots", 2)
    assert str(finished[1]) in message and "settings.shots" in message


def test_options_replace_each_other_on_top_of_a_config(finished: tuple[Path, Path, str], tmp_path: Path):
    pet("run", finished[1] / "config.yaml", "--shots", 2, "--method", "supervised", "-q", "-o", tmp_path / "a")
    pet("run", tmp_path / "a" / "config.yaml", "--examples", 4, "-q", "-o", tmp_path / "b")
    settings = yaml.safe_load((tmp_path / "b" / "config.yaml").read_text())["settings"]
    assert settings["examples"] == 4 and settings["shots"] is None


@pytest.mark.parametrize("method", ["supervised", "zero-shot"])
def test_other_methods_have_the_same_output(method: str, inputs: Path, tiny_model: Path, tmp_path: Path):
    result = pet(*run_options(inputs, tiny_model), "--method", method, "-o", tmp_path / "run")
    assert any(line.startswith(method) for line in result.stdout.splitlines()[2:6])
    follow = "pet predict" if method == "supervised" else "pet distill --labels"
    assert follow in result.stdout.splitlines()[-1]


def test_the_command_that_a_zero_shot_run_names_works(inputs: Path, tiny_model: Path, tmp_path: Path):
    rows = [{"review": row["text"], "id": row["id"]} for row in news_rows()]
    write_rows(inputs / "pool.jsonl", rows)
    options = [*run_options(inputs, tiny_model, parts=["unlabeled"]), "--column", "text=review"]
    result = pet(*options, "--method", "zero-shot", "--pool-size", 30, "-q", "-o", tmp_path / "my run")
    _, command, *arguments = shlex.split(result.stdout.splitlines()[-1].removeprefix("next:"))
    pet(command, *arguments, "--set", "student_steps=1", "--max-length", 64, "-q")
    assert (tmp_path / "my run-student" / "config.json").is_file()


def test_without_pool_and_test_texts_the_ensemble_is_the_result(inputs: Path, tiny_model: Path, tmp_path: Path):
    result = pet(*run_options(inputs, tiny_model, parts=["train"]), "-o", tmp_path / "run")
    assert "unlabeled" in next(line for line in result.stderr.splitlines() if line.startswith("warning"))
    assert "--test" in result.stdout
    assert "pet label" in result.stdout.splitlines()[-1]


def test_seeds_give_the_mean_over_runs(inputs: Path, tiny_model: Path, tmp_path: Path):
    options = [*run_options(inputs, tiny_model), "--method", "supervised", "-q", "-o", tmp_path / "runs"]
    result = pet(*options, "--seeds", 2)
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning:")]
    assert sum("no effect" in line for line in warnings) > 0 and len(set(warnings)) == len(warnings)
    assert " ± " in result.stdout and f"report:     {tmp_path / 'runs' / 'report.html'}\n" in result.stdout
    found = json.loads((tmp_path / "runs" / "metrics.json").read_text())
    accuracies = [found["runs"][seed]["student"]["accuracy"] for seed in ("0", "1")]
    assert found["summary"]["supervised"]["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2)
    assert json.loads(pet(*options, "--seeds", 2, "--json").stdout) == found
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert all(f"{accuracy:.3f} [" in page for accuracy in accuracies) and 'href="seed-1/report.html"' in page
    assert re.search("--seeds.*--seed|--seed.*--seeds", refused(*options, "--seeds", 2, "--seed", 1))
    assert "--seeds" in refused(*options, "--seeds", 0)


def test_seeds_do_not_go_into_the_folder_of_a_run(finished: tuple[Path, Path, str], tiny_model: Path):
    inputs, folder, _ = finished
    message = refused(*run_options(inputs, tiny_model), "--seeds", 2, "-o", folder)
    assert str(folder) in message
    assert not (folder / "seed-0").exists()


def test_columns_with_other_names_are_mapped(tiny_model: Path, inputs: Path, tmp_path: Path):
    rows = [{"review": row["text"], "topic": row["label"]} for row in news_rows()]
    write_rows(inputs / "train.jsonl", rows[:12])
    mapping = ["--column", "text=review", "--column", "label=topic"]
    options = run_options(inputs, tiny_model, parts=["train"])
    pet(*options, *mapping, "--method", "supervised", "-q", "-o", tmp_path / "run")
    message = refused(*options, "--column", "text", "--column", "=x", "-o", tmp_path / "other")
    assert message.count("error:") == 2 and "FIELD=COLUMN" in message


def test_odd_texts_are_labeled_like_all_others(inputs: Path, tiny_model: Path, tmp_path: Path):
    texts = ["😀😀😀", "   ", "[MASK]", "[MASK] [SEP] {text.__class__} </s>", "news " * 20_000, "}{", ""]
    write_rows(inputs / "pool.jsonl", [{"text": text} for text in texts])
    pet(*run_options(inputs, tiny_model), "-q", "-o", tmp_path / "run")
    lines = (tmp_path / "run/g0/labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(texts)


def test_a_label_without_examples_gives_a_warning(inputs: Path, tiny_model: Path, tmp_path: Path):
    rows = [row for row in news_rows()[:12] if row["label"] != "Sports"]
    write_rows(inputs / "train.jsonl", rows)
    result = pet(*run_options(inputs, tiny_model, parts=["train", "test"]), "-o", tmp_path / "run")
    assert any("Sports" in line for line in result.stderr.splitlines() if line.startswith("warning"))
    assert len(json.loads((tmp_path / "run/metrics.json").read_text())["ensemble"]["per_class"]) == 4


def test_the_default_model_is_named_with_the_option_to_change_it(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pet.backbones.place.DEFAULT_MODEL", str(tiny_model))
    options = run_options(inputs, tiny_model, parts=["train"])
    at = options.index("--model")
    result = pet(*options[:at], *options[at + 2 :], "--method", "supervised", "-o", tmp_path / "run")
    assert str(tiny_model) in result.stderr and "--model" in result.stderr


# --- help ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "label", "distill", "predict", "evaluate"])
def test_help_ends_with_examples(command: str):
    text = pet(command, "--help").stdout
    assert f"pet {command}" in text.split("Examples:")[1]


def test_help_and_argument_checks_do_not_import_torch():
    code = (
        "import importlib, sys; from pet.cli.main import COMMANDS;"
        "[importlib.import_module(f'pet.cli.{name}') for name in COMMANDS];"
        "from pet.recipe import make_recipe; make_recipe('default', {'tuning': 'lora'});"
        "print([m for m in ('torch', 'numpy', 'transformers', 'datasets') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_list_settings_names_every_setting_and_recipe():

    from pet.recipe import RECIPES
    from pet.settings import groups_of

    text = pet("run", "--list-settings").stdout
    assert all(f"\n{name} " in text for name in RECIPES["default"].to_dict())
    assert text.split("\n")[0].split()[1 : 1 + len(RECIPES)] == list(RECIPES)
    titles = [group.title for group in groups_of(RECIPES["default"]) if group.title]
    assert [line for line in text.split("\n") if line in titles] == titles


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--list-settings", "--json"],
        ["run", "--json", "--list-settings"],
        ["distill", "--list-settings", "--json"],
    ],
)
def test_list_settings_is_one_json_document_with_every_setting(arguments: list[str]):
    from pet.recipe import EFFORTS, RECIPES

    found = json.loads(pet(*arguments).stdout)
    assert (found["recipes"], found["efforts"]) == (list(RECIPES), list(EFFORTS))
    rows = {row["name"]: row for row in found["settings"]}
    for recipe, values in RECIPES.items():
        assert {name: row["values"][recipe] for name, row in rows.items()} == values.to_dict()
    assert {key: rows["steps"][key] for key in ("group", "type", "default", "choices", "low", "high")} == {
        "group": "Members", "type": "integer", "default": 60, "choices": None, "low": 0, "high": 10**7
    }  # fmt: skip
    assert rows["merge"]["type"] == "string" and rows["merge"]["choices"] == ["learned", "weighted", "uniform"]
    assert rows["even_start"]["type"] == "boolean" and rows["steps"]["help"].startswith("training steps of a member")


def test_json_that_is_a_value_does_not_change_the_list_of_settings():
    assert pet("run", "-o", "--json", "--list-settings").stdout == pet("run", "--list-settings").stdout


# --- refusals ------------------------------------------------------------------------------------------

Change = Callable[[Path], Any]


def _write(name: str, text: str) -> Change:
    return lambda inputs: (inputs / name).write_text(text, encoding="utf-8")


def _task(old: str, new: str) -> Change:
    def change(inputs: Path) -> None:
        text = (inputs / "task.yaml").read_text()
        assert old in text
        (inputs / "task.yaml").write_text(text.replace(old, new))

    return change


ROW = '{"text": "The team won.", "label": "Sports"}\n'
BAD_DATA: dict[str, tuple[Change, list[str]]] = {
    "empty file": (_write("train.jsonl", ""), ["train.jsonl", "empty"]),
    "ends in mid-line": (_write("train.jsonl", ROW + '{"text": "The te'), ["train.jsonl:2", "truncated"]),
    "invalid UTF-8": (
        lambda inputs: (inputs / "train.jsonl").write_bytes(b'{"text": "caf\xe9", "label": "Sports"}\n'),
        ["train.jsonl", "UTF-8"],
    ),
    "arrays": (_write("train.jsonl", '["a", "b"]\n'), ["train.jsonl:1", "array"]),
    "missing field": (
        _write("train.jsonl", '{"txt": "a", "label": "Sports"}\n'),
        ["'text'", "--column text="],
    ),
    "other case": (
        _write("train.jsonl", ROW.replace("Sports", "sports")),
        ["train.jsonl:1", "'sports'", "'Sports'"],
    ),
    "empty pool": (_write("pool.jsonl", "\n"), ["pool.jsonl", "empty"]),
    "no mask": (_task("{mask}: ", "Topic: "), ["task.yaml", "mask"]),
    "attribute access": (_task("{text} It", "{text.__class__} It"), ["task.yaml", "text.__class__"]),
    "Python tag": (
        _write("task.yaml", "!!python/object/apply:os.system ['true']\n"),
        ["task.yaml", "python"],
    ),
    "one label": (
        _task("labels: [World, Sports, Business, Technology]", "labels: [World]"),
        ["task.yaml", "label"],
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_a_mistake_in_data_or_task_names_the_place_and_writes_nothing(
    case: str, inputs: Path, tiny_model: Path, tmp_path: Path
):
    change, words = BAD_DATA[case]
    change(inputs)
    said = refused(*run_options(inputs, tiny_model), "-o", tmp_path / "run").splitlines()
    message = "\n".join(line for line in said if not line.startswith("warning: "))
    assert message.startswith("error: ")
    for word in words:
        assert word in message
    assert not (tmp_path / "run").exists()


BAD_OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "zero shots": (["--shots", "0"], ["--method zero-shot", "--method ipet"]),
    "zero examples": (["--examples", "0"], ["--method zero-shot"]),
    "negative shots": (["--shots", "-1"], ["--shots", "-1"]),
    "too many shots": (["--shots", "50"], ["50"]),
    "shots and examples": (["--shots", "1", "--examples", "4"], ["--shots", "--examples"]),
    "unknown setting": (["--set", "stepz=3"], ["'stepz'", "steps"]),
    "setting without value": (["--set", "steps"], ["KEY=VALUE"]),
    "setting that is no number": (["--set", "steps=many"], ["steps", "'many'"]),
    "setting out of range": (["--set", "alpha=2"], ["alpha"]),
    "unknown recipe": (["--recipe", "fast"], ["'fast'", "paper"]),
    "unknown method": (["--method", "magic"], ["'magic'", "supervised", "ipet"]),
    "too long": (["--max-length", "4000"], ["4000", "--max-length"]),
    "unknown device": (["--device", "toaster"], ["toaster"]),
    "empty pool size": (["--pool-size", "0"], ["--pool-size", "0"]),
    "no such file": (["--test", "nowhere.jsonl"], ["nowhere.jsonl"]),
    "no such model": (["--model", "./nowhere"], ["./nowhere"]),
    "no such student": (["--student-model", "./nowhere"], ["./nowhere"]),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_a_mistake_in_an_option_names_it_and_writes_nothing(case: str, inputs: Path, tiny_model: Path, tmp_path: Path):
    options, words = BAD_OPTIONS[case]
    message = refused(*run_options(inputs, tiny_model), *options, "-o", tmp_path / "run")
    for word in words:
        assert word in message
    assert not (tmp_path / "run").exists()


def test_options_that_are_missing_are_named(inputs: Path, tiny_model: Path, tmp_path: Path):
    assert "-o" in refused(*run_options(inputs, tiny_model))
    message = refused(*run_options(inputs, tiny_model, parts=["unlabeled"]), "-o", tmp_path / "run")
    assert "--train" in message
    options = [
        *run_options(inputs, tiny_model, parts=["train"]),
        "--method",
        "zero-shot",
        "-o",
        tmp_path / "run",
    ]
    assert "--unlabeled or --test" in refused(*options)
    assert "agnwes" in refused("run", "agnwes", "-o", tmp_path / "run")


def _without_weights(model: Path, target: Path) -> None:
    shutil.copytree(model, target)
    (target / "model.safetensors").unlink()


def _pickled(model: Path, target: Path) -> None:
    import torch
    from safetensors.torch import load_file

    _without_weights(model, target)
    torch.save(load_file(model / "model.safetensors"), target / "pytorch_model.bin")


def _without_mask(model: Path, target: Path) -> None:
    shutil.copytree(model, target)
    path = target / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["mask_token"] = None
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # BERT's own class would add one
    path.write_text(json.dumps(settings))


def _pointer(model: Path, target: Path) -> None:
    _without_weights(model, target)
    (target / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


BAD_MODELS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "without weights": (_without_weights, "weights"),
    "pickled": (_pickled, "--allow-pickle"),
    "without mask": (_without_mask, "mask"),
    "of git-lfs": (_pointer, "git lfs pull"),
    "empty folder": (lambda _, target: target.mkdir(), "config.json"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_model_that_cannot_be_used_is_one_message(case: str, inputs: Path, tiny_model: Path, tmp_path: Path):
    make, word = BAD_MODELS[case]
    make(tiny_model, tmp_path / "model")
    message = refused(*run_options(inputs, tmp_path / "model"), "-o", tmp_path / "run")
    assert word in message and message.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_pickled_weights_are_loaded_only_on_request(inputs: Path, tiny_model: Path, tmp_path: Path):
    _pickled(tiny_model, tmp_path / "model")
    options = run_options(inputs, tmp_path / "model", parts=["train"])
    pet(*options, "--method", "supervised", "--allow-pickle", "-q", "-o", tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.bin"))


def test_a_hub_model_is_identified_by_its_commit(tiny_model: Path, tmp_path: Path):
    """The name alone would not tell one version from the next."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "hub" / "models--somebody--tiny"
    shutil.copytree(tiny_model, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    code = "from pet.backbones.load import model_fingerprint; print(model_fingerprint('somebody/tiny'))"
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == commit


def test_some_of_the_patterns_can_be_selected(inputs: Path, tiny_model: Path, tmp_path: Path, family_model: Any):
    options = run_options(inputs, tiny_model, parts=["train", "test"])
    pet(*options, "--patterns", "2", "-o", tmp_path / "run")
    task = read_settings(tmp_path / "run").task
    assert task["patterns"] == ["{text} It is {mask}."]
    assert list(json.loads((tmp_path / "run" / "metrics.json").read_text())["members"]) == ["p1-r1"]
    pet(*options, "--patterns", "2", "-o", tmp_path / "run")  # the same run
    assert "settings.task.patterns" in refused(*options, "-o", tmp_path / "run")
    for wrong in ("3", "1,1", "one"):
        said = refused(*options, "--patterns", wrong, "-o", tmp_path / "other")
        assert "--patterns" in said and wrong in said
    options = run_options(inputs, family_model("gpt2"), parts=["train", "test"])
    said = refused(*options, "-o", tmp_path / "other")
    assert "causal" in said and "--patterns 2" in said
    check = ["check", inputs / "task.yaml", "--model", family_model("gpt2"), "--no-model", "--max-length", "64"]
    pet(*check, "--patterns", "2")
    said = pet(*check, expect=2).stderr
    assert "--patterns 2" in said


def test_a_model_that_cannot_be_a_student_needs_another_student_model(
    inputs: Path, family_model: Any, tiny_model: Path, tmp_path: Path
):
    if not hasattr(transformers, "MambaConfig"):
        pytest.skip("this transformers has no Mamba")
    options = [*run_options(inputs, family_model("mamba"), parts=["train", "unlabeled"]), "--patterns", "2"]
    assert "--student-model" in refused(*options, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    pet(*options, "--student-model", tiny_model, "-o", tmp_path / "run")
    assert (tmp_path / "run" / "student").is_dir()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes")])
def test_out_of_memory_is_one_message_with_a_cure(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("pet.run.pipeline.pattern_accuracies", fails)
    said = refused(*run_options(inputs, tiny_model), "-o", tmp_path / "run")
    assert "memory" in said and "labeled_batch" in said and "--max-length" in said


def test_folders_with_other_files_are_refused_and_kept(inputs: Path, tiny_model: Path, tmp_path: Path):
    options = run_options(inputs, tiny_model)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mother.txt").write_text("Dear")
    assert "mother.txt" in refused(*options, "-o", tmp_path / "letters")
    assert os.listdir(tmp_path / "letters") == ["mother.txt"]
    assert str(inputs / "task.yaml") in refused(*options, "-o", inputs / "task.yaml")
    assert str(inputs / "task.yaml") in refused(*options, "-o", inputs / "task.yaml" / "run")


def test_a_folder_with_another_run_is_refused(finished: tuple[Path, Path, str], tiny_model: Path):
    inputs, folder, _ = finished
    message = refused(*run_options(inputs, tiny_model), "--baselines", "--seed", 5, "-o", folder)
    assert str(folder) in message and "settings.seed" in message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(inputs: Path, tiny_model: Path, tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o500)
    message = refused(*run_options(inputs, tiny_model), "-o", tmp_path / "closed" / "run")
    assert str(tmp_path / "closed") in message


# --- interrupts ----------------------------------------------------------------------------------------


def test_an_interrupt_says_how_to_continue(
    inputs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run", stop)
    result = pet(*run_options(inputs, tiny_model), "-o", tmp_path / "run", expect=130)
    assert result.stdout == "" and len(result.stderr.splitlines()) == 1
    assert "same command" in result.stderr and str(tmp_path / "run") in result.stderr


def process(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(pipeline.__file__).parents[2],
        **options,
    )


@pytest.mark.skipif(os.name == "nt", reason="has no SIGINT for other processes")
def test_ctrl_c_ends_a_real_process_cleanly(inputs: Path, tiny_model: Path, tmp_path: Path):
    options = [*run_options(inputs, tiny_model), "--set", "steps=100000", "-o", str(tmp_path / "run")]
    # A shell that runs the tests in the background makes them ignore the signal, and children inherit that.
    with process(options, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as running:
        try:
            assert running.stderr is not None
            for line in running.stderr:
                if line.startswith("train g0/p1-r1"):
                    running.send_signal(signal.SIGINT)
                    break
            rest, _ = running.communicate(timeout=60)[::-1]
        except BaseException:
            running.kill()
            raise
        assert running.wait(60) == 130
    assert "Traceback" not in rest and str(tmp_path / "run") in rest
    assert not list((tmp_path / "run").rglob(".tmp-*"))


def test_a_real_process_exits_with_2_and_one_line_on_a_mistake(inputs: Path, tmp_path: Path):
    options = ["run", str(inputs / "task.yaml"), "--train", str(inputs / "task.yaml"), *QUICK]
    with process([*options, "--model", "./nowhere", "-o", str(tmp_path / "run")]) as running:
        output, message = running.communicate(timeout=120)
    assert running.returncode == 2 and output == ""
    assert message.startswith("error: ") and "./nowhere" in message
    assert len(message.splitlines()) == 1
