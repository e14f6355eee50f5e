"""``pet adapt``: masked-language-model pretraining on one's own text."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from pet.cli.options import chosen_model, echo_json, json_option, quiet_option, reporter_for
from pet.terminal import clean

EXAMPLES = """\b
Examples:
  pet adapt -m roberta-base --text reviews.txt --max-minutes 30 -o models/reviews
  pet adapt --text pool.jsonl --field text --max-minutes 20 -o models/mine
  pet adapt -m big-encoder --keep-layers 0,1,2,3 --vocab 16000 --text text.txt.xz -o models/small
  pet adapt --layers 4 --hidden 256 --vocab 8000 --text text.txt --epochs 3 -o models/new
  accelerate launch --multi_gpu --num_processes 2 -m pet adapt -m roberta-base --text big.txt.xz -o models/big
"""
INTERRUPTED = 130  # what a shell reports for a command that ended on Ctrl-C


def _numbers(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers; write it as 0,1,3") from None


def _words(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if value else ()


@click.command(epilog=EXAMPLES)
@click.option(
    "-t",
    "--text",
    "sources",
    multiple=True,
    required=True,
    metavar="F",
    help="Text, JSONL (also .xz, .gz) or hub:OWNER/NAME[:CONFIG][@SPLIT]. Repeatable.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME",
    help="Field of JSONL or hub rows that holds text. Repeatable.",
)
@click.option(
    "--document",
    type=click.Choice(["line", "blank", "file"]),
    default="line",
    show_default=True,
    help="A document of a text file: a line, what stands between blank lines, the file.",
)
@click.option(
    "--repeat",
    multiple=True,
    metavar="F=N",
    help="Read this --text N times in each pass. Repeatable.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="F",
    help="Leave out documents that overlap with this file. Repeatable.",
)
@click.option(
    "--exclude-words",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Overlap: so many words in a row are the same.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Share of the documents that are only evaluated on.",
)
@click.option("-o", "--output", required=True, metavar="DIR", help="The model's folder, made at the end.")
@click.option("--overwrite", is_flag=True, help="Replace the folder if it is there.")
@click.option(
    "-m",
    "--model",
    metavar="M",
    help="What to start from: a folder or hub name.  [default: mini-en; nothing, with --layers]",
)
@click.option("--keep-layers", callback=_numbers, metavar="0,1,3", help="Keep only these layers, counted from 0.")
@click.option(
    "--feed-forward",
    type=int,
    metavar="N",
    help="Keep only the N strongest feed-forward units of each layer.",
)
@click.option(
    "--vocab",
    type=int,
    metavar="N",
    help="Keep at most N tokens, those that the text uses; from scratch: learn N.",
)
@click.option("--keep-words", callback=_words, metavar="A,B", help="Words that --vocab may not drop.")
@click.option("--layers", type=int, metavar="N", help="From scratch: number of layers.")
@click.option("--hidden", type=int, metavar="N", help="From scratch: hidden size.")
@click.option(
    "--positions",
    type=click.IntRange(min=16),
    default=512,
    show_default=True,
    metavar="N",
    help="From scratch: longest input.",
)
@click.option("--cased", is_flag=True, help="From scratch: tell capitals from small letters.")
@click.option("--length", type=int, default=128, show_default=True, metavar="N", help="Tokens in a sequence.")
@click.option("--epochs", type=float, metavar="X", help="Passes over the text.  [default: 1, without another end]")
@click.option("--max-steps", type=int, metavar="N", help="End after N steps.")
@click.option(
    "--max-minutes", type=float, metavar="X", help="End after X minutes; the learning rate is fitted to them."
)
@click.option(
    "--batch-tokens",
    type=int,
    default=8192,
    show_default=True,
    metavar="N",
    help="Tokens in an optimizer step.",
)
@click.option(
    "--micro-tokens",
    type=int,
    metavar="N",
    help="Tokens on a device at once; the rest is accumulated.  [default: 8192]",
)
@click.option("--lr", type=float, default=5e-4, show_default=True, metavar="X", help="Peak learning rate.")
@click.option(
    "--warmup",
    type=float,
    default=0.06,
    show_default=True,
    metavar="SHARE",
    help="Share of the training with a rising rate.",
)
@click.option(
    "--head-share",
    type=float,
    metavar="SHARE",
    help="Share of the training, at first, that a new head is trained alone.  [default: 0.03 for a new head]",
)
@click.option("--weight-decay", type=float, default=0.01, show_default=True, metavar="X")
@click.option(
    "--dropout",
    type=float,
    default=0.0,
    show_default=True,
    metavar="X",
    help="Useful when text is seen often.",
)
@click.option(
    "--mask-rate",
    type=float,
    default=0.15,
    show_default=True,
    metavar="X",
    help="Share of the tokens to predict.",
)
@click.option("--whole-word", is_flag=True, help="Mask words as a whole.")
@click.option(
    "--checkpoint-minutes",
    type=float,
    default=10.0,
    show_default=True,
    metavar="X",
    help="How often to save and evaluate.",
)
@click.option(
    "--eval-tokens",
    type=int,
    default=65536,
    show_default=True,
    metavar="N",
    help="How much held-out text to evaluate on.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Of everything that is random.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Of the arithmetic; auto is bf16 on a GPU that has it.",
)
@click.option(
    "--save-dtype",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    default="fp32",
    show_default=True,
    help="Of the saved weights.",
)
@click.option(
    "--sample",
    "prompts",
    multiple=True,
    metavar="TEXT",
    help="Show how a text with {mask} is filled at the end. Repeatable.",
)
@json_option
@quiet_option
def adapt(
    output: str,
    overwrite: bool,
    precision: str,
    save_dtype: str,
    prompts: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Pretrain a masked language model on your own text.

    From a checkpoint, from an encoder that has no masked-LM head yet, or from scratch. The result is a plain
    transformers folder with a model card, for `pet run --model`.

    The training can be stopped at any time: the same command goes on where it was.
    """
    from dataclasses import fields

    from pet.adapt.card import command_line
    from pet.adapt.recipe import Start, Text
    from pet.adapt.recipe import adapt as run
    from pet.adapt.train import Settings

    reporter = reporter_for(quiet)
    if options["layers"] is None and options["hidden"] is None:
        options["model"] = chosen_model(options["model"], reporter)
    options["micro_tokens"] = options["micro_tokens"] or min(8192, options["batch_tokens"])

    def given(kind: Any) -> dict[str, Any]:
        return {field.name: options[field.name] for field in fields(kind) if field.name in options}

    text, start, settings = Text(**given(Text)), Start(**given(Start)), Settings(**given(Settings))
    with _stopping() as stop:
        record = run(
            text,
            start,
            settings,
            output,
            precision=precision,
            save_dtype=save_dtype,
            prompts=prompts,
            overwrite=overwrite,
            command=command_line(sys.argv[1:]),
            say=reporter.info,
            stop=stop,
        )
    if not record["finished"]:
        click.echo(f"interrupted at step {record['step']}; the same command goes on with it", err=True)
        raise click.exceptions.Exit(INTERRUPTED)
    if not record["main_process"]:
        return  # of several processes one tells the result
    if as_json:
        echo_json(record)
    else:
        click.echo(summary(record, output))


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Ctrl-C (or SIGTERM) asks to stop after the step that is being made; Ctrl-C again stops at once."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        click.echo("stopping after this step (press Ctrl-C again to stop at once)", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary(record: Mapping[str, Any], output: str) -> str:
    """What a person wants to see at the end: figures before and after, fillings, what to do next."""
    from pet.report.tables import text_table

    names = ("loss", "perplexity", "accuracy")
    rows = [
        [when, *(f"{record[key][name]:.3f}" for name in names)]
        for when, key in (("before", "start"), ("after", "evaluation"))
    ]
    parts = [text_table(rows, ["held-out text", "loss", "perplexity", "masked accuracy"])]
    lines = []
    for sample in record["samples"]:
        words = ", ".join(f"{word} {probability:.2f}" for word, probability in sample["words"])
        lines.append(f"{clean(sample['text'])}\n    {clean(words)}")
    parts.append("\n".join(lines))
    parts.append(f"model: {output}\nnext:  pet run TASK --model {shlex.quote(output)} ...")
    return "\n\n".join(part for part in parts if part)
