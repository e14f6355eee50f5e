"""Options that several commands share, and functions that parse their values."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import QUIET
from pet.data.source_names import LABELED, UNLABELED
from pet.errors import PetError
from pet.extras import install_command
from pet.recipe import EFFORTS
from pet.terminal import clean

if TYPE_CHECKING:
    from pet.data.table_format import TableFormat
    from pet.data.table_options import TableOptions
    from pet.inference.options import ComputeOptions
    from pet.progress import Reporter
    from pet.run.execution.options import Execution
    from pet.teachers.access import Access

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

columns_option = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Column of the data for a field (or `label`, `id`), if it has another name. Repeatable.",
)
FORMAT_OPTIONS = ("delimiter", "encoding", "quoting")
delimiter_option = click.option(
    "--delimiter",
    metavar="C",
    help="Character between the columns of CSV and TSV files, such as ';' or tab.  [default: detected]",
)
encoding_option = click.option(
    "--encoding", metavar="E", help="Encoding of text files, such as cp1252 or utf-16.  [default: detected]"
)
quoting_option = click.option(
    "--quoting",
    metavar="Q",
    help="Quotes in CSV and TSV files: standard (they enclose values) or none (ordinary characters).  "
    "[default: detected]",
)
input_option = click.option(
    "--input",
    "source",
    required=True,
    metavar="F",
    help="Texts: a JSONL, CSV, TSV, Parquet, Arrow or Excel file, a folder of Parquet or text files, "
    "sqlite:FILE#TABLE, duckdb:FILE#TABLE, hub:NAME, or - for standard input.",
)
labeled_input_option = click.option(
    "--input",
    "source",
    required=True,
    metavar="F",
    help="Labeled texts: a JSONL, CSV, TSV, Parquet, Arrow or Excel file, a folder of Parquet files or with text "
    "files for each label, sqlite:FILE#TABLE, duckdb:FILE#TABLE, hub:NAME, or - for standard input.",
)
keep_option = click.option(
    "--keep",
    multiple=True,
    metavar="COLUMN",
    help="Copy this column of the input to the output. Repeatable, or several with commas between them.",
)
force_option = click.option("--force", is_flag=True, help="Replace an output that exists.")
as_is_option = click.option(
    "--as-is",
    is_flag=True,
    help="Do not escape CSV and TSV cells that look like formulas (=, +, -, @). By default, they start with an "
    "apostrophe and a space, so that no spreadsheet runs them.",
)
min_confidence_option = click.option(
    "--min-confidence",
    type=float,
    default=0.0,
    metavar="P",
    help="Leave out texts whose best label is less probable than this.",
)
max_length_option = click.option(
    "--max-length", type=int, metavar="N", help="Longest input in tokens; short for --set max_length=N."
)
train_option = click.option(
    "--train",
    metavar="F",
    help="Labeled texts to train on: JSONL, CSV, TSV, Parquet, Excel, sqlite:FILE#TABLE, hub:OWNER/NAME@SPLIT, ...",
)
unlabeled_option = click.option("--unlabeled", metavar="F", help="Unlabeled texts: the pool that trains the student.")
test_option = click.option("--test", metavar="F", help="Labeled texts to evaluate on.")
model_option = click.option(
    "-m", "--model", metavar="M", help="Language model: a folder or a hub name.  [default: mini-en]"
)
seed_option = click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Random seed.")
shots_option = click.option("--shots", type=int, metavar="N", help="Draw N labeled texts of each label.")
examples_option = click.option(
    "--examples", type=int, metavar="N", help="Draw N labeled texts in total, evenly over the labels."
)
as_drawn_option = click.option(
    "--as-drawn",
    is_flag=True,
    default=None,
    help="With --examples: draw at random, in the label ratio of the data.",
)
recipe_option = click.option(
    "--recipe",
    default="default",
    show_default=True,
    metavar="R",
    help="Settings to start from: default, low, high, paper or fewglue; see --list-settings.",
)
effort_option = click.option(
    "--effort",
    type=click.Choice(EFFORTS),
    help="How much time training may take: low is about half of default, high three to four times as much. Short "
    "for --recipe low or high.",
)
device_option = click.option(
    "--device",
    metavar="D",
    help="auto, cpu, cuda, cuda:1, mps, ...  [default: auto, a GPU if there is one]",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="[default: auto: bf16 if the GPU or CPU supports it, else fp32]",
)
# A saved classifier should give the same results here as anywhere else.
exact_precision_option = click.option(
    "--precision", type=click.Choice(PRECISIONS), help="[default: fp32, as in a transformers pipeline]"
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
    help="On a CPU, compute linear layers in int8: about 3 times as fast as fp32, little faster than bf16, and less "
    "accurate. Reports how many of the first 256 texts keep their label.",
)
runtime_option = click.option(
    "--runtime",
    type=click.Choice(("auto", "torch", "onnx", "openvino")),
    help="What runs the model on a CPU: torch, ONNX Runtime, OpenVINO, or auto: the fastest that is installed, by a "
    f"short trial ({install_command('openvino')}).  [default: torch; for a folder of `pet export` auto]",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help=QUIET)
patterns_option = click.option(
    "--patterns", metavar="1,3", callback=lambda _context, _option, value: numbers_of(value),
    help="Use only these patterns of the task, counted from 1.  [default: all]",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting; `pet run --list-settings` lists them. Repeatable.",
)


def combined(*options: Callable[[Any], Any]) -> Decorator[Any]:
    """Combine several options into one decorator; the help lists them in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


format_options = combined(delimiter_option, encoding_option, quoting_option)
table_options = combined(columns_option, format_options)
executor_options = combined(
    click.option(
        "--executor",
        type=click.Choice(("local", "ray")),
        help=f"Where to compute: on this machine, or on a Ray cluster ({install_command('ray')}). Every machine "
        "of the cluster must see the data, the model and the output folder under the same paths.  [default: local]",
    ),
    click.option(
        "--workers",
        type=int,
        metavar="N",
        help="Number of worker processes; each of them trains one member, or labels one part of the texts, at a time. "
        "More workers than GPUs share the GPUs, which helps if a model is too small to fill one.  "
        "[default: one per GPU, or 1; on Ray as many as fit]",
    ),
    click.option(
        "--worker-cpus",
        type=int,
        metavar="N",
        help="Threads of each worker; on Ray also the CPUs it requests.  [default: an equal share; on Ray 1]",
    ),
    click.option(
        "--worker-gpus",
        type=float,
        metavar="N",
        help="GPUs that each worker requests on Ray.  [default: 1 if there are any]",
    ),
    click.option(
        "--ray-address",
        metavar="A",
        help="Address of a running Ray cluster.  [default: $RAY_ADDRESS, one on this machine, or a new one]",
    ),
)
limit_options = combined(
    click.option(
        "--max-calls", type=int, metavar="N", help="Most requests to each teacher; it abstains on the other texts."
    ),
    click.option(
        "--max-tokens", type=int, metavar="N", help="Most tokens of each teacher; it abstains on the other texts."
    ),
    click.option(
        "--parallel", type=int, metavar="N", help="Requests to a teacher at the same time.  [default: 4]"
    ),
    click.option(
        "--teacher-cache", metavar="DIR", help="Folder for answers of teachers, so that no text is asked twice.  "
        "[default: $PET_CACHE, or ~/.cache/pet]"
    ),
)  # fmt: skip
one_table_option = click.option(
    "--data",
    metavar="F",
    help="One table instead of --train and --unlabeled: rows with a label are trained on, and rows without are the "
    "unlabeled texts.",
)
data_options = combined(one_table_option, train_option, unlabeled_option, test_option)
pool_size_option = click.option("--pool-size", type=int, metavar="N", help="Draw N unlabeled texts.  [default: all]")
draw_options = combined(shots_option, examples_option, as_drawn_option)
compute_options = combined(device_option, precision_option, pickle_option)
exact_compute_options = combined(device_option, exact_precision_option, pickle_option)


class _ListSettings(click.Option):
    """``--list-settings``: print every setting of the recipes, as JSON with ``--json``, and exit."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Print the list before click asks for arguments that are missing; a callback would not see ``--json``."""
        if opts.get("list_settings") and not ctx.resilient_parsing:
            if opts.get("as_json"):
                echo_json(settings_document())
            else:
                echo(settings_table())
            ctx.exit()
        return super().handle_parse_result(ctx, opts, args)


list_settings_option = click.option(
    "--list-settings",
    cls=_ListSettings,
    is_flag=True,
    is_eager=True,
    expose_value=False,
    help="List the recipes and every setting that --set can change, then exit. --json has types and ranges, too.",
)


def settings_document() -> dict[str, Any]:
    """Return what ``--list-settings --json`` prints: the recipes, and every setting with its value in each of them."""
    from pet.recipe import EFFORTS, RECIPES
    from pet.settings import list_settings

    return {"recipes": [*RECIPES], "efforts": [*EFFORTS], "settings": list_settings(RECIPES)}


def settings_table() -> str:
    """All settings by concern: name, value in each recipe, and help."""
    from pet.recipe import RECIPES
    from pet.report.tables import text_table
    from pet.settings import as_given, list_settings

    rows: list[list[str]] = []
    for title, settings in groupby(list_settings(RECIPES), key=lambda found: found["group"]):
        rows += [[text, *("" for _ in RECIPES), ""] for text in ("", title)]
        rows += [[found["name"], *map(as_given, found["values"].values()), found["help"]] for found in settings]
    return text_table(rows, ["setting", *RECIPES, "what it is"])


def pairs(values: Iterable[str], option: str, example: str) -> dict[str, str]:
    """Parse the ``KEY=VALUE`` texts of a repeatable option. If a key appears twice, the last one counts.

    Raises
    ------
    PetError
        With every text that has no ``=`` or no key.

    Examples
    --------
    >>> pairs(["text=review", "label=stars"], "--column", "FIELD=COLUMN")
    {'text': 'review', 'label': 'stars'}
    """
    found: dict[str, str] = {}
    problems = []
    for text in values:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            problems.append(f"{option} {text}: write it as {example}")
        found[key] = value  # unchanged: a column may be called " text"
    if problems:
        raise PetError(problems)
    return found


def numbers_of(text: str | None) -> list[int] | None:
    """Parse ``1,3`` as a list of numbers; None stays None.

    Raises
    ------
    PetError
        If it is anything else.

    Examples
    --------
    >>> numbers_of("1,3")
    [1, 3]
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise PetError(f"--patterns {text}: write numbers separated by commas, such as --patterns 1,3") from None


def column_pairs(values: Iterable[str]) -> dict[str, str]:
    """Parse the values of ``--column``: field -> column."""
    return pairs(values, "--column", "FIELD=COLUMN, as --column text=review")


def setting_pairs(values: Iterable[str], max_length: int | None = None) -> dict[str, str]:
    """Parse the values of ``--set`` and ``--max-length``: setting -> value as text."""
    found = pairs(values, "--set", "KEY=VALUE, as --set steps=200")
    return found if max_length is None else found | {"max_length": str(max_length)}


def split_data(options: dict[str, Any]) -> None:
    """Replace the value of ``--data`` in `options` by those of ``--train`` and ``--unlabeled``."""
    data = options.pop("data", None)
    if data is None:
        return
    given = [f"--{name}" for name in ("train", "unlabeled") if options[name] is not None]
    if given:
        raise PetError(f"--data {data}: stands for --train and --unlabeled; leave out {' and '.join(given)}")
    options["train"], options["unlabeled"] = f"{LABELED}{data}", f"{UNLABELED}{data}"


def table_format_of(options: dict[str, Any]) -> TableFormat:
    """Remove the values of `format_options` from `options` and return them."""
    from pet.data.table_format import TableFormat

    return TableFormat(**{name: options.pop(name) for name in FORMAT_OPTIONS})


def table_options_of(options: dict[str, Any]) -> TableOptions:
    """Collect the values of `table_options`, ``--keep``, ``--as-is`` and ``--force``."""
    from pet.data.table_options import TableOptions

    return TableOptions(
        columns=column_pairs(options["columns"]),
        keep=tuple(options.get("keep", ())),
        force=bool(options.get("force", False)),
        as_is=bool(options.get("as_is", False)),
        table_format=table_format_of(options),
    )


def compute_options_of(options: dict[str, Any]) -> ComputeOptions:
    """Collect the values of ``--device``, ``--precision``, ``--allow-pickle``, ``--quantize``, and of teachers."""
    from pet.inference.options import ComputeOptions

    access = access_of(options, options.pop("teachers")) if "teachers" in options else None

    chosen = ComputeOptions(
        device=options["device"] or "auto",
        precision=options["precision"],
        allow_pickle=bool(options["allow_pickle"]),
        quantize=bool(options.get("quantize", False)),
        runtime=options.get("runtime"),
    )
    return chosen if access is None else replace(chosen, access=access)


def teachers_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the values of ``--teacher``, which are members. Raises PetError for other kinds of members."""
    found = tuple(texts)
    if not found:
        return ()
    from pet.members.kinds import TEACHERS, parse_member  # imports torch

    for text in found:
        if (kind := parse_member(text).kind) not in TEACHERS:
            raise PetError(f"--teacher {text}: {kind} is not a teacher, but a member that learns; use --member {text}")
    return found


def access_of(options: dict[str, Any], teachers: Iterable[str] = ()) -> Access:
    """Take the values of `limit_options` out of `options`.

    Parameters
    ----------
    options : the command's
    teachers : ``openai:URL#MODEL``: texts may be sent there
    """
    from pet.teachers.access import Access
    from pet.teachers.address import KIND, parse_address

    names = {"max_calls": "max_calls", "max_tokens": "max_tokens", "parallel": "parallel", "teacher_cache": "cache"}
    given = {new: options.pop(name) for name, new in names.items()}
    addresses = []
    for text in teachers:
        kind, _, address = text.partition(":")
        if kind.rpartition("=")[2] != KIND:
            raise PetError(f"--teacher {text}: only members of the kind {KIND} send texts to a server")
        addresses.append(str(parse_address(address)))
    return Access(frozenset(addresses), **{name: value for name, value in given.items() if value is not None})


def execution_of(options: dict[str, Any]) -> Execution:
    """Take the values of `executor_options` out of `options`."""
    from pet.run.execution.options import Execution

    names = ("executor", "workers", "worker_cpus", "worker_gpus", "ray_address")
    given = {name: options.pop(name) for name in names}
    return Execution(**{name: value for name, value in given.items() if value is not None})


def reporter_for(quiet: bool) -> Reporter:
    """Return a reporter that writes to standard error."""
    from pet.progress import Reporter

    return Reporter("quiet" if quiet else "auto")


def chosen_model(model: str | None, reporter: Reporter) -> str:
    """Return the named model, or the built-in one after a line that says so."""
    if model is not None:
        return model
    from pet.backbones.place import DEFAULT_MODEL

    reporter.info(
        f"model: {DEFAULT_MODEL}, the small English model that comes with the package; "
        "a larger one gives better results (for example --model roberta-base)"
    )
    return DEFAULT_MODEL


def check_command(
    task: str, given: Mapping[str, object], table_format: TableFormat, columns: Iterable[str] = ()
) -> str:
    """Return the command that checks a task file, on one line: the next one to type.

    Parameters
    ----------
    task : the task file
    given : option -> value; options without a value are left out
    table_format : how tables are read
    columns : values of ``--column``
    """
    formats = {f"--{key}": value for key, value in table_format.to_dict().items()}
    options = [(option, value) for option, value in {**given, **formats}.items() if value is not None]
    options += [("--column", column) for column in columns]
    return clean(shlex.join(["pet", "check", task, *(str(part) for option in options for part in option)]))
