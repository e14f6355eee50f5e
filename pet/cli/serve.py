"""``pet serve``: a classifier behind HTTP."""

from __future__ import annotations

import os
from typing import Any

import click

from pet.cli.echo import echo, echo_json
from pet.cli.help import Command
from pet.cli.options import (
    compute_options_of,
    exact_compute_options,
    json_option,
    quiet_option,
    reporter_for,
    runtime_option,
)
from pet.errors import PetError

EXAMPLES = """\b
Examples:
  pet serve runs/reviews --port 8080
  curl http://127.0.0.1:8080/predict -d '{"inputs": ["good", "bad"], "parameters": {"top_k": 1}}'
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="A",
    help="Address to listen on. One that other machines can reach requires a secret in $PET_SERVE_TOKEN, which every "
    "request must send as `Authorization: Bearer SECRET`.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0: a free one.")
@click.option("--max-batch", type=click.IntRange(1, 4096), default=64, show_default=True, help="Most texts of a batch.")
@click.option(
    "--max-texts", type=click.IntRange(1, 65536), default=256, show_default=True, help="Most texts of a request."
)
@click.option(
    "--max-body", type=click.IntRange(100), default=1_000_000, show_default=True, help="Most bytes of a request."
)
@click.option(
    "--max-waiting",
    type=click.IntRange(1),
    default=2048,
    show_default=True,
    help="Most texts that may wait; further requests get status 503.",
)
@click.option(
    "--timeout", type=click.FloatRange(0.001), default=30.0, show_default=True, help="Most seconds for an answer."
)
@exact_compute_options
@runtime_option
@json_option
@quiet_option
def serve(model: str, host: str, port: int, as_json: bool, quiet: bool, **options: Any) -> None:
    """Serve a classifier over HTTP.

    MODEL is a student, a run, a folder of `pet export`, or any sequence classifier of transformers; a run without a
    student is served as its ensemble. With --runtime auto, OpenVINO comes first, then ONNX Runtime. POST /predict takes
    and returns what text-classification endpoints do, GET /metrics has figures for Prometheus, GET /health the labels.
    Concurrent requests are computed in batches. Stop with Ctrl-C or SIGTERM: open requests are answered first. The
    address is printed when requests can be sent; with --json, also the labels and the fields.
    """
    from pet.extras import install_command, is_installed

    missing = [name for name in ("starlette", "uvicorn") if not is_installed(name)]
    if missing:
        raise PetError(f"pet serve requires {' and '.join(missing)}; install it with: {install_command('review')}")
    from pet.serving.app import Limits
    from pet.serving.model import open_served, warmed
    from pet.serving.serve import TOKEN, serve

    reporter = reporter_for(quiet)
    served = warmed(open_served(model, compute_options_of(options), reporter))
    limits = Limits(
        options["max_body"], options["max_texts"], options["timeout"], options["max_batch"], options["max_waiting"]
    )

    def ready(address: str) -> None:
        if as_json:
            echo_json({"address": address, "labels": list(served.labels), "fields": list(served.fields)})
        else:
            echo(address)

    serve(served, host, port, limits, os.environ.get(TOKEN, "").strip(), ready)
    reporter.info("stopped")
