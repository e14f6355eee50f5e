"""PET, its variants, and other few-shot methods on the same draws: accuracy, differences from PET, and CPU seconds.

    python benchmarks/peers.py tickets:40 agnews:32 clinc:150 --seeds 3 --cache ~/.cache/pet-benchmarks

Every method gets the same labeled examples, unlabeled texts and test texts. Examples and unlabeled texts differ between
seeds; test texts do not. Each line of the output file is one method on one draw, with which test texts it gets right;
lines that exist are not made again. ``--variant`` adds a method: a run with other settings.

SetFit is installed by pip into an environment of its own in the cache folder. Reads the data sets and models in
../shared, except for the package's own samples (tickets, news) and models.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import common
from draws import SETS, Size, make_draw
from peers_methods import METHODS, Method, Run, Setting, parse_variant
from peers_table import INTRO, page


def one_line(
    wanted: Mapping[str, Any], shared: Path, setting: Setting, methods: Mapping[str, Method]
) -> dict[str, Any]:
    """Train one method on one draw, and return which test texts it gets right."""
    source = SETS[wanted["task"]]
    size = Size(wanted["examples"], wanted["pool"], wanted["test"])
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pet-draw-") as folder:
        draw = make_draw(source, shared / "data", size, wanted["seed"], Path(folder))
        predicted, notes = methods[wanted["method"]](draw, setting)
    return {
        **wanted,
        **notes,
        "cpu": round(notes["cpu"], 2),
        "seconds": round(time.perf_counter() - begun),
        "right": {
            name: "".join(map(str, (labels == draw.gold).astype(int).tolist())) for name, labels in predicted.items()
        },
    }


def model_of(task: str, model: str, shared: Path) -> str:
    """Return the model for a data set: a folder in ../shared/models, or a name."""
    name = SETS[task].model or model
    place = shared / "models" / name
    return str(place) if place.is_dir() else name


@click.command()
@common.run_options("peers")
@common.shared_option
@common.threads_option
@click.option("--methods", default=",".join(METHODS), show_default=True, help="Methods, separated by commas.")
@click.option("--variant", "variants", multiple=True, metavar="NAME=METHOD:KEY=VALUE,...", help="Add a method.")
@click.option("--model", default="minilm-mlm-en", show_default=True, help="Model in ../shared/models, or any other.")
@click.option("--pool-size", default=1000, show_default=True, help="Unlabeled texts.")
@click.option("--test-rows", default=1000, show_default=True, help="Texts of the test set.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("~/.cache/pet-benchmarks"),
    show_default=True,
    help="Folder for the environment of setfit.",
)
@click.option("--setfit", default="setfit", show_default=True, help="What pip installs for it, separated by spaces.")
@click.option("--setfit-steps", default=1000, show_default=True, help="Most updates of setfit.")
def main(
    wanted: tuple[str, ...], seeds: int, output: Path, changes: tuple[str, ...], shared: Path, **options: Any
) -> None:
    """Make the lines that are missing and print the table. TASK is one of the names in draws.py."""
    # Imported here, so that imports are not part of the CPU seconds of the first method.
    import sklearn.semi_supervised  # noqa: F401
    import torch

    import pet.run.pipeline  # noqa: F401

    torch.set_num_threads(options["threads"])
    variants = dict(parse_variant(text) for text in options["variants"])
    methods: dict[str, Method] = {**METHODS, **variants}
    names = [name for name in [*options["methods"].split(","), *variants] if name]
    if unknown := [name for name in names if name not in methods]:
        raise click.UsageError(f"unknown method {unknown[0]}; methods are {', '.join(methods)}")
    runs = []
    for run in common.wanted_runs(wanted, seeds):
        if run["task"] not in SETS:
            raise click.UsageError(f"unknown data set {run['task']}; data sets are {', '.join(SETS)}")
        model = model_of(run["task"], options["model"], shared)
        same = {"model": Path(model).name, "pool": options["pool_size"], "test": options["test_rows"]}
        same["settings"] = common.setting_pairs(changes)
        runs += [run | same | {"method": name} | described(variants.get(name)) for name in dict.fromkeys(names)]

    def make(run: Mapping[str, Any]) -> dict[str, Any]:
        click.echo(f"{run['task']}:{run['examples']} seed {run['seed']} {run['method']}", err=True)
        setting = Setting(
            model_of(run["task"], options["model"], shared),
            run["settings"],
            options["cache"],
            tuple(options["setfit"].split()),
            options["setfit_steps"],
            options["threads"],
        )
        return one_line(run, shared, setting, methods)

    done = common.make_missing(output, runs, make, lambda lines: INTRO + page(lines))
    click.echo(page(done))


def described(variant: Run | None) -> dict[str, Any]:
    """Return what tells a variant from others of the same name."""
    if variant is None:
        return {}
    changes = [f"{key}={value}" for key, value in variant.settings.items()]
    return {"changes": " ".join([variant.method, *changes, *(f"member={member}" for member in variant.members)])}


if __name__ == "__main__":
    main()
