"""``pet prompts``: a library of trained prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Group
from pet.cli.options import (
    chosen_model,
    column_pairs,
    combined,
    compute_options,
    force_option,
    json_option,
    model_option,
    pairs,
    pickle_option,
    quiet_option,
    reporter_for,
    seed_option,
    setting_pairs,
    settings_option,
    table_format_of,
    table_options,
)
from pet.errors import PetError
from pet.recipe import DEFAULT_LIBRARY

if TYPE_CHECKING:
    from pet.prompts.library import Prompt
    from pet.prompts.session import Session
    from pet.task.task import Task

EXAMPLES = """\b
Examples:
  pet run sst2 --tuning prompt --train train.jsonl --test test.jsonl -o runs/sst2
  pet prompts add runs/sst2
  pet prompts list
  pet prompts rank yelp --train few.jsonl -m roberta-base
  pet run yelp --tuning prompt --init-prompt similar --train few.jsonl --test test.jsonl -o runs/yelp
  pet prompts train sst2=sst2.jsonl yelp=yelp.jsonl --name opinions
  pet prompts pretrain --text wiki.txt.xz --format pair
  pet prompts unify agnews -o agnews-unified.yaml
  pet prompts project sst2-p1-r1 --from roberta-base --model roberta-large
"""
library_option = click.option(
    "-l", "--library", default=DEFAULT_LIBRARY, show_default=True, metavar="DIR", help="Folder of the library."
)
name_option = click.option("--name", metavar="N", help="Name of the new prompt.  [default: by tasks or format]")
work_options = combined(model_option, library_option, seed_option, settings_option, compute_options)


def _example(line: str) -> str:
    return f"\b\nExample:\n  {line}"


@click.group(cls=Group, epilog=EXAMPLES)
def prompts() -> None:
    """Manage trained prompts, to start new tasks from them.

    A prompt is what `pet run --tuning prompt` trains: vectors that are put before a text. It takes kilobytes and
    belongs to one model. A library is a folder with a subfolder for each prompt.
    """


@prompts.command(epilog=_example("pet prompts add runs/sst2 --name opinions"))
@click.argument("run", metavar="RUN")
@library_option
@click.option("--name", metavar="N", help="Prefix of the names.  [default: the task]")
@json_option
def add(run: str, library: str, name: str | None, as_json: bool) -> None:
    """Add the members of a finished run to the library.

    RUN is the folder of a `pet run --tuning prompt`. Each member becomes a prompt, with its metrics on the run's test
    set.
    """
    from pet.inference.prompts_from_run import add_run

    _show(add_run(run, library, name), as_json, f"added to {library}:\n")


@prompts.command("list", epilog=_example("pet prompts list --json"))
@library_option
@json_option
def list_(library: str, as_json: bool) -> None:
    """List the prompts of the library."""
    from pet.prompts.library import list_prompts

    _show(list_prompts(library), as_json, "")


@prompts.command(
    epilog=_example("pet prompts rank yelp --train few.jsonl --test test.jsonl --by neurons -m roberta-base")
)
@click.argument("task", metavar="TASK")
@click.option("--train", metavar="F", help="Labeled texts, to train a prompt to compare with.")
@click.option("--test", metavar="F", help="Labeled texts to evaluate the prompts on.  [default: those of --train]")
@click.option("--examples", type=int, metavar="N", help="Draw N texts of --train, evenly over the labels.")
@click.option("--by", metavar="MEASURE", help="Rank by zero-shot, cosine, pairs or neurons.  [default: zero-shot]")
@table_options
@work_options
@json_option
@quiet_option
def rank(
    task: str,
    train: str | None,
    test: str | None,
    examples: int | None,
    by: str | None,
    library: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Rank the prompts of the library for a task.

    accuracy and loss are those of the prompt on the task without training, averaged over the task's patterns. The
    other columns measure the similarity to a prompt that is first trained on --train for a few steps (`--set
    query_steps=100`): cosine of the mean vectors, mean cosine over all pairs of vectors, and overlap of activated
    neurons (BERT-like models only). Vectors that started from different words differ for that reason alone, so after
    few steps these measures tell less than the accuracy.
    """
    from pet.prompts.session import rank_library, read_labeled
    from pet.report.tables import text_table
    from pet.run.load_run import load_task

    if examples is not None and train is None:
        raise PetError("--examples requires --train; add it, or leave out --examples")
    loaded, columns = load_task(task), column_pairs(options["columns"])
    table_format = table_format_of(options)
    if by is not None:
        options["settings"] = (*options["settings"], f"prompt_similarity={by}")
    session = _session(options)
    how: dict[str, Any] = {"columns": columns, "table_format": table_format}
    drawn = read_labeled(loaded, train, **how, examples=examples, seed=session.seed) if train else None
    tried = read_labeled(loaded, test, **how) if test else None
    found = [candidate.to_dict() for candidate in rank_library(session, library, loaded, drawn, tried)]
    if as_json:
        echo_json({"task": loaded.name, "by": session.recipe.library.similarity, "prompts": found})
    else:
        echo(text_table([list(row.values()) for row in found], ["prompt", *list(found[0])[1:]]))


@prompts.command(
    epilog=_example("pet prompts train sst2=sst2.jsonl yelp=yelp.jsonl --examples 200 --name opinions --set steps=300")
)
@click.argument("tasks", metavar="TASK=F...", nargs=-1, required=True)
@name_option
@click.option("--examples", type=int, metavar="N", help="Draw N texts of each file, evenly over the labels.")
@table_options
@work_options
@json_option
@quiet_option
def train(
    tasks: tuple[str, ...], name: str | None, examples: int | None, library: str, as_json: bool, **options: Any
) -> None:
    """Train one prompt on several tasks.

    Name each task with its labeled texts. The tasks take turns, one micro-batch each, whatever their sizes, and so do
    the patterns of each task.
    """
    from pet.prompts.library import check_free, write_prompt
    from pet.prompts.session import mixture_name, read_labeled, train_on
    from pet.run.load_run import load_task

    files = pairs(tasks, "task", "TASK=FILE, as sst2=train.jsonl")
    loaded = {task: load_task(task) for task in files}
    if len({task.name for task in loaded.values()}) < len(tasks):
        raise PetError("a task is given twice; put its texts into one file")
    columns = _columns_of(list(loaded.values()), column_pairs(options["columns"]))
    how: dict[str, Any] = {"examples": examples, "seed": options["seed"], "table_format": table_format_of(options)}
    texts = [(task, read_labeled(task, files[key], columns=columns[task.name], **how)) for key, task in loaded.items()]
    chosen = name or mixture_name(list(loaded.values()))
    check_free(library, chosen)
    prompt = train_on(_session(options), texts, chosen, {"kind": "mixture", "origin": {}})
    write_prompt(library, prompt)
    _show([prompt], as_json, f"added to {library}:\n")


@prompts.command(
    epilog=_example("pet prompts pretrain --text wiki.txt.xz --format unified --count 3000 --name wiki -m roberta-base")
)
@click.option(
    "-t",
    "--text",
    "sources",
    multiple=True,
    required=True,
    metavar="F",
    help="A text file, a folder of them, or a table: JSONL, CSV, TSV, Parquet, Excel, sqlite:FILE#TABLE, "
    "hub:OWNER/NAME, ... Repeatable.",
)
@click.option("--field", "fields", multiple=True, metavar="NAME", help="Field of JSONL or hub rows. Repeatable.")
@click.option(
    "--document",
    type=click.Choice(["line", "blank", "file"]),
    default="line",
    show_default=True,
    help="What a document of a text file is: a line, a block between blank lines, or the file.",
)
@click.option(
    "--format", "form", type=click.Choice(["single", "pair", "choice", "unified"]), default="pair", show_default=True
)
@click.option("--count", type=int, default=2000, show_default=True, metavar="N", help="Number of examples to generate.")
@click.option(
    "--options", "choices", type=int, default=4, show_default=True, metavar="N", help="Options of a multiple choice."
)
@click.option(
    "--words",
    metavar="A,B,C",
    help="For --format pair: words for another document, the same one, and the next sentence.  [default: no,maybe,yes]",
)
@click.option("--task", metavar="TASK", help="For --format single and unified: the task to label sentences for.")
@click.option("--teacher", metavar="C", help="Classifier that labels them.  [default: the model itself]")
@name_option
@work_options
@json_option
@quiet_option
def pretrain(
    sources: tuple[str, ...],
    fields: tuple[str, ...],
    document: str,
    form: str,
    count: int,
    choices: int,
    words: str | None,
    task: str | None,
    teacher: str | None,
    name: str | None,
    library: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Pretrain a prompt on unlabeled text.

    Examples are generated from documents of several sentences. pair: is the second sentence the next one, from the
    same document, or from another? choice: which sentence is the next one? single: sentences labeled by a teacher.
    unified: all three as multiple choice; `pet prompts unify` casts a task into that format.
    """
    from pet.data.documents import read_documents
    from pet.prompts.library import check_free, write_prompt
    from pet.prompts.pretrain import PretrainingExamples
    from pet.prompts.pretrain import pretrain as train_on_text
    from pet.prompts.self_supervised import PAIR_WORDS
    from pet.run.load_run import load_task

    chosen = name or f"ppt-{form}"
    check_free(library, chosen)
    examples = PretrainingExamples(
        form=form,
        count=count,
        options=choices,
        words=tuple(word.strip() for word in words.split(",")) if words else PAIR_WORDS,
        task=load_task(task) if task else None,
        teacher=teacher,
    )
    texts = read_documents(sources, fields, document)
    prompt = train_on_text(_session(options), texts, chosen, examples)
    write_prompt(library, prompt)
    _show([prompt], as_json, f"added to {library}:\n")


@prompts.command(epilog=_example("pet prompts unify agnews -o agnews-unified.yaml"))
@click.argument("task", metavar="TASK")
@click.option("-o", "--output", required=True, metavar="F", help="The new task file: .yaml.")
@force_option
@json_option
def unify(task: str, output: str, force: bool, as_json: bool) -> None:
    """Cast a task into the unified multiple-choice format.

    Its only pattern lists the labels' words as options A, B, ..., and the blank is a letter. Such a task suits prompts
    from `pet prompts pretrain --format unified`.
    """
    import yaml

    from pet.prompts.self_supervised import unified_task
    from pet.run.load_run import load_task
    from pet.store.files import writing
    from pet.store.outputs import check_output

    place = check_output(output, (".yaml", ".yml"), force=force)
    made = unified_task(load_task(task))
    with writing(place) as beside:
        dumped = yaml.safe_dump(made.to_dict(), sort_keys=False, allow_unicode=True, width=100)
        beside.write_text(dumped, encoding="utf-8", newline="\n")
    pattern = made.patterns[0].template.source
    if as_json:
        echo_json({"output": output, "pattern": pattern})
    else:
        echo(f"{output}: {pattern}")


@prompts.command(epilog=_example("pet prompts project sst2-p1-r1 --from roberta-base --model roberta-large"))
@click.argument("prompt", metavar="PROMPT")
@click.option("--from", "source", required=True, metavar="M", help="Model that the prompt belongs to.")
@click.option("-m", "--model", required=True, metavar="M", help="Model to map it onto.")
@click.option("--name", metavar="N", help="Name of the mapped prompt.  [default: PROMPT-on-MODEL]")
@library_option
@pickle_option
@json_option
def project(
    prompt: str, source: str, model: str, name: str | None, library: str, allow_pickle: bool | None, as_json: bool
) -> None:
    """Map a prompt onto another model.

    The map is a least-squares fit between the word embeddings of the two models. A prompt may lose most of its use:
    check its accuracy with `pet prompts rank` first.
    """
    from pet.prompts.library import check_free, find_prompt, write_prompt
    from pet.prompts.projection import default_name, project_prompt

    found = find_prompt(prompt, library)
    chosen = name or default_name(found, model)
    check_free(library, chosen)
    mapped = project_prompt(found, source, model, chosen, allow_pickle=bool(allow_pickle))
    write_prompt(library, mapped)
    _show([mapped], as_json, f"added to {library}:\n")


def _columns_of(tasks: Sequence[Task], columns: dict[str, str]) -> dict[str, dict[str, str]]:
    """For each task, the columns of its fields and of what every table has."""
    known = {field for task in tasks for field in task.fields} | {"id", "label"}
    if unknown := [key for key in columns if key not in known]:
        there = ", ".join(sorted(known))
        raise PetError(f"--column {unknown[0]}=...: none of the tasks has such a field; the fields are {there}")
    return {
        task.name: {key: column for key, column in columns.items() if key in (*task.fields, "id", "label")}
        for task in tasks
    }


def _session(options: dict[str, Any]) -> Session:
    from pet.prompts.session import open_session

    reporter = reporter_for(options["quiet"])
    return open_session(
        chosen_model(options["model"], reporter),
        setting_pairs(options["settings"]),
        seed=options["seed"],
        device=options["device"] or "auto",
        precision=options["precision"] or "auto",
        allow_pickle=bool(options["allow_pickle"]),
        reporter=reporter,
    )


def _show(found: Sequence[Prompt], as_json: bool, title: str) -> None:
    """Print prompts as a table, or as JSON with everything that is known about them."""
    from pet.report.tables import text_table

    if as_json:
        echo_json([_all_of(prompt) for prompt in found])
        return
    rows = [
        [
            prompt.name,
            prompt.tasks,
            prompt.about["kind"],
            f"{prompt.backbone} ({prompt.fingerprint[:8]})",
            prompt.length,
            prompt.about["examples"],
            prompt.about["steps"],
            prompt.about["metrics"].get("accuracy"),
        ]
        for prompt in found
    ]
    header = ["prompt", "tasks", "kind", "model", "vectors", "examples", "steps", "accuracy"]
    echo(title + (text_table(rows, header) if rows else "no prompts"))


def _all_of(prompt: Prompt) -> dict[str, Any]:
    return {
        "name": prompt.name,
        "backbone": {"name": prompt.backbone, "hash": prompt.fingerprint},
        "shape": list(prompt.vectors.shape),
        **prompt.about,
    }
