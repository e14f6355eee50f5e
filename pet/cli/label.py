"""``pet label``: label texts with the ensemble of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pet.cli.early import check_labeling
from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    as_is_option,
    compute_options,
    compute_options_of,
    execution_of,
    executor_options,
    force_option,
    input_option,
    json_option,
    keep_option,
    limit_options,
    min_confidence_option,
    quantize_option,
    quiet_option,
    reporter_for,
    runtime_option,
    table_options,
    table_options_of,
)
from pet.errors import PetError
from pet.inference.options import check_confidence
from pet.terminal import clean, counted

if TYPE_CHECKING:
    from pathlib import Path

    from pet.inference.label_file import Labeled, LeastConfidence

STANDARD = "-"
_AGREEMENT = {True: "int8_agreement", False: "agreement"}  # whether torch computes
EXAMPLES = """\b
Examples:
  pet label runs/agnews --input more.jsonl -o labels.parquet
  pet label runs/agnews --input more.csv --column body=text --keep url -o labels.csv --min-confidence 0.9
  pet label runs/agnews --input more.jsonl -o labels.parquet --none-of-these 0.05
  pet label runs/agnews --input more.csv -o labels.csv --max-error 0.05 --held-out checked.csv
  zcat more.csv.gz | pet label runs/agnews --input - -o - | head
  pet label /shared/runs/agnews --input /shared/pool/ -o /shared/labels --executor ray
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("run", metavar="RUN")
@input_option
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="F",
    help="Soft labels: .parquet, .jsonl, .csv or .tsv; - prints JSON lines; on Ray a folder.",
)
@click.option(
    "--html", "page", metavar="F", help="Also write a page: shares of the labels, and the least certain texts."
)
@min_confidence_option
@click.option(
    "--max-error",
    type=float,
    metavar="X",
    help="Keep only labels that are sure enough: at most this share of them is expected to be wrong. Requires labeled "
    "texts that the run has not learned from.",
)
@click.option(
    "--held-out",
    metavar="F",
    help="Labeled texts for --max-error; those that fit no label have the label none_of_these.  [default: the run's "
    "test texts]",
)
@click.option(
    "--none-of-these",
    type=float,
    metavar="X",
    help="Leave out texts that fit no label: those that fit worse than all but a share X of the labeled texts, such as "
    "0.05. Adds the column `fit`.",
)
@click.option(
    "--none-of-these-by",
    type=click.Choice(["embeddings", "mass"]),
    default="embeddings",
    show_default=True,
    help="How to measure the fit: by the distance to the labeled texts, or by the probability of all label words.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="T",
    help="Let the run's member openai:URL#MODEL send texts to its server; without this, it abstains. Repeatable.",
)
@limit_options
@table_options
@keep_option
@as_is_option
@force_option
@compute_options
@quantize_option
@runtime_option
@executor_options
@json_option
@quiet_option
def label(run: str, source: str, output: str, page: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Label texts with the ensemble of a finished run.

    RUN is the folder of the run, or of `pet export --ensemble`. The input may be of any size. The output holds the id,
    the probability of each label, the best label and its confidence, the entropy, the members' agreement and their
    votes.

    With --executor ray, a pool in Parquet is labeled shard by shard on all machines of the cluster, and the output is a
    folder of Parquet files in the order of the texts. To resume after a stop, run the same command again.
    """
    execution = execution_of(options)
    place = None if page is None else _page(page, run, (source, output), execution.executor, force=options["force"])
    if output == STANDARD and (as_json or execution.executor == "ray"):
        raise PetError(f"-o -: prints the labels themselves; leave out {'--json' if as_json else '--executor ray'}")
    table = table_options_of(options)
    if execution.executor != "ray":
        if execution.workers is not None or execution.worker_cpus is not None:
            raise PetError("--workers and --worker-cpus require --executor ray; otherwise one process labels")
        check_confidence(options["min_confidence"])
        check_labeling(run, source, output, table)
    how: dict[str, Any] = {
        "min_confidence": options["min_confidence"],
        "table": table,
        "compute": compute_options_of(options),
        "reporter": reporter_for(quiet),
    }
    how |= _none_of_these(options, execution.executor)
    how["min_confidence"] = _least_confidence(run, options["max_error"], options["held_out"], execution.executor, how)
    if execution.executor == "ray":
        from pet.inference.label_shards import label_on_ray

        counts = label_on_ray(run, source, output, execution, **how)
    else:
        from pet.inference.label_file import label_file

        counts = label_file(run, source, sys.stdout if output == STANDARD else output, **how)
    if place is not None:
        from pet.inference.label_report import label_report
        from pet.store.files import write_atomically

        write_atomically(place, label_report(run, source, output, counts, table))
    if output != STANDARD:
        _tell(counts, output, place, as_json=as_json)


def _tell(counts: Labeled, output: str, page: Path | None, *, as_json: bool) -> None:
    """Print what was labeled, and where it is."""
    if as_json:
        echo_json(
            {
                "output": output,
                "texts": counts.texts,
                "kept": counts.kept,
                "per_label": dict(counts.per_label),
                **_fit(counts),
                **({} if counts.agreement is None else {_AGREEMENT[counts.engine is None]: counts.agreement}),
                **({} if counts.engine is None else {"runtime": counts.engine}),
            }
        )
        return
    kept = "all" if counts.kept == counts.texts else f"{counts.kept} of them"
    echo(f"{counted(counts.texts, 'text')} labeled, {kept} written to {output}")
    if counts.threshold is not None:
        echo(counts.threshold.text(counts.none_of_these or 0, counts.texts))
    echo("\n".join(f"  {clean(name)}: {n}" for name, n in counts.per_label.items()))
    if page is not None:
        echo(f"page: {page}")


def _page(page: str, run: str, streams: tuple[str, str], executor: str, *, force: bool) -> Path:
    """Return where the page goes, if it can be made."""
    from pet.inference.place import is_exported_ensemble
    from pet.resources import expand
    from pet.run.results import read_results
    from pet.store.outputs import check_output

    if STANDARD in streams or executor == "ray":
        raise PetError(
            "--html reads the texts and their labels again: it requires --input FILE, -o FILE and one process"
        )
    if is_exported_ensemble(expand(run)):
        raise PetError(f"{run}: has no figures of a run, which --html shows; leave it out, or name the run instead")
    read_results(expand(run))  # the page needs them, and labeling takes long
    return check_output(page, (".html", ".htm"), force=force)


def _none_of_these(options: Mapping[str, Any], executor: str) -> dict[str, Any]:
    """Return the rule for texts that fit no label, as an argument of `label_file`; empty without one."""
    if options["none_of_these"] is None:
        if options["none_of_these_by"] != "embeddings":
            raise PetError("--none-of-these-by has no effect without --none-of-these X")
        return {}
    from pet.inference.none_of_these import NoneOfThese

    if executor == "ray":
        raise PetError("--none-of-these works in one process only; leave it out with --executor ray")
    return {"none_of_these": NoneOfThese(options["none_of_these"], options["none_of_these_by"])}


def _least_confidence(
    run: str, error: float | None, held_out: str | None, executor: str, how: Mapping[str, Any]
) -> float | LeastConfidence:
    """Return the least confidence of labels to keep, or what finds it: ``--max-error``, or else ``--min-confidence``.

    One process finds it with the engine that labels. On a cluster every worker has its own; the scores are the same.
    """
    if error is None:
        if held_out is not None:
            raise PetError("--held-out has no effect without --max-error X")
        return float(how["min_confidence"])
    from pet.review.max_error import least_confidence, open_max_error

    if executor == "ray":
        from pet.inference.label_shards import check_cluster_options

        check_cluster_options(how["compute"])
        return least_confidence(run, error, held_out, **how).confidence
    asked = open_max_error(run, error, held_out, **{name: how[name] for name in how if name != "none_of_these"})
    return lambda ensemble, threshold: asked.choose(ensemble, threshold).confidence


def _fit(counts: Labeled) -> dict[str, Any]:
    """Return what is known about texts that fit no label; empty if it was not asked for."""
    if counts.threshold is None:
        return {}
    return {
        "none_of_these": counts.none_of_these,
        "threshold": counts.threshold.least,
        "labeled": counts.threshold.labeled,
        "labeled_dropped": counts.threshold.dropped,
    }
