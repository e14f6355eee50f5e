"""``pet export``: write a classifier for other programs."""

from __future__ import annotations

from typing import Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    json_option,
    pickle_option,
    quiet_option,
    reporter_for,
    table_options,
    table_options_of,
)
from pet.errors import PetError

EXAMPLES = """\b
Examples:
  pet export runs/agnews -o agnews-onnx --onnx --int8
  pet export OWNER/CLASSIFIER -o onnx --onnx --texts texts.csv --column text=review
  pet predict agnews-onnx --input new.csv -o predictions.csv
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@click.option("-o", "--output", required=True, metavar="DIR", help="New folder for the files.")
@click.option("--onnx", is_flag=True, help="Write ONNX, as transformers.js and optimum read it. Required.")
@click.option(
    "--ensemble",
    is_flag=True,
    help="Write the ensemble of a run as one graph. Its members must share one model: --tuning prompt or p-tuning, or "
    "zero-shot.",
)
@click.option("--int8", is_flag=True, help="Also write onnx/model_quantized.onnx, with int8 weights.")
@click.option(
    "--texts",
    metavar="F",
    help="Texts to compare the files on with torch; the first 256 are used.  [default: the unlabeled texts of the run]",
)
@click.option(
    "--node-modules",
    metavar="DIR",
    help="Folder where npm has installed @huggingface/transformers, whose scripts are copied for demo.html.",
)
@table_options
@click.option("--force", is_flag=True, help="Replace a folder that an earlier `pet export` wrote.")
@pickle_option
@json_option
@quiet_option
def export(model: str, output: str, onnx: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Write a classifier as ONNX.

    MODEL is the `student` folder of a run, the run itself, or any sequence classifier of transformers. DIR gets
    onnx/model.onnx, the configuration, the tokenizer, and demo.html, which classifies in a browser. The files are
    compared with torch first; a graph that computes anything else is refused. `pet predict` reads DIR, too.
    """
    if not onnx:
        raise PetError("pet export writes ONNX only; add --onnx")
    if options["ensemble"] and (options["int8"] or options["node_modules"]):
        raise PetError("--int8 and --node-modules are for classifiers; leave them out with --ensemble")
    from pet.export.classifier import Export, export_classifier
    from pet.export.ensemble import export_ensemble
    from pet.inference.options import ComputeOptions

    write = export_ensemble if options["ensemble"] else export_classifier
    figures = write(
        model,
        output,
        Export(options["int8"], options["texts"], options["node_modules"], options["force"]),
        table=table_options_of(options),
        compute=ComputeOptions(allow_pickle=bool(options["allow_pickle"])),
        reporter=reporter_for(quiet),
    )
    if as_json:
        echo_json({"output": output, **figures})
        return
    if "torch" in figures:
        echo(f"torch: {figures['torch']['texts_per_second']} texts a second")
    for name, about in figures["files"].items():
        speed = f"{about['texts_per_second']} texts a second, " if "texts_per_second" in about else ""
        kept = f"{100 * about['labels_kept']:.1f}% of {figures['texts']} texts keep their label"
        echo(f"{name}: {about['bytes'] / 1e6:.1f} MB, {speed}{kept} (largest difference {about['difference']:.2g})")
    echo(f"written to {output}")
