"""Write the ensemble of a run as one ONNX graph, if its members share one model: the merge is inside.

The members' learned vectors are further rows of the word embedding; ``ensemble.json`` has the ids. So one pass of the
model scores the rows of all members. `pet.inference.exported` reads the folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pet.backbones.base import LanguageModel
from pet.backbones.masked import MaskedLM, find_transform, has_token_types
from pet.backbones.packed import plain_layers
from pet.data.table_options import TableOptions
from pet.errors import PetError
from pet.export.classifier import NOTE, Export, check_equal, check_packages, compared_texts, file_bytes, is_export
from pet.inference.ensemble import SavedEnsemble, open_ensemble
from pet.inference.exported import GRAPH, ExportedEnsemble, open_exported, run_graph
from pet.inference.options import ComputeOptions
from pet.inference.place import ENSEMBLE
from pet.members.engines import scoring_model
from pet.members.pattern import PatternMember, position_of
from pet.members.untrained import UntrainedMember
from pet.members.verbalizers import verbalizer_of
from pet.progress import Reporter
from pet.resources import expand
from pet.run.kept_texts import with_kept_texts
from pet.run.load_run import read_settings
from pet.runtimes.engines import ONNX, describe
from pet.runtimes.graph import INPUTS, POSITIONS, Graph, LayeredEncoder, copied, token_at, write_graph
from pet.store.outputs import check_new_folder, writing_folder
from pet.student.exported import FOLDER
from pet.training.settings import WORDS
from pet.tuning.members import encoder_options
from pet.tuning.soft import SoftEmbedding, remove

if TYPE_CHECKING:
    from datasets import Dataset

    from pet.cloze.pvp import PVP

Array = NDArray[Any]
_PARTS = ("words", "shift", "labels", "offset")  # buffers of each member
_LINEAR = ("uniform", "weighted", "learned")


@dataclass(frozen=True)
class _Member:
    """A member: its pattern, counted from 1 and bound, what is subtracted from its scores (or None), and its learned
    vectors of shape (n, D) with their first id."""

    pattern: int
    pvp: PVP
    offset: Array | None
    vectors: Tensor
    first: int
    binding: Mapping[str, Any]


class EnsembleGraph(Graph):
    """The probabilities of an ensemble whose members share one model, shape (B, L), and the scores of each member,
    shape (members, B, L).

    Inputs are of shape (members, B, T), and the positions of the masks of shape (members, B).

    Parameters
    ----------
    lm : the model with any member attached; it is copied
    members : the members
    ensemble : how they are merged
    """

    outputs = ("probabilities", "scores")
    transform: Callable[[Tensor], Tensor]
    bias: Tensor

    def __init__(self, lm: MaskedLM, members: Sequence[_Member], ensemble: SavedEnsemble):
        super().__init__()
        self.model = copied(lm.model)
        remove(self.model)
        names = INPUTS if has_token_types(self.model) else INPUTS[:2]
        self.inputs = (*names[:2], POSITIONS, *names[2:])
        self.transform, weight, bias = find_transform(self.model)
        for number, member in enumerate(members):
            words = torch.from_numpy(member.pvp.words)
            self.register_buffer(f"words_{number}", weight[words].detach().clone())
            self.register_buffer(f"shift_{number}", torch.zeros(len(words)) if bias is None else bias[words].detach())
            self.register_buffer(f"labels_{number}", torch.from_numpy(member.pvp.word_to_label).float())
            offset = np.zeros(member.pvp.word_to_label.shape[1]) if member.offset is None else member.offset
            self.register_buffer(f"offset_{number}", torch.from_numpy(offset).float())
        merged = ensemble.ensemble
        self.shares = [float(share) for share in merged.weights / merged.weights.sum() / merged.temperature]
        self.register_buffer("bias", torch.from_numpy(merged.bias).float())
        plain: Any = self.model.get_input_embeddings()
        table = torch.cat([plain.weight.detach(), *(member.vectors for member in members)])
        self.model.set_input_embeddings(
            nn.Embedding(len(table), table.shape[1], padding_idx=plain.padding_idx, _weight=table)
        )
        layers = plain_layers(self.model)
        base = self.model.base_model
        self.encoder = base if layers is None else LayeredEncoder(base, layers)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        named = {name: given.flatten(0, 1) for name, given in zip(self.inputs, inputs, strict=True)}
        positions = named.pop(POSITIONS)
        if isinstance(self.encoder, LayeredEncoder):
            ids, mask, *types = named.values()
            hidden = self.encoder(ids, mask, positions, *types)
        else:
            hidden = token_at(self.encoder(**named)[0], positions)
        features = self.transform(hidden).view(len(self.shares), -1, hidden.shape[-1])
        merged, scores = self.bias, []
        for number, share in enumerate(self.shares):
            words, shift, labels, offset = (getattr(self, f"{part}_{number}") for part in _PARTS)
            scores.append(F.linear(features[number], words, shift) @ labels - offset)
            merged = merged + share * scores[-1]
        return merged.softmax(dim=-1), torch.stack(scores)

    def axes(self) -> dict[str, dict[int, str]]:
        """See `Graph.axes`."""
        named = {name: {1: "batch_size", 2: "sequence_length"} for name in self.inputs}
        named[POSITIONS] = {1: "batch_size"}
        return named | {"probabilities": {0: "batch_size"}, "scores": {1: "batch_size"}}

    def example(self) -> tuple[Tensor, ...]:
        """See `Graph.example`."""
        return tuple(torch.stack([values] * len(self.shares)) for values in super().example())


def export_ensemble(
    run: str,
    output: str | Path,
    export: Export,
    *,
    table: TableOptions | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Write the ensemble of a run to a folder: ``onnx/ensemble.onnx``, ``ensemble.json``, the tokenizer.

    Parameters
    ----------
    run : folder of a finished run of ``--tuning prompt`` or ``p-tuning``, or of ``--method zero-shot``
    output, export, table, compute, reporter : see `pet.export.classifier.export_classifier`

    Returns
    -------
    dict
        ``texts``, and for the file its ``bytes``, ``difference`` (the largest of probabilities) and ``labels_kept``.

    Raises
    ------
    PetError
        If members do not share one model, or the graph computes something else. Then there is no folder.
    """
    table, compute, reporter = table or TableOptions(), compute or ComputeOptions(), reporter or Reporter("quiet")
    check_packages()
    place = check_new_folder(output, force=export.force, replaceable=is_export)
    ensemble = open_ensemble(run, allow_pickle=compute.allow_pickle, device="cpu", precision="fp32")
    settings = with_kept_texts(read_settings(expand(run)), expand(run))
    sample = compared_texts(run, export, settings, ensemble.task.fields, ensemble.columns, table)
    lm, members = _members(ensemble, run)
    reporter.info(f"writing {len(members)} members as one graph")
    graph = EnsembleGraph(lm, members, ensemble)
    with writing_folder(place, replace=export.force) as beside:
        (beside / FOLDER).mkdir()
        path = beside / FOLDER / GRAPH
        write_graph(graph, path, run)
        graph.model.config.save_pretrained(beside)
        ensemble.shared.tokenizer.save_pretrained(beside)
        about = json.dumps(_about(ensemble, graph, members), indent=2, ensure_ascii=False)
        (beside / ENSEMBLE).write_text(about + "\n", encoding="utf-8")
        figures = _compare(ensemble, open_exported(beside, ComputeOptions(runtime=ONNX)), sample, path, run)
        (beside / NOTE).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _members(ensemble: SavedEnsemble, run: str) -> tuple[MaskedLM, list[_Member]]:
    """Return the shared model and the members, after checking that one graph can hold them."""
    rule, method = ensemble.ensemble.rule, ensemble.recipe.tuning.method
    cure = "export the student of the run instead: leave out --ensemble"
    if rule not in _LINEAR or ensemble.task.multi_label:
        what = f"merges by {rule}" if rule not in _LINEAR else "gives texts several labels"
        raise PetError(f"{run}: the run {what}, which is not exported; {cure}")
    members: list[_Member] = []
    found, first = None, 0
    for scorer in ensemble.scorers:
        kind = verbalizer_of(ensemble.shared, scorer.spec) if isinstance(scorer, PatternMember) else WORDS
        if kind != WORDS:
            raise PetError(f"{run}: member {scorer.name} has verbalizer={kind}, which is not exported; {cure}")
        found = scoring_model(scorer)
        if not isinstance(scorer, (PatternMember, UntrainedMember)) or not (found and isinstance(found[1], MaskedLM)):
            raise PetError(f"{run}: member {scorer.name} has no pattern on a masked language model; {cure}")
        _, lm, pvp = found
        words = lm.model.get_input_embeddings()
        soft = isinstance(words, SoftEmbedding)
        if method not in ("prompt", "p-tuning") and not (soft or ensemble.shared.models.info.name == found[0]):
            raise PetError(f"{run}: members of --tuning {method} do not share one model that differs in words; {cure}")
        if pvp.choices is not None or any(pvp.before):
            raise PetError(f"{run}: has label words of several tokens; {cure}")
        if pvp.encoder.primers is not None:
            raise PetError(f"{run}: its patterns begin with labeled texts, which an export does not have; {cure}")
        if first == 0:
            first = ensemble_size(lm)
        vectors = words.learned().detach().clone() if isinstance(words, SoftEmbedding) else torch.zeros(0, _width(lm))
        binding, offset = {"before": 0, "soft": False}, None
        if isinstance(scorer, PatternMember):
            binding, offset = encoder_options(ensemble.recipe.tuning), scorer.label_offset()
        number = position_of(scorer.spec, ensemble.shared) + 1
        members.append(_Member(number, pvp, offset, vectors.cpu(), first, binding))
        first += len(vectors)
    if found is None or not isinstance(found[1], MaskedLM):
        raise PetError(f"{run}: has no members")
    return found[1], members


def ensemble_size(lm: LanguageModel) -> int:
    """Return the number of words of a model, which is the id of the first learned vector."""
    words: Any = lm.model.get_input_embeddings()
    return int(words.num_embeddings)


def _width(lm: LanguageModel) -> int:
    words: Any = lm.model.get_input_embeddings()
    return int(words.embedding_dim)


def _about(ensemble: SavedEnsemble, graph: EnsembleGraph, members: Sequence[_Member]) -> dict[str, Any]:
    encoding = ensemble.recipe.encoding
    return {
        "labels": list(ensemble.task.labels),
        "inputs": list(graph.inputs),
        "shape": ["members", "batch", "tokens"],
        "members": [
            {"pattern": member.pattern, "first_vector": member.first, "vectors": len(member.vectors), **member.binding}
            for member in members
        ],
        "merging": ensemble.ensemble.to_dict(),
        "max_length": encoding.max_length,
        "mean_of_tokens": encoding.mean_of_tokens,
        "columns": dict(ensemble.columns),
        "task": ensemble.task.to_dict(),
    }


def _compare(
    ensemble: SavedEnsemble, exported: ExportedEnsemble, sample: Dataset, path: Path, run: str
) -> dict[str, Any]:
    expected, (found, _) = np.asarray(ensemble.label(sample).probabilities), run_graph(exported, sample)
    difference = float(np.abs(found - expected).max())
    check_equal(run, difference, "probabilities")
    return {
        "texts": len(sample),
        "runtime": describe(ONNX),
        "files": {
            f"{FOLDER}/{GRAPH}": {
                "bytes": file_bytes(path),
                "difference": difference,
                "labels_kept": float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
            }
        },
    }
