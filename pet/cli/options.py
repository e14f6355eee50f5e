"""Options that several commands share, and the small readers of their values."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pet.errors import PetError
from pet.extras import install_command
from pet.terminal import is_utf8

if TYPE_CHECKING:
    from pet.progress import Reporter
    from pet.run.execution.executor import Execution

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

columns_option = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Which column of the data holds a field (or `label`, `id`), where it has another name. Repeatable.",
)
labeled_input_option = click.option(
    "--input",
    "source",
    required=True,
    metavar="F",
    help="Labeled texts: JSONL, CSV, TSV, Parquet, or hub:NAME.",
)
device_option = click.option(
    "--device",
    metavar="D",
    help="auto, cpu, cuda, cuda:1, mps, ...  [default: auto, a GPU where there is one]",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="[default: auto, bf16 where GPU or processor compute in it, else fp32]",
)
# What a saved classifier says should be what it says in anyone's hands.
exact_precision_option = click.option(
    "--precision", type=click.Choice(PRECISIONS), help="[default: fp32, as a pipeline of transformers]"
)
pickle_option = click.option(
    "--allow-pickle",
    is_flag=True,
    default=None,
    help="Also open pickled weights (pytorch_model.bin), which can run code on your machine.",
)
quantize_option = click.option(
    "--quantize",
    is_flag=True,
    help="On a processor, compute linear layers in int8: about 3 times as fast as fp32, hardly faster than bf16, and "
    "less exact. Says how many of the first 256 texts keep their label.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and results.")
patterns_option = click.option(
    "--patterns", metavar="1,3", callback=lambda _context, _option, value: numbers_of(value),
    help="Take these patterns of the task alone, counted from 1.  [default: all]",
)  # fmt: skip
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on standard output and nothing else."
)
settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the recipe; `pet run --list-settings` shows them. Repeatable.",
)


def together(*options: Callable[[Any], Any]) -> Decorator[Any]:
    """Several options as one decorator, in this order in the help text."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


executor_options = together(
    click.option(
        "--executor",
        type=click.Choice(("local", "ray")),
        help=f"Where to train members: on this machine, or on a Ray cluster ({install_command('ray')}). Every machine "
        "of the cluster must see the data, the model and the output folder under the same paths.  [default: local]",
    ),
    click.option(
        "--workers",
        type=int,
        metavar="N",
        help="Members at a time, a process each. More of them than GPUs share these, which should pay where a model is "
        "too small to fill one.  [default: one a GPU, or 1; on Ray all there is room for]",
    ),
    click.option(
        "--worker-cpus",
        type=int,
        metavar="N",
        help="Threads of a worker; on Ray also the processors it asks for.  [default: its share; on Ray 1]",
    ),
    click.option(
        "--worker-gpus",
        type=float,
        metavar="N",
        help="GPUs that a worker asks for on Ray.  [default: 1 where there are any]",
    ),
    click.option(
        "--ray-address",
        metavar="A",
        help="A running Ray cluster.  [default: $RAY_ADDRESS, one on this machine, or one that is started]",
    ),
)
compute_options = together(device_option, precision_option, pickle_option)
exact_compute_options = together(device_option, exact_precision_option, pickle_option)


def list_settings_option(command: Any) -> Any:
    """``--list-settings``: print every setting of the recipes and end."""

    def show(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted and not context.resilient_parsing:
            click.echo(settings_table())
            context.exit()

    return click.option(
        "--list-settings",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="List the recipes and every setting that --set can change, then end.",
    )(command)


def settings_table() -> str:
    """All settings by concern: name, value in each recipe, and help."""
    from pet.recipe import RECIPES, Recipe
    from pet.report.tables import text_table
    from pet.settings import groups_of, own_settings

    values = [recipe.to_dict() for recipe in RECIPES.values()]
    rows: list[list[str]] = []
    for group in groups_of(Recipe()):
        settings = own_settings(group)
        rows += [["", *("" for _ in values), ""], [group.title, *("" for _ in values), ""]] if settings else []
        rows += [[s.name, *(_shown(value[s.name]) for value in values), s.declared.help] for s in settings]
    return text_table(rows, ["setting", *RECIPES, "what it is"])


def _shown(value: object) -> str:
    """A setting's value as --set takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def pairs(values: Iterable[str], option: str, example: str) -> dict[str, str]:
    """``KEY=VALUE`` texts of a repeatable option as a mapping.

    Raises
    ------
    PetError
        Naming every one that has no ``=`` or no key. Of a key that is there twice the last counts.
    """
    found: dict[str, str] = {}
    problems = []
    for text in values:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            problems.append(f"{option} {text}: write it as {example}")
        found[key] = value  # as it is: a column may be called " text"
    if problems:
        raise PetError(problems)
    return found


def numbers_of(text: str | None) -> list[int] | None:
    """``1,3`` as numbers; None stays None.

    Raises
    ------
    PetError
        Where something else stands there.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise PetError(f"--patterns {text}: write numbers with commas between them, as --patterns 1,3") from None


def column_pairs(values: Iterable[str]) -> dict[str, str]:
    """The values of ``--column``: field -> column."""
    return pairs(values, "--column", "FIELD=COLUMN, as --column text=review")


def setting_pairs(values: Iterable[str]) -> dict[str, str]:
    """The values of ``--set``: setting -> value as text."""
    return pairs(values, "--set", "KEY=VALUE, as --set steps=200")


def execution_of(options: dict[str, Any]) -> Execution:
    """The values of `executor_options`, which are taken out."""
    from pet.run.execution.executor import Execution

    names = ("executor", "workers", "worker_cpus", "worker_gpus", "ray_address")
    given = {name: options.pop(name) for name in names}
    return Execution(**{name: value for name, value in given.items() if value is not None})


def reporter_for(quiet: bool) -> Reporter:
    """Who talks on standard error."""
    from pet.progress import Reporter

    return Reporter("quiet" if quiet else "auto")


def chosen_model(model: str | None, reporter: Reporter) -> str:
    """The model that was named, or the embedded one with a line that says so."""
    if model is not None:
        return model
    from pet.backbones.load import DEFAULT_MODEL

    reporter.info(
        f"model: {DEFAULT_MODEL}, the small English one that comes with the package; "
        "a larger one does better (--model roberta-base, for instance)"
    )
    return DEFAULT_MODEL


def echo_json(document: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=not is_utf8(sys.stdout)))
