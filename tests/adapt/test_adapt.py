"""`pet adapt` from text to a model folder, also when it is stopped, killed or replaces a model."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_text import WORDS, training_text
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

import pet.errors
from pet.adapt import card, packing, samples
from pet.adapt.adapt import adapt
from pet.adapt.objective import make_masker
from pet.adapt.plan import Plan, rows_of_step
from pet.adapt.prepare import hold_out, read_repeats
from pet.adapt.settings import AdaptSettings, OutputSettings, StartSettings, TextSettings, TrainingSettings
from pet.cli.main import main
from pet.errors import PetError
from pet.progress import Reporter

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

ROOT = Path(pet.errors.__file__).parent.parent
DOCUMENTS = list(training_text())
QUICK = TrainingSettings(max_steps=6, batch_tokens=128, micro_tokens=128, lr=1e-3, eval_tokens=128)
needs_kill = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX")


def write_text(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_text("\n".join(DOCUMENTS), encoding="utf-8")
    return path


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    return write_text(tmp_path)


def load(folder: Path) -> tuple[Any, Any]:
    return AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def run(source: Path, model: Path, out: Path, settings: TrainingSettings = QUICK, **more: Any) -> dict[str, Any]:
    """Adapt a model; options of the output may be given by name."""
    output = {name: more.pop(name) for name in ("overwrite", "save_dtype", "prompts") if name in more}
    text = TextSettings((str(source),), held_out=0.1, length=32)
    start, folder = StartSettings(model=str(model)), OutputSettings(str(out), **output)
    return adapt(AdaptSettings(text, start, settings, folder), **more)


# --- the result ----------------------------------------------------------------------------------------


def test_training_learns_and_writes_a_complete_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "text.txt"  # each document repeats one word, so that hidden words can be read off
    source.write_text("\n".join(f"{word} " * 60 for word in WORDS * 6), encoding="utf-8")
    settings = AdaptSettings(
        TextSettings((str(source),), held_out=0.1, length=32),
        StartSettings(vocab=200, layers=1, hidden=64, positions=64),
        replace(QUICK, max_steps=40, lr=5e-3, batch_tokens=512, micro_tokens=512, eval_tokens=512),
        OutputSettings(str(tmp_path / "new"), save_dtype="fp16", prompts=("great great {mask} great",)),
    )
    record = adapt(settings, Reporter("plain"), command="pet adapt")
    assert record["evaluation"]["loss"] < record["start"]["loss"] - 0.5
    assert record["evaluation"]["perplexity"] == pytest.approx(math.exp(record["evaluation"]["loss"]))
    _, tokenizer = load(tmp_path / "new")
    weights = load_file(tmp_path / "new" / "model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())
    assert tokenizer.model_max_length == 64 and len(tokenizer) <= 200
    assert [sample["text"] for sample in record["samples"]] == ["great great {mask} great"]
    assert len(record["samples"][0]["words"]) == 5
    readme = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert "from scratch" in readme and f"{record['parameters']:,}" in readme
    assert str(tmp_path) not in readme and str(tmp_path) not in (tmp_path / "new" / "training.json").read_text()
    assert not (tmp_path / "new.work").exists()
    shown = capsys.readouterr().err
    assert "before training" in shown and "train: 40 steps" in shown


def test_a_shrunk_encoder_is_trained(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_model).save_pretrained(tmp_path / "encoder")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "encoder")
    start = StartSettings(
        model=str(tmp_path / "encoder"), keep_layers=(1,), feed_forward=48, vocab=500, keep_words=("terrible",)
    )
    text, settings = TextSettings((str(text_file),), held_out=0.1, length=32), replace(QUICK, max_steps=8)
    output = OutputSettings(str(tmp_path / "small"))
    record = adapt(AdaptSettings(text, start, replace(settings, head_share=0.5), output))
    assert record["new_head"] and record["shape"]["num_hidden_layers"] == 1
    model, tokenizer = load(tmp_path / "small")
    assert model.config.intermediate_size == 48 and len(tokenizer) <= 500
    assert len(tokenizer.tokenize("terrible")) == 1
    assert record["samples"] and all(sample["hidden"] for sample in record["samples"])
    assert json.loads((tmp_path / "small" / "tokenizer.json").read_text())["truncation"] is None


def test_a_source_can_be_read_several_times_per_pass(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    often = tmp_path / "often.txt"
    documents = [f"{WORDS[i % len(WORDS)]} is the word of day {i}" for i in range(40)]
    often.write_text("\n".join(documents), encoding="utf-8")
    text = TextSettings((str(text_file), str(often)), length=32)
    assert read_repeats([f"{often}=3"], text.sources) == dict.fromkeys(documents, 3)
    start = StartSettings(model=str(tiny_model))
    once = adapt(AdaptSettings(text, start, QUICK, OutputSettings(str(tmp_path / "once"))))
    text = replace(text, repeat=(f"{often}=3",))
    thrice = adapt(AdaptSettings(text, start, QUICK, OutputSettings(str(tmp_path / "thrice"))))
    # The same documents are held out, and the others of the repeated source occur twice more.
    for same in ("documents_trained", "documents_held_out", "characters", "text_sha256"):
        assert once[same] == thrice[same]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    _, held = hold_out(DOCUMENTS + documents, 0.01, 0)
    more = sum(len(ids) for ids in packing.encode(tokenizer, [d for d in documents if d not in held]))
    assert thrice["tokens_in_text"] == once["tokens_in_text"] + 2 * more
    assert thrice["settings"]["text"]["repeat"] == ["often.txt=3"]


def test_text_cannot_break_the_model_card() -> None:
    assert card.command_line(["adapt", "--text", "/home/me/a b.txt", "../x.txt"]) == (
        "pet adapt --text 'a b.txt' ../x.txt"
    )
    record = {
        **{"base": "a`\n# b|c", "new_head": False, "model_type": "bert", "parameters": 5, "shape": {}, "vocabulary": 9},
        **{"words_added": 0},
        **{"documents_trained": 1, "characters": 2, "tokens_in_text": 3, "unknown_tokens": 0, "documents_held_out": 1},
        **{"tokens": 8, "epochs": 1.0, "step": 1, "seconds": 1.0, "machine": "CPU", "save_dtype": "fp32"},
        "settings": AdaptSettings(
            TextSettings(("<script>|x\n## y",)), StartSettings(model="m"), QUICK, OutputSettings("out")
        ).public(),
        "samples": [{"text": "so {mask}\n# it", "hidden": "<b>", "words": [["`|`", 0.5]]}],
        **{key: {"loss": 1.0, "perplexity": 2.7, "accuracy": 0.5} for key in ("start", "evaluation")},
    }
    lines = card.model_card("x\n# y", record).splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# x \\# y",
        *("## Usage", "## Model", "## Training", "## Held-out text", "## Examples", "## Limitations"),
    ]
    assert not any("<" in line for line in lines)
    assert all(len(line.replace("\\|", "").split("|")) == 4 for line in lines if "script" in line)


# --- training ------------------------------------------------------------------------------------------


def test_each_pass_reads_each_sequence_once() -> None:
    seen = np.concatenate([rows_of_step(step, 4, 10, seed=0) for step in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()


def test_processes_share_the_sequences_of_an_update_evenly() -> None:
    settings = TrainingSettings(batch_tokens=640, micro_tokens=128)
    alone, three = (Plan.of(settings, count=100, length=64, processes=n) for n in (1, 3))
    assert (alone.rows, alone.pieces, alone.pace.steps) == (10, 5, 10)
    assert (three.rows, three.pieces, three.pace.steps) == (12, 6, 9)


def test_accumulation_does_not_change_the_result(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    losses = [
        run(text_file, tiny_model, tmp_path / f"m{micro}", replace(QUICK, micro_tokens=micro))["evaluation"]["loss"]
        for micro in (32, 128)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_minutes_end_the_training(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    settings = replace(QUICK, max_steps=None, max_minutes=1.0)
    result = run(text_file, tiny_model, tmp_path / "m", settings, reporter=Reporter("quiet", clock=clock))
    # The clock is read twice per step: 60 seconds are 30 steps.
    assert result["step"] == pytest.approx(30, abs=1) and result["seconds"] >= 59
    sequences = result["tokens"] / 32 / result["epochs"]
    assert result["epochs"] == pytest.approx(result["step"] * 4 / sequences, rel=0.2)


def test_only_a_new_head_is_trained_at_first(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, head_share=0.99)  # all of the six steps except the end of the last one
    run(text_file, tiny_model, tmp_path / "m", settings, stop=iter([False, True]).__next__)
    before = load_file(tmp_path / "m.work" / "prepared" / "model.safetensors")
    after = load_file(tmp_path / "m.work" / "checkpoint" / "model.safetensors")
    moved = {key for key in after if key in before and not torch.equal(after[key], before[key])}
    assert moved and not any(key.startswith("bert.") for key in moved)


def test_rows_that_pad_the_embeddings_are_neither_hidden_nor_drawn(tiny_model: Path) -> None:
    model, tokenizer = load(tiny_model)
    model.resize_token_embeddings(len(tokenizer) + 7)
    masker = make_masker(tokenizer, model, QUICK)
    assert masker.special[-7:].all() and masker.rule.random_ids.max() < len(tokenizer)


# --- stopping, killing, continuing ---------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything that does not contain the time of the training."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.suffix != ".md" and "training" not in path.name
    }


def test_a_resumed_training_ends_with_the_same_bytes(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, dropout=0.1, whole_word=True, micro_tokens=64)
    whole = run(text_file, tiny_model, tmp_path / "whole" / "m", settings)
    assert whole["finished"] and whole["step"] == 6

    calls = iter([False, False, True])  # stopped after three steps, as by Ctrl-C
    half = run(text_file, tiny_model, tmp_path / "halves" / "m", settings, stop=lambda: next(calls))
    assert not half["finished"] and half["step"] == 3
    assert not (tmp_path / "halves" / "m").exists()
    work = tmp_path / "halves" / "m.work"
    os.replace(work / "checkpoint", work / ".old-checkpoint")  # as if killed while the next one took its place
    rest = run(text_file, tiny_model, tmp_path / "halves" / "m", settings)
    assert rest["finished"] and rest["evaluation"] == whole["evaluation"]
    assert files_of(tmp_path / "whole" / "m") == files_of(tmp_path / "halves" / "m")
    assert not list(tmp_path.glob("*/*.work"))


ADAPT = textwrap.dedent(
    """
    import os, signal, sys, traceback
    from pet import lean_imports

    lean_imports.allow()  # as the command
    import transformers.models.bert.modeling_bert  # once, not in every child
    from pet.adapt.adapt import adapt
    from pet.adapt.settings import AdaptSettings, OutputSettings, StartSettings, TextSettings, TrainingSettings

    source, model = sys.argv[1:]
    os.fsync = lambda descriptor: None  # what the kernel holds survives a kill; waiting for the disk only takes time

    def work(out, step, rename):
        left = {"steps": int(step), "renames": int(rename)}

        def die_at(what):
            left[what] -= 1
            if left[what] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return False

        def hook(event, args):
            if event == "os.rename" and os.path.basename(out) in [os.path.basename(str(name)) for name in args[:2]]:
                die_at("renames")

        sys.addaudithook(hook)
        settings = TrainingSettings(max_steps=24, batch_tokens=64, lr=1e-3, eval_tokens=64, checkpoint_minutes=1e-6)
        text = TextSettings((source,), held_out=0.1, length=32)
        asked = AdaptSettings(text, StartSettings(model=model), settings, OutputSettings(out, overwrite=True))
        adapt(asked, stop=lambda: die_at("steps"))

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                work(*line.rstrip("\\n").split("|"))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    """
)
KILLED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else 0


class Children:
    """Processes that each adapt a model and kill themselves after some steps, or before a rename of the model."""

    def __init__(self, source: Path, model: Path):
        arguments = [sys.executable, "-c", ADAPT, str(source), str(model)]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def adapt(self, out: Path, *, step: int = -1, rename: int = -1) -> int:
        """Return the exit status; 0: it was not killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{out}|{step}|{rename}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def lasting_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `text_file`, for all tests of this module."""
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def children(lasting_text: Path, tiny_model: Path) -> Iterator[Children]:
    started = Children(lasting_text, tiny_model)
    yield started
    started.close()


@needs_kill
def test_a_training_that_is_killed_ends_with_the_same_bytes(children: Children, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole" / "m", tmp_path / "killed" / "m"
    assert children.adapt(whole) == 0
    checkpoint = tmp_path / "killed" / "m.work" / "checkpoint" / "state.json"
    for step in (10, 20):  # each process lives for 13 steps; the last checkpoint counts
        assert children.adapt(killed, step=13) == KILLED
        assert json.loads(checkpoint.read_text())["step"] == step
    assert children.adapt(killed) == 0
    assert files_of(killed) == files_of(whole)


@needs_kill
def test_a_model_is_replaced_only_by_a_complete_one_whenever_the_process_is_killed(
    children: Children, lasting_text: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    assert children.adapt(out, rename=2) == 0  # nothing to replace: there is no second rename
    new = files_of(out)
    for moment in (1, 2):  # before the old model is moved away; between that and the rename of the new one
        (out / "model.safetensors").write_bytes(b"old")
        assert children.adapt(out, rename=moment) == KILLED
        assert out.exists() == (moment == 1)
        with pytest.raises(PetError, match="--overwrite"):  # the next start restores the old model
            run(lasting_text, tiny_model, out)
        assert (out / "model.safetensors").read_bytes() == b"old"
        assert children.adapt(out) == 0
        assert files_of(out) == new
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["m"]


def test_a_training_is_not_continued_with_other_settings(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    run(text_file, tiny_model, tmp_path / "m", stop=lambda: True)
    with pytest.raises(PetError, match=r"settings\.lr: 0\.001 there, 0\.0009 here") as caught:
        run(text_file, tiny_model, tmp_path / "m", replace(QUICK, lr=9e-4))
    assert "m.work" in str(caught.value)


def test_two_trainings_cannot_write_the_same_model(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    def second() -> bool:
        with pytest.raises(PetError, match=rf"m\.work.*process {os.getpid()}"):
            run(text_file, tiny_model, tmp_path / "m")
        return True

    assert not run(text_file, tiny_model, tmp_path / "m", stop=second)["finished"]


# --- mistakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.0}, "--lr is 0.0"),
        ({"mask_rate": 0.0}, "--mask-rate is 0"),
        ({"warmup": 1.0}, "--warmup is 1.0"),
        ({"max_minutes": -1.0}, "--max-minutes is -1.0"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PetError, match=message):
        TrainingSettings(**change)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({}, "--model"),
        ({"layers": 2, "hidden": 32}, "--vocab"),
        ({"layers": 2, "hidden": 32, "vocab": 300, "keep_layers": (0,)}, "--keep-layers.*--model"),
        ({"model": "x", "layers": 2}, "--layers.*--model x"),
        ({"layers": 2, "hidden": 33, "vocab": 300}, "--hidden 33"),
        ({"layers": 0, "hidden": 32, "vocab": 300}, "--layers is 0"),
    ],
)
def test_a_start_that_makes_no_sense_is_named(
    start: dict[str, Any], message: str, text_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(PetError, match=message):
        text, output = TextSettings((str(text_file),)), OutputSettings(str(tmp_path / "out"))
        adapt(AdaptSettings(text, StartSettings(**start), QUICK, output))
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]  # nothing is left of it


def test_text_that_the_model_does_not_know_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\u4f60\u597d\n" * 6, encoding="utf-8")
    with pytest.raises(PetError, match="script"):
        run(tmp_path / "text.txt", tiny_model, tmp_path / "model")
    assert not (tmp_path / "model").exists() and not (tmp_path / "model.work").exists()


def test_sequences_longer_than_the_model_are_refused(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    text = TextSettings((str(text_file),), length=4000)
    with pytest.raises(PetError, match=r"--length 4000.*or fewer"):
        output = OutputSettings(str(tmp_path / "out"))
        adapt(AdaptSettings(text, StartSettings(model=str(tiny_model)), QUICK, output))


def test_outputs_that_cannot_be_written_are_refused_before_training(text_file: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    for out, more, message in (
        (full, {}, "delete"),
        (full, {"overwrite": True}, "delete"),
        (text_file, {"overwrite": True}, "is a file"),
        (tmp_path / "out", {"prompts": ("no blank",)}, "--sample 'no blank'"),
    ):
        with pytest.raises(PetError, match=message):
            run(text_file, tmp_path / "no model", out, **more)
    assert (full / "letter.txt").read_text() == "mine"


def test_a_sample_beyond_the_positions_is_named(tiny_model: Path) -> None:
    model, tokenizer = load(tiny_model)
    with pytest.raises(PetError, match=r"--sample.*shorten"):
        samples.fill(model, tokenizer, ["so " * 5000 + "{mask}"], np.empty((0, 0)))


# --- the command ---------------------------------------------------------------------------------------


def test_the_command_prints_figures_the_next_command_or_json(text_file: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    arguments = f"adapt --text {text_file} --model {tiny_model} --length 32 --max-steps 3 --batch-tokens 64 -o {out}"
    result = CliRunner().invoke(main, arguments.split())
    assert result.exit_code == 0, result.output
    assert "after" in result.stdout and f"pet run TASK --model {out}" in result.stdout
    assert "before training" in result.stderr
    again = CliRunner().invoke(main, arguments.split())
    assert again.exit_code == 2 and str(out) in again.stderr and "--overwrite" in again.stderr
    as_json = CliRunner().invoke(main, [*arguments.split(), "--overwrite", "--json", "-q"])
    assert as_json.exit_code == 0 and json.loads(as_json.stdout)["step"] == 3


def test_every_setting_is_an_option_and_the_command_names_all_mistakes(text_file: Path, tmp_path: Path) -> None:
    help_text = CliRunner().invoke(main, ["adapt", "--help"]).stdout
    for option in (
        "--text",
        "--field",
        "--keep-layers 0,1,3",
        "--head-share",
        "--sample",
        "-o, --output",
        "--overwrite",
    ):
        assert option in help_text
    arguments = f"adapt --text {text_file} --layers 1 --lr 0 --warmup 2 -o {tmp_path / 'm'}"
    result = CliRunner().invoke(main, [*arguments.split(), "--keep-layers", "a"])
    assert result.exit_code == 2 and "0,1,3" in result.stderr
    result = CliRunner().invoke(main, arguments.replace("--layers 1", "").split())
    assert result.exit_code == 2 and "--lr" in result.stderr and "--warmup" in result.stderr
