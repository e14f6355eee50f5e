"""Labeling and training with a model the size of RoBERTa-large on a GPU, as shares of the GPU's peak.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --compile
    python benchmarks/gpu.py --device cpu --layers 2 --hidden 64    # a check that the program runs

The peak is the measured rate of products of large square matrices in bf16. The weights are random, and the texts are
random words of a synthetic tokenizer. Only tokens without padding count as work.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import common
import limit
import numpy as np
import torch

WANTED = {"label": 0.5, "train": 0.4}
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
LABELS = ("w0", "w1", "w2", "w3")
LABELED = 256  # labeled texts
WARM = 3  # steps that are not timed


def make_tokenizer(words: int) -> Any:
    """Make a tokenizer with one token per word: w0, w1, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL, *(f"w{number}" for number in range(words - len(SPECIAL)))]
    tokenizer = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip


def make_model(layers: int, hidden: int, words: int, longest: int) -> Any:
    """Make a RoBERTa with random weights; RoBERTa-large has 24 layers and hidden size 1024."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=words, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=max(1, hidden // 64),
        intermediate_size=4 * hidden, max_position_embeddings=max(longest, 512) + 2, type_vocab_size=1,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    return RobertaForMaskedLM(config)


def wait(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device, size: int, rounds: int = 20) -> float:
    """Measure floating-point operations per second in products of square bf16 matrices, the best of some rounds."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(rounds):
        wait(device)
        begun = time.perf_counter()
        for _ in range(4):
            a @ b
        wait(device)
        best = min(best, (time.perf_counter() - begun) / 4)
    return 2.0 * size**3 / best


@dataclass(frozen=True)
class Workload:
    """A model with random weights, and random texts.

    Attributes
    ----------
    lm, tokenizer, pvp : the model and its pattern
    few, labels : tokenized labeled texts, and their labels (int64)
    pool : tokenized unlabeled texts
    """

    lm: Any
    tokenizer: Any
    pvp: Any
    few: Any
    labels: Any
    pool: Any


def make_workload(layers: int, hidden: int, words: int, length: int, rows: int) -> Workload:
    """Make a model of this size and texts of up to `length` tokens."""
    from datasets import Dataset

    from pet.backbones.masked import MaskedLM
    from pet.cloze.encode import token_keys
    from pet.cloze.pvp import bind_pattern
    from pet.cloze.tokens import tokenize_fields
    from pet.task.grammar import parse_template
    from pet.task.pattern import Pattern
    from pet.task.verbalizer import Verbalizer

    tokenizer, generator = make_tokenizer(words), np.random.default_rng(0)
    pattern = Pattern(parse_template("{mask} w5 {text}", ["text"]), Verbalizer({label: (label,) for label in LABELS}))
    pvp = bind_pattern(pattern, LABELS, tokenizer, length)
    counts = generator.integers(length // 4, length - pvp.encoder.fixed_length + 1, rows)
    texts = [" ".join(f"w{n}" for n in generator.integers(6, words - len(SPECIAL), count)) for count in counts]

    def tokenize(some: list[str]) -> Any:
        return tokenize_fields(Dataset.from_dict({"text": some}), token_keys([pvp.encoder]), pvp.encoder.plain)

    pool, few = tokenize(texts), tokenize(texts[:LABELED])
    lm = MaskedLM(make_model(layers, hidden, words, length))
    return Workload(lm, tokenizer, pvp, few, generator.integers(0, len(LABELS), len(texts[:LABELED])), pool)


def measure_labeling(workload: Workload, accelerator: Any, max_tokens: int, rounds: int) -> tuple[float, float]:
    """Return the seconds to label all texts, and the floating-point operations."""
    from pet.members.scoring import score_rows

    lm, pvp = workload.lm, workload.pvp

    def label() -> None:
        score_rows(lm, workload.tokenizer, pvp, workload.pool, accelerator, max_tokens=max_tokens)

    seconds = common.alternate({"label": label}, time.perf_counter, rounds)["label"]
    return seconds, limit.encoder_flops(lm.model.config, pvp.encoder.encode(workload.pool).ids.lengths)


def measure_training(workload: Workload, recipe: Any, steps: int, accelerator: Any) -> tuple[float, float]:
    """Return the seconds of a training step, and its floating-point operations."""
    from pet.members.training import ClozeData, member_batches, train_member

    lm, pvp, ends = workload.lm, workload.pvp, []

    def on_step(step: int, _: float | None) -> None:
        if step in (WARM, WARM + steps):
            wait(accelerator.device)
            ends.append(time.perf_counter())

    data = ClozeData(workload.few, workload.labels, workload.pool)
    train_member(lm, pvp, data, recipe, 0, accelerator, on_step)
    batches = member_batches(lm, pvp, data, recipe.member, torch.device("cpu"), 0)
    timed = [next(batches) for _ in range(WARM + steps)][WARM:]
    done = [limit.training_flops(lm.model.config, b["lengths"].numpy(), len(b["targets"])) for b in timed]
    return (ends[1] - ends[0]) / steps, float(np.mean(done))


@click.command()
@click.option("--device", default="cuda", show_default=True, help="Device to measure.")
@click.option("--precision", default="bf16", show_default=True, help="Precision of the model.")
@click.option("--layers", default=24, show_default=True, help="Layers of the model.")
@click.option("--hidden", default=1024, show_default=True, help="Hidden size of the model.")
@click.option("--words", default=50265, show_default=True, help="Size of the vocabulary.")
@click.option(
    "--length", default=256, show_default=True, help="Longest text in tokens; the shortest has a quarter of it."
)
@click.option("--rows", default=8192, show_default=True, help="Texts to label.")
@click.option("--tokens", default=0, show_default="as in the recipe", help="Tokens in a batch of labeling.")
@click.option("--labeled", default=16, show_default=True, help="Labeled texts per step.")
@click.option("--unlabeled", default=48, show_default=True, help="Unlabeled texts per step.")
@click.option("--steps", default=20, show_default=True, help="Training steps that are timed.")
@click.option("--size", default=8192, show_default=True, help="Size of the square matrices.")
@click.option("--rounds", default=3, show_default=True, help="Report the median over this many rounds of labeling.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the feed-forward part of each layer.")
@common.output_option(common.SPEED)
def main(
    device: str, precision: str, layers: int, hidden: int, words: int, length: int, rows: int, tokens: int,
    labeled: int, unlabeled: int, steps: int, size: int, rounds: int, compiled: bool, output: Path,
) -> None:  # fmt: skip
    """Print the shares of the GPU's peak that labeling and training reach."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        click.echo("no CUDA device found; check the program with --device cpu --layers 2 --hidden 64", err=True)
        sys.exit(1)
    if not device.startswith("cuda"):  # only a check that the program runs
        words, length, rows, size = min(words, 1000), min(length, 32), min(rows, 64), min(size, 256)
        labeled, unlabeled, steps, rounds = min(labeled, 2), min(unlabeled, 2), min(steps, 2), 1
    from pet.backbones import packed
    from pet.recipe import make_recipe
    from pet.training.device import make_accelerator

    if compiled:
        packed._feed_forward = torch.compile(packed._feed_forward, dynamic=True)
    settings = {"steps": WARM + steps, "labeled_batch": labeled, "unlabeled_batch": unlabeled, "learning_rate": 1e-5}
    recipe, accelerator = make_recipe("default", settings), make_accelerator(device, precision)
    workload, place = make_workload(layers, hidden, words, length, rows), accelerator.device

    most = peak(place, size)
    click.echo(f"peak: {most / 1e12:.2f} TFLOP/s in bf16 products of {size} × {size} matrices")
    max_tokens = tokens or recipe.inference.tokens
    seconds, work = {}, {}
    seconds["label"], work["label"] = measure_labeling(workload, accelerator, max_tokens, rounds)
    seconds["train"], work["train"] = measure_training(workload, recipe, steps, accelerator)
    share = {part: work[part] / seconds[part] / most for part in work}
    figures = {
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else common.processor(),
        "precision": common.dtype_name(common.computed_in(accelerator)),
        "shape": {"layers": layers, "hidden": hidden, "words": words, "length": length},
        "batch": {"tokens": max_tokens, "labeled": labeled, "unlabeled": unlabeled},
        "compiled": compiled,
        "peak_tflops": round(most / 1e12, 3),
        "texts_a_second": round(rows / seconds["label"], 1),
        "seconds_an_update": round(seconds["train"], 4),
        "share_of_peak": {part: round(value, 6) for part, value in share.items()},
        "wanted": WANTED,
        "met": {part: share[part] >= WANTED[part] for part in WANTED},
    }
    common.record(output, "gpu", torch.get_num_threads(), "wall", figures)
    speeds = {"label": f"{rows / seconds['label']:.0f} texts per second", "train": f"{seconds['train']:.4f} s per step"}
    for part, wanted in WANTED.items():
        verdict = "met" if share[part] >= wanted else "missed"
        click.echo(
            f"{part}: {speeds[part]}, {100 * share[part]:.0f}% of the peak (target {100 * wanted:.0f}%: {verdict})"
        )


if __name__ == "__main__":
    sys.exit(main())
