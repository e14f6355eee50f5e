"""Labeling and training of a model as large as RoBERTa-large on a GPU, as shares of what the GPU could do at most.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --compile
    python benchmarks/gpu.py --device cpu --layers 2 --hidden 64    # only to see that it runs

The most that it could do is its rate of large square products in bf16, measured here. The weights are random, the
texts are words of a tokenizer that is made here, and the work counted is that of the real tokens: padding is none.
"""

from __future__ import annotations

import sys
import time
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
LABELED = 256  # texts with labels
WARM = 3  # updates that are not counted


def make_tokenizer(words: int) -> Any:
    """One token a word: w0, w1, ..."""
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
    """A RoBERTa with random weights; 24 layers of 1024 are those of RoBERTa-large."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=words, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=max(1, hidden // 64),
        intermediate_size=4 * hidden, max_position_embeddings=max(longest, 512) + 2, type_vocab_size=1,
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    return RobertaForMaskedLM(config)


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device, size: int, rounds: int = 20) -> float:
    """Floating-point operations a second in products of square matrices in bf16, the best of some rounds."""
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


@click.command()
@click.option("--device", default="cuda", show_default=True)
@click.option("--precision", default="bf16", show_default=True)
@click.option("--layers", default=24, show_default=True)
@click.option("--hidden", default=1024, show_default=True)
@click.option("--words", default=50265, show_default=True, help="size of the vocabulary")
@click.option("--length", default=256, show_default=True, help="longest text in tokens; the shortest has a quarter")
@click.option("--rows", default=8192, show_default=True, help="texts to label")
@click.option("--tokens", default=0, help="tokens in a batch of labeling  [default: the recipe's]")
@click.option("--labeled", default=16, show_default=True, help="labeled texts in an update")
@click.option("--unlabeled", default=48, show_default=True, help="unlabeled texts in an update")
@click.option("--steps", default=20, show_default=True, help="updates")
@click.option("--size", default=8192, show_default=True, help="of the square matrices")
@click.option("--rounds", default=3, show_default=True, help="the median of so many counts of labeling")
@click.option("--compile", "compiled", is_flag=True, help="compile what a layer does behind its attention")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=common.HERE / "results" / "speed.jsonl")
def main(
    device: str, precision: str, layers: int, hidden: int, words: int, length: int, rows: int, tokens: int,
    labeled: int, unlabeled: int, steps: int, size: int, rounds: int, compiled: bool, output: Path,
) -> None:  # fmt: skip
    """Print both shares of the GPU's peak."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        click.echo("there is no CUDA device here (--device cpu --layers 2 --hidden 64 shows that it runs)", err=True)
        sys.exit(1)
    if not device.startswith("cuda"):  # nothing to measure: little of everything
        words, length, rows, size = min(words, 1000), min(length, 32), min(rows, 64), min(size, 256)
        labeled, unlabeled, steps, rounds = min(labeled, 2), min(unlabeled, 2), min(steps, 2), 1
    from datasets import Dataset

    from pet.backbones import packed
    from pet.backbones.masked import MaskedLM
    from pet.cloze.encode import token_keys
    from pet.cloze.pvp import bind_pattern
    from pet.cloze.tokens import tokenize_fields
    from pet.members.scoring import score_rows
    from pet.members.training import ClozeData, member_batches, train_member
    from pet.recipe import make_recipe
    from pet.task.grammar import parse_template
    from pet.task.pattern import Pattern
    from pet.task.verbalizer import Verbalizer
    from pet.training.device import make_accelerator

    if compiled:
        packed._feed_forward = torch.compile(packed._feed_forward, dynamic=True)
    settings = {"steps": WARM + steps, "labeled_batch": labeled, "unlabeled_batch": unlabeled}
    recipe, accelerator = make_recipe("default", settings), make_accelerator(device, precision)
    tokenizer, place = make_tokenizer(words), accelerator.device
    pattern = Pattern(parse_template("{mask} w5 {text}", ["text"]), Verbalizer({label: (label,) for label in LABELS}))
    pvp = bind_pattern(pattern, LABELS, tokenizer, length)
    generator = np.random.default_rng(0)
    counts = generator.integers(length // 4, length - pvp.encoder.fixed_length + 1, rows)
    texts = [" ".join(f"w{n}" for n in generator.integers(6, words - len(SPECIAL), count)) for count in counts]
    plain = pvp.encoder.plain
    keys = token_keys([pvp.encoder])
    pool = tokenize_fields(Dataset.from_dict({"text": texts}), keys, plain)
    few = tokenize_fields(Dataset.from_dict({"text": texts[:LABELED]}), keys, plain)
    lm = MaskedLM(make_model(layers, hidden, words, length))
    config = lm.model.config

    most = peak(place, size)
    click.echo(f"peak: {most / 1e12:.2f} TFLOP/s in bf16, products of {size} x {size}")

    def label() -> None:
        score_rows(lm, tokenizer, pvp, pool, accelerator, max_tokens=tokens or recipe.inference.tokens)

    seconds = {"label": common.alternate({"label": label}, time.perf_counter, rounds)["label"]}
    work = {"label": limit.encoder_flops(config, pvp.encoder.encode(pool).ids.lengths)}

    ends: list[float] = []

    def on_step(step: int, _: float | None) -> None:
        if step in (WARM, WARM + steps):
            wait(place)
            ends.append(time.perf_counter())

    data = ClozeData(few, generator.integers(0, len(LABELS), len(texts[:LABELED])), pool)
    train_member(lm, pvp, data, recipe.with_settings(learning_rate=1e-5), 0, accelerator, on_step)
    seconds["train"] = (ends[1] - ends[0]) / steps
    batches = member_batches(lm, pvp, data, recipe.member, torch.device("cpu"), 0)
    updates = [next(batches) for _ in range(WARM + steps)][WARM:]
    done = [limit.training_flops(config, batch["lengths"].numpy(), len(batch["targets"])) for batch in updates]
    work["train"] = float(np.mean(done))

    share = {part: work[part] / seconds[part] / most for part in work}
    figures = {
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else common.processor(),
        "precision": str(common.computed_in(accelerator)).removeprefix("torch."),
        "shape": {"layers": layers, "hidden": hidden, "words": words, "length": length},
        "batch": {"tokens": tokens or recipe.inference.tokens, "labeled": labeled, "unlabeled": unlabeled},
        "compiled": compiled,
        "peak_tflops": round(most / 1e12, 3),
        "texts_a_second": round(rows / seconds["label"], 1),
        "seconds_an_update": round(seconds["train"], 4),
        "share_of_peak": {part: round(value, 3) for part, value in share.items()},
        "wanted": WANTED,
        "met": {part: share[part] >= WANTED[part] for part in WANTED},
    }
    common.record(output, "gpu", torch.get_num_threads(), "wall", figures)
    speeds = {"label": f"{rows / seconds['label']:.0f} texts a second", "train": f"{seconds['train']:.4f} s an update"}
    for part, wanted in WANTED.items():
        bar = f"{100 * wanted:.0f} % wanted: {'met' if share[part] >= wanted else 'missed'}"
        click.echo(f"{part}: {speeds[part]}, {100 * share[part]:.0f} % of the peak; {bar}")


if __name__ == "__main__":
    sys.exit(main())
