"""``pet label``: soft labels for new texts."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.options import (
    column_pairs,
    columns_option,
    compute_options,
    echo_json,
    execution_of,
    executor_options,
    json_option,
    quantize_option,
    quiet_option,
    reporter_for,
)
from pet.errors import PetError

EXAMPLES = """\b
Examples:
  pet label runs/agnews --input more.jsonl -o labels.parquet
  pet label runs/agnews --input more.csv --column body=text -o labels.jsonl --min-confidence 0.9
  pet label /shared/runs/agnews --input /shared/pool/ -o /shared/labels --executor ray
"""


@click.command(epilog=EXAMPLES)
@click.argument("run", metavar="RUN")
@click.option("--input", "source", required=True, metavar="F", help="Texts: JSONL, CSV, TSV, Parquet, or hub:NAME.")
@click.option("-o", "--output", required=True, metavar="F", help="Soft labels: .parquet or .jsonl; on Ray a folder.")
@click.option(
    "--min-confidence",
    type=float,
    default=0.0,
    metavar="P",
    help="Leave out texts whose best label is less probable.",
)
@columns_option
@compute_options
@quantize_option
@executor_options
@json_option
@quiet_option
def label(run: str, source: str, output: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Label new texts with the ensemble of a finished run.

    RUN is the folder that `pet run` made. Input of any size is read piece by piece; the output holds id,
    probabilities, label, confidence, entropy, agreement of the members, and the vote of each.

    With --executor ray a pool in Parquet (a file, or a folder of them) is labeled shard by shard wherever there is
    room, and OUTPUT becomes a folder of Parquet files in the order of the texts. The same command goes on after a stop.
    """
    execution = execution_of(options)
    how: dict[str, Any] = {
        "min_confidence": options["min_confidence"],
        "columns": column_pairs(options["columns"]),
        "device": options["device"] or "auto",
        "precision": options["precision"],
        "allow_pickle": options["allow_pickle"],
        "reporter": reporter_for(quiet),
    }
    if execution.executor == "ray":
        if options["quantize"]:
            raise PetError("--quantize is for one process; leave it out with --executor ray")
        from pet.inference.label_shards import label_on_ray

        counts = label_on_ray(run, source, output, execution, **how)
    else:
        from pet.inference.label_file import label_file

        if execution.workers is not None or execution.worker_cpus is not None:
            raise PetError("--workers and --worker-cpus go with --executor ray; one process labels otherwise")
        counts = label_file(run, source, output, quantize=options["quantize"], **how)
    if as_json:
        echo_json(
            {
                "output": output,
                "texts": counts.texts,
                "kept": counts.kept,
                "per_label": dict(counts.per_label),
                **({} if counts.agreement is None else {"int8_agreement": counts.agreement}),
            }
        )
        return
    kept = "all" if counts.kept == counts.texts else f"{counts.kept} of them"
    click.echo(f"{counts.texts} texts labeled, {kept} kept in {output}")
    click.echo("\n".join(f"  {name}: {n}" for name, n in counts.per_label.items()))
