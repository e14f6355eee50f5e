"""Ensembles that `pet export --ensemble` wrote: one ONNX graph that scores the texts of all members in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.backbones.load import load_tokenizer
from pet.cloze.pvp import PVP, bind_pattern
from pet.ensemble.combine import Ensemble, SoftLabels
from pet.errors import PetError
from pet.inference.options import ComputeOptions
from pet.inference.place import ENSEMBLE
from pet.members.texts import Texts, TokenPlan
from pet.runtimes.engines import Engine, open_engine, runtime_of_export
from pet.runtimes.graph import POSITIONS
from pet.store.json_reader import read_json
from pet.store.schema import anything, flag, list_of, mapping_of, record, text, whole
from pet.student.exported import FOLDER
from pet.task.task import Task
from pet.training.batching import check_finite, pad_rows, padding_id

if TYPE_CHECKING:
    from datasets import Dataset

Array = NDArray[Any]
GRAPH = "ensemble.onnx"
_AGAIN = "export the ensemble again"
_ROWS = 16  # texts of a pass
_MEMBER = record(
    {
        "pattern": whole(1, 10_000),
        "first_vector": whole(0, 1 << 31),
        "before": whole(0, 10_000),
        "soft": flag(),
    }
)
_SCHEMA = record(
    {
        "task": mapping_of(anything()),
        "columns": mapping_of(text()),
        "max_length": whole(1, 1 << 20),
        "mean_of_tokens": flag(),
        "members": list_of(_MEMBER, 1, 10_000),
        "merging": mapping_of(anything()),
    }
)


@dataclass(frozen=True)
class GraphMember:
    """A member of an exported ensemble.

    Attributes
    ----------
    pvp : its pattern
    first : id of its first learned vector, among the words of the graph
    """

    pvp: PVP
    first: int


@dataclass(frozen=True)
class ExportedEnsemble:
    """An exported ensemble that is ready to label.

    Attributes
    ----------
    task : of its run
    ensemble : how the members are merged
    members : their patterns
    engine : computes the graph
    pad_id : id of the padding
    columns : field (or ``label``, ``id``) -> column of the run's data files
    """

    task: Task
    ensemble: Ensemble
    members: Sequence[GraphMember]
    engine: Engine
    pad_id: int
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the members, in the order of the votes."""
        return list(self.ensemble.names)

    def score(self, table: Dataset, on_rows: Callable[[int], object] = lambda rows: None) -> list[Array]:
        """Return the scores of each member: arrays of shape (rows, L); see `SavedEnsemble.score`."""
        _, scores = run_graph(self, table, on_rows)
        return list(scores)

    def label(self, table: Dataset, on_rows: Callable[[int], object] = lambda rows: None) -> SoftLabels:
        """Return the merged soft labels of a table."""
        return self.ensemble.combine(self.score(table, on_rows))


def open_exported(folder: Path, compute: ComputeOptions) -> ExportedEnsemble:
    """Open a folder that `pet export --ensemble` wrote.

    Parameters
    ----------
    folder : holds ensemble.json, onnx/ensemble.onnx, config.json and the tokenizer
    compute : runtime and precision; the default runtime is the first one that is installed

    Raises
    ------
    PetError
        If the folder is damaged, or the runtime is missing or cannot run the graph.
    """
    runtime = runtime_of_export(folder, compute.runtime, compute.device, "label with the run")
    if compute.quantize:
        raise PetError(f"{folder}: an exported ensemble has no int8 file; leave out --quantize, or label with the run")
    place, path = folder / ENSEMBLE, folder / FOLDER / GRAPH
    about = read_json(place, _AGAIN, _SCHEMA)
    try:
        task = Task.from_dict(about["task"])
    except PetError as error:
        raise PetError([f"{place}: task: {problem}; {_AGAIN}" for problem in error.problems]) from error
    ensemble = Ensemble.from_dict(about["merging"], len(task.labels), f"{place}: merging")
    if len(ensemble.names) != len(about["members"]):
        raise PetError(f"{place}: merges {len(ensemble.names)} members, but has {len(about['members'])}; {_AGAIN}")
    tokenizer = load_tokenizer(str(folder))
    members = []
    for number, entry in enumerate(about["members"], 1):
        if entry["pattern"] > len(task.patterns):
            raise PetError(f"{place}: member {number} has a pattern that the task does not have; {_AGAIN}")
        how = {name: about[name] for name in ("max_length", "mean_of_tokens")}
        how |= {name: entry[name] for name in ("before", "soft")}
        pvp = bind_pattern(task.patterns[entry["pattern"] - 1], task.labels, tokenizer, **how)
        members.append(GraphMember(pvp, entry["first_vector"]))
    if not path.is_file():
        raise PetError(f"{path}: no such file; {_AGAIN}")
    engine = open_engine(runtime, path, compute.precision or "fp32")
    return ExportedEnsemble(task, ensemble, members, engine, padding_id(tokenizer), about["columns"])


def run_graph(
    exported: ExportedEnsemble, table: Dataset, on_rows: Callable[[int], object] = lambda rows: None
) -> tuple[Array, Array]:
    """Compute the graph of an ensemble.

    Parameters
    ----------
    exported : the ensemble
    table : texts
    on_rows : called with the number of rows finished since the last call; it counts every row once per member

    Returns
    -------
    merged probabilities of shape (rows, L), and the scores of each member of shape (members, rows, L)

    Raises
    ------
    PetError
        If the graph does not fit the members, or a score is not a finite number.
    """
    members, count = exported.members, len(exported.task.labels)
    probabilities = np.empty((len(table), count), dtype=np.float32)
    scores = np.empty((len(members), len(table), count), dtype=np.float32)
    with closing(Texts(table, lambda: TokenPlan(member.pvp for member in members))) as texts:
        for start in range(0, len(table), _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(table)))
            found = exported.engine.outputs(_inputs(exported, texts, rows))
            if [one.shape for one in found] != [(len(rows), count), (len(members), len(rows), count)]:
                raise PetError(f"the graph {GRAPH} does not fit {ENSEMBLE}; {_AGAIN}")
            check_finite(found[1])
            probabilities[rows], scores[:, rows] = found
            on_rows(len(rows) * len(members))
    return probabilities, scores


def _inputs(exported: ExportedEnsemble, texts: Texts, rows: Array) -> dict[str, Array]:
    """Return the inputs of the graph for some texts: a row for each member and text."""
    batches = []
    for member in exported.members:
        encoded = member.pvp.encoder.encode(texts.tokens, rows)
        batch, _ = pad_rows(encoded, np.arange(len(rows)), exported.pad_id)
        ids = batch["input_ids"]
        batch["input_ids"] = np.where(ids < 0, member.first - 1 - ids, ids)
        batches.append({**batch, POSITIONS: encoded.mask_position})
    width = max(batch["input_ids"].shape[1] for batch in batches)
    fills = {"input_ids": exported.pad_id}

    def padded(name: str, values: Array) -> Array:
        if name == POSITIONS:
            return values
        return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=fills.get(name, 0))

    return {name: np.stack([padded(name, batch[name]) for batch in batches]) for name in batches[0]}
