"""The methods that peers.py compares: each trains on a draw and predicts its test texts."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import common
import numpy as np
from draws import Draw

if TYPE_CHECKING:
    from pet.members.texts import Texts
    from pet.run.resolve import ResolvedRun
    from pet.run.settings import RunSettings

Array = np.ndarray
Predicted = dict[str, Array]  # what predicts ("" if there is only one) -> label index of each test text
Outcome = tuple[Predicted, dict[str, Any]]  # and notes: CPU seconds (``cpu``), versions


@dataclass(frozen=True)
class Setting:
    """What all methods share.

    Attributes
    ----------
    model : folder or name of the model
    settings : changed settings of all runs
    cache : folder for the environment of setfit
    setfit : what pip installs into it
    setfit_steps : most updates of setfit
    threads : of every process
    """

    model: str
    settings: Mapping[str, str]
    cache: Path
    setfit: tuple[str, ...]
    setfit_steps: int
    threads: int


Method = Callable[[Draw, Setting], Outcome]


def cpu_seconds() -> float:
    """Return the CPU time of this process and its children."""
    return sum(os.times()[:4])


# ---- runs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A method that is a run of this package, with these settings."""

    method: str = "pet"
    settings: Mapping[str, str] = field(default_factory=dict)
    members: tuple[str, ...] = ()

    def __call__(self, draw: Draw, setting: Setting) -> Outcome:
        from pet.progress import Reporter

        begun = cpu_seconds()
        options = {
            **common_settings(draw, setting, self.settings),
            "method": self.method,
            "members": self.members,
        }
        with tempfile.TemporaryDirectory(prefix="pet-peers-") as folder:
            results, _ = common.run_in(Path(folder), draw.folder, len(draw.gold), options, reporter=Reporter("quiet"))
            cpu = cpu_seconds() - begun
            found = predictions(Path(folder) / "run", draw, results)
        figures = {name: results[name] for name in ("student", "ensemble") if name in results}
        for name, own in figures.items():
            if abs((found[name] == draw.gold).mean() - own["accuracy"]) > 1e-9:
                raise click.ClickException(f"{name}: the scores in the run folder are not those of its report")
        if self.method == "supervised":
            return {"": found["student"]}, {"cpu": cpu, "ece": {"": results["student"]["ece"]}}
        return found, {"cpu": cpu, "ece": {name: own["ece"] for name, own in figures.items()}}


def common_settings(draw: Draw, setting: Setting, changes: Mapping[str, str]) -> dict[str, Any]:
    """Return arguments of `RunSettings`."""
    return {
        "task": draw.task.to_dict(),
        "model": setting.model,
        "seed": draw.seed,
        "settings": {**setting.settings, **changes},
    }


def predictions(run: Path, draw: Draw, results: Mapping[str, Any]) -> Predicted:
    """Return the test labels that the student, the ensemble, and its patterns alone predict in a finished run."""
    from pet.ensemble.combine import Ensemble
    from pet.store.manifest import read_stages

    found = {}
    if "student" in results:
        found["student"] = np.load(run / "student" / "test-logits.npy").argmax(axis=1)
    if "ensemble" in results:
        generation, stages = run / f"g{results.get('generation', 0)}", read_stages(run)
        merged = Ensemble.from_dict(stages[f"{generation.name}/labels"]["info"], len(draw.task.labels))
        kinds = {name: stages[f"{generation.name}/{name}"]["info"]["kind"] for name in merged.names}
        patterns = merged.only([name for name in merged.names if kinds[name] == "pattern"])
        for name, ensemble in (("ensemble", merged), ("patterns", patterns)):
            scores = [np.load(generation / member / "test-logits.npy") for member in ensemble.names]
            found[name] = ensemble.combine(scores).label
    return found


# ---- methods without language-model training ---------------------------------------------------


def opened(draw: Draw, setting: Setting) -> tuple[ResolvedRun, dict[str, Texts]]:
    """Return everything that a run would read, and its tables by part."""
    from pet.members.texts import Texts
    from pet.progress import Reporter
    from pet.run.resolve import resolve

    run = resolve(run_settings(draw, setting), Reporter("quiet"))
    tables = {"train": run.data.train, "pool": run.data.pool, "test": run.data.test}
    return run, {part: Texts(table, lambda: run.shared.plan) for part, table in tables.items() if table is not None}


def run_settings(draw: Draw, setting: Setting) -> RunSettings:
    """Return the settings of a PET run on a draw."""
    from pet.run.settings import RunSettings

    files = {name: str(draw.folder / f"{name}.jsonl") for name in ("train", "unlabeled", "test")}
    return RunSettings(**{**files, **common_settings(draw, setting, {})})


def member(kind: str) -> Method:
    """Return the method that is a single member of this kind."""

    def fit(draw: Draw, setting: Setting) -> Outcome:
        from pet.members.kinds import fit_scorer, make_scorer, parse_member
        from pet.members.seam import MemberData

        begun = cpu_seconds()
        run, texts = opened(draw, setting)
        spec = parse_member(kind)
        scorer = make_scorer(spec, run.shared, draw.seed)
        labels = texts["train"].labels
        with tempfile.TemporaryDirectory(prefix="pet-peers-") as folder:
            data = MemberData([(texts["train"], np.arange(len(labels)))], labels, texts.get("pool"))
            fit_scorer(spec, scorer, data, Path(folder))
            scores = np.empty((len(draw.gold), len(draw.task.labels)), np.float32)
            scorer.scores(texts["test"], scores)
        return {"": scores.argmax(axis=1)}, {"cpu": cpu_seconds() - begun}

    return fit


def label_spreading(draw: Draw, setting: Setting) -> Outcome:
    """Spread the labels over a graph of neighbors in the embeddings of examples and unlabeled texts."""
    from sklearn.semi_supervised import LabelSpreading

    begun = cpu_seconds()
    run, texts = opened(draw, setting)
    vectors = {part: np.asarray(run.shared.vectors(table)) for part, table in texts.items()}
    unknown = np.full(len(vectors["pool"]), -1)
    model = LabelSpreading(kernel="knn", n_neighbors=7, max_iter=200)
    model.fit(np.concatenate([vectors["train"], vectors["pool"]]), np.append(texts["train"].labels, unknown))
    return {"": model.predict(vectors["test"])}, {"cpu": cpu_seconds() - begun}


# ---- setfit ------------------------------------------------------------------------------------


def setfit_python(cache: Path, packages: tuple[str, ...]) -> Path:
    """Return the Python of an environment with setfit; make it if it is missing."""
    folder = cache.expanduser() / "setfit"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        click.echo(f"installing {' '.join(packages)} into {folder}", err=True)
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", "import setfit"], capture_output=True).returncode:
        made = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages])
        if made.returncode:
            raise click.ClickException(f"pip cannot install {' '.join(packages)} into {folder}; see its messages above")
    return python


def setfit(draw: Draw, setting: Setting) -> Outcome:
    """Train SetFit with its defaults in its own environment, on the same encoder with mean pooling."""
    from pet.backbones.place import resolve_model

    python = setfit_python(setting.cache, setting.setfit)
    run, texts = opened(draw, setting)
    shown = {
        part: ["\n".join(run.shared.text_input.render(row)) for row in texts[part].table] for part in ("train", "test")
    }
    task = {
        "model": resolve_model(setting.model),
        "train": list(zip(shown["train"], texts["train"].labels.tolist(), strict=True)),
        "test": shown["test"],
        "seed": draw.seed,
        "max_length": run.recipe.encoding.max_length,
        "most_steps": setting.setfit_steps,
    }
    with tempfile.TemporaryDirectory(prefix="pet-peers-") as folder:
        files = [Path(folder) / name for name in ("task.json", "result.json")]
        files[0].write_text(json.dumps(task), encoding="utf-8")
        environment = {**os.environ, "OMP_NUM_THREADS": str(setting.threads), "TOKENIZERS_PARALLELISM": "false"}
        environment.pop("PYTHONPATH", None)
        command = [python, common.HERE / "setfit_train.py", *files]
        made = subprocess.run(command, env=environment, capture_output=True, text=True)
        if made.returncode:
            raise click.ClickException(f"setfit failed:\n{made.stderr[-3000:]}")
        result = json.loads(files[1].read_text(encoding="utf-8"))
    return {"": np.array(result["predicted"])}, {"cpu": result["cpu"], "versions": result["versions"]}


# A method: name -> what trains and predicts. Runs with other settings: `Run("pet", {"merge": "..."})`.
METHODS: dict[str, Method] = {
    "pet": Run(),
    "ipet": Run("ipet"),
    "pcp": Run("pcp"),
    "weighted": Run("pet", {"merge": "weighted"}),
    "head": Run("supervised"),
    "embeddings": member("embeddings"),
    "tfidf": member("tfidf"),
    "spreading": label_spreading,
    "setfit": setfit,
}


def parse_variant(text: str) -> tuple[str, Run]:
    """Parse ``NAME=METHOD:KEY=VALUE,...``; ``member=KIND`` adds a member.

    >>> parse_variant("long=pet:steps=200,member=tfidf")
    ('long', Run(method='pet', settings={'steps': '200'}, members=('tfidf',)))
    """
    name, equals, rest = text.partition("=")
    method, _, changes = rest.partition(":")
    pairs = [change.partition("=") for change in changes.split(",") if change]
    if not equals or not name or not method or not all(value for _, _, value in pairs):
        raise click.UsageError(f"--variant {text}: write it as NAME=METHOD:KEY=VALUE,..., such as long=pet:steps=200")
    members = tuple(value for key, _, value in pairs if key == "member")
    return name, Run(method, {key: value for key, _, value in pairs if key != "member"}, members)
