"""``pet adapt``: masked-LM pretraining on your own text."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_type_hints

import click

from pet.adapt.settings import AdaptSettings, OutputSettings, StartSettings, TextSettings, TrainingSettings
from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import chosen_model, json_option, quiet_option, reporter_for
from pet.settings import Declared, GroupT, Settings, declarations
from pet.terminal import clean

EXAMPLES = """\b
Examples:
  pet adapt -m roberta-base --text reviews.txt --max-minutes 30 -o models/reviews
  pet adapt --text pool.jsonl --field text --max-minutes 20 -o models/mine
  pet adapt -m big-encoder --keep-layers 0,1,2,3 --vocab 16000 --text text.txt.xz -o models/small
  pet adapt --text tickets.txt --add-words 500 --epochs 3 -o models/tickets
  pet adapt --layers 4 --hidden 256 --vocab 8000 --text text.txt --epochs 3 -o models/new
  torchrun --nproc-per-node 2 -m pet adapt -m roberta-base --text big.txt.xz -o models/big
"""
INTERRUPTED = 130  # what a shell reports for a command that ended on Ctrl-C
GROUPS: tuple[type[Settings], ...] = (TextSettings, OutputSettings, StartSettings, TrainingSettings)
_SHORT = {"sources": ("-t",), "folder": ("-o",), "model": ("-m",)}
_REQUIRED = ("sources", "folder")
_METAVAR = {"sources": "F", "fields": "NAME", "repeat": "F=N", "exclude": "F", "folder": "DIR", "model": "M"}
_METAVAR |= {"prompts": "TEXT", "keep_layers": "0,1,3", "keep_words": "A,B", "add_words": "N|F"}


def _numbers(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers; write it as 0,1,3") from None


def _words(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if value else ()


_LISTS: dict[str, Callable[..., Any]] = {"keep_layers": _numbers, "keep_words": _words}


def _options(command: Any) -> Any:
    """Add an option for each setting."""
    declared = [(group, *item) for group in GROUPS for item in declarations(group).items()]
    for group, attribute, (about, default) in reversed(declared):
        names = [*_SHORT.get(attribute, ()), about.name or group.flat_name(attribute), attribute]
        command = _option(names, about, default, get_type_hints(group)[attribute])(command)
    return command


def _option(names: list[str], about: Declared, default: Any, kind: Any) -> Any:
    """Return the option of a setting; ranges are checked by the settings, all at once."""
    attribute = names[-1]
    if kind is bool:
        return click.option(*names, is_flag=True, help=about.help)
    options: dict[str, Any] = {"help": about.help, "metavar": _METAVAR.get(attribute)}
    options["required"] = attribute in _REQUIRED
    if attribute in _LISTS:
        return click.option(*names, callback=_LISTS[attribute], **options)
    if kind == tuple[str, ...]:
        return click.option(*names, multiple=True, **options)
    if about.choices:
        options |= {"type": click.Choice(about.choices), "metavar": None}
    elif kind in (int, int | None):
        options |= {"type": int, "metavar": "N"}
    elif kind in (float, float | None):
        options |= {"type": float, "metavar": "X"}
    if default is not None and not options["required"]:
        options |= {"default": default, "show_default": True}
    return click.option(*names, **options)


@click.command(cls=Command, epilog=EXAMPLES)
@_options
@json_option
@quiet_option
def adapt(as_json: bool, quiet: bool, **options: Any) -> None:
    """Pretrain a masked language model on your own text.

    Start from a checkpoint, from an encoder without a masked-LM head, or from scratch. The result is a plain
    transformers folder with a model card, for `pet run --model`.

    You can stop at any time. The same command resumes training.
    """
    from pet.adapt.adapt import adapt as run
    from pet.adapt.card import command_line

    reporter = reporter_for(quiet)
    if options["layers"] is None and options["hidden"] is None:
        options["model"] = chosen_model(options["model"], reporter)
    text, start = _given(TextSettings, options), _given(StartSettings, options)
    training, output = _given(TrainingSettings, options), _given(OutputSettings, options)
    with _stopping() as stop:
        record = run(AdaptSettings(text, start, training, output), reporter, stop, command_line(sys.argv[1:]))
    if not record["finished"]:
        echo(f"interrupted at step {record['step']}; the same command resumes from there", err=True)
        raise click.exceptions.Exit(INTERRUPTED)
    if not record["main_process"]:
        return  # of several processes, only one reports the result
    if as_json:
        echo_json(record)
    else:
        echo(summary(record, output.folder))


def _given(group: type[GroupT], options: Mapping[str, Any]) -> GroupT:
    """Return a group of settings with the values of its options."""
    return group(**{name: options[name] for name in declarations(group) if name in options})


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """On Ctrl-C or SIGTERM, ask to stop after the current step; on a second one, stop at once."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        echo("stopping after this step (press Ctrl-C again to stop at once)", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary(record: Mapping[str, Any], output: str) -> str:
    """Return what is printed at the end: figures before and after training, examples, and the next command."""
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
