"""Learned verbalizers of pattern members: started, saved and read.

See `pet.backbones.label_head` and `pet.backbones.word_weights`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pet.backbones.base import LanguageModel
from pet.backbones.info import ModelInfo
from pet.backbones.label_head import HEADS, SIZE, LabelVectors
from pet.backbones.learned import LearnedVerbalizer
from pet.backbones.masked import MaskedLM, knows_head
from pet.backbones.word_weights import WordWeights
from pet.cloze.pvp import PVP
from pet.cloze.tokens import TokenTable
from pet.errors import PetError
from pet.members.scoring import score_rows
from pet.members.shared import Shared
from pet.members.spec import MemberSpec
from pet.recipe import Recipe
from pet.seeds import derive_seed
from pet.task.task import Task
from pet.training.settings import LEARNED, WEIGHTED, WORDS

Array = NDArray[Any]
FILE = "verbalizer.safetensors"  # in the folder of a member
_AGAIN = "train this member again"


def verbalizer_of(shared: Shared, spec: MemberSpec) -> str:
    """Return the verbalizer of a member: that of its pattern in the task file, or the setting."""
    return shared.task.patterns[spec.pattern or 0].verbalizer_kind or shared.recipe.member.verbalizer


def check_verbalizers(task: Task, recipe: Recipe, info: ModelInfo) -> None:
    """Check that the model can have the verbalizers of all patterns.

    Raises
    ------
    PetError
        If a verbalizer has vectors and the model is not a masked language model of a known family, or if the words
        of a verbalizer that is learned come from the data.
    """
    if any(p.verbalizer.by_row and (p.verbalizer_kind or recipe.member.verbalizer) != WORDS for p in task.patterns):
        raise PetError(f"the words of {task.name} are fields of the data and need verbalizer=words")
    if recipe.member.verbalizer != WORDS and all(pattern.asks for pattern in task.patterns):
        raise PetError(f"the patterns of {task.name} ask about each {{label}} and need verbalizer=words")
    learned = {pattern.verbalizer_kind or recipe.member.verbalizer for pattern in task.patterns} - {WORDS, WEIGHTED}
    if learned and not (info.kind.wrap is MaskedLM and knows_head(info.config)):
        raise PetError(
            f"verbalizer={min(learned)} requires a masked language model (BERT, RoBERTa, ...), and {info.name} is "
            f"{info.config.model_type}; use verbalizer=words or weighted (also in the patterns of the task file)"
        )


def start_head(
    lm: LanguageModel, shared: Shared, pvp: PVP, kind: str, labeled: tuple[TokenTable, Array], seed: int
) -> LearnedVerbalizer:
    """Return a new learned verbalizer.

    Vectors start as the mean output embedding of the label's words, and weights of words as the same number for all of
    them, so that the first scores are those of the words. Prototypes start as the mean of the label's texts, or as its
    words if it has none.

    Parameters
    ----------
    lm : the model, on its device
    shared, pvp : what members share, and the pattern
    kind : ``learned``, ``prototype`` or ``weighted``
    labeled : token table of the labeled texts, and their labels: positions, or probabilities of shape (rows, L)
    seed : random seed of the projection
    """
    if kind == WEIGHTED:
        return WordWeights(lm, WordWeights.start(pvp), pvp).to(shared.accelerator.device)
    masked = _masked(lm, kind)
    words = _word_vectors(masked, pvp)
    if kind == LEARNED:
        return LabelVectors(masked, words).to(shared.accelerator.device)
    tokens, labels = labeled
    size = words["weight"].shape[1]
    generator = torch.Generator().manual_seed(derive_seed(seed, "prototypes"))
    projection = torch.randn(SIZE, size, generator=generator) / size**0.5
    features = torch.from_numpy(_features(masked, shared, pvp, tokens, size))
    center = features.mean(dim=0)
    belongs = np.eye(len(words["bias"]), dtype=np.float32)[labels] if labels.ndim == 1 else labels
    shares = torch.from_numpy(np.asarray(belongs, np.float32)).T  # (L, rows)
    means = shares @ (features - center) / shares.sum(dim=1, keepdim=True).clamp(min=1e-6)
    none = shares.sum(dim=1) == 0
    means[none] = words["weight"][none] - words["weight"].mean(dim=0)
    prototypes = torch.nn.functional.normalize(means @ projection.T, dim=1)
    arrays = {"projection": projection, "center": center, "prototypes": prototypes}
    return HEADS[kind](masked, arrays).to(shared.accelerator.device)


def save_head(head: LearnedVerbalizer, folder: Path) -> None:
    """Write a learned verbalizer into the folder of its member."""
    arrays = {name: value.cpu().contiguous() for name, value in head.arrays.items()}
    save_file(arrays, folder / FILE)


def read_arrays(folder: Path) -> dict[str, Tensor]:
    """Return the arrays of the learned verbalizer in the folder of a member.

    Raises
    ------
    PetError
        If the file is missing or damaged.
    """
    path = folder / FILE
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise PetError(f"{path}: cannot read the verbalizer ({error}); {_AGAIN}") from error


def read_head(
    lm: LanguageModel, kind: str, folder: Path, pvp: PVP, arrays: dict[str, Tensor] | None = None
) -> LearnedVerbalizer:
    """Return the learned verbalizer in the folder of a member.

    Parameters
    ----------
    lm : the model of the member
    kind : ``learned``, ``prototype`` or ``weighted``
    folder : of the member
    pvp : the pattern
    arrays : those of the file, if they have been read

    Raises
    ------
    PetError
        If the file is missing, damaged, or for other labels or another model.
    """
    path, arrays = folder / FILE, read_arrays(folder) if arrays is None else arrays
    if {name: tuple(array.shape) for name, array in arrays.items()} != _shapes(lm, kind, pvp):
        labels = pvp.word_to_label.shape[1]
        raise PetError(f"{path}: is not the {kind} verbalizer of {labels} labels for this model; {_AGAIN}")
    if not all(torch.isfinite(array).all() for array in arrays.values()):
        raise PetError(f"{path}: has numbers that are NaN or infinite; {_AGAIN}")
    head = WordWeights(lm, arrays, pvp) if kind == WEIGHTED else HEADS[kind](_masked(lm, kind), arrays)
    return head.to(next(lm.parameters()).device)


def _shapes(lm: LanguageModel, kind: str, pvp: PVP) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a learned verbalizer."""
    if kind == WEIGHTED:
        return {name: tuple(start.shape) for name, start in WordWeights.start(pvp).items()}
    return HEADS[kind].shapes(pvp.word_to_label.shape[1], _masked(lm, kind).output_embedding()[0].shape[1])


def _masked(lm: LanguageModel, kind: str) -> MaskedLM:
    if not isinstance(lm, MaskedLM):
        raise PetError(f"verbalizer={kind} requires a masked language model")
    return lm


def _word_vectors(lm: MaskedLM, pvp: PVP) -> dict[str, Tensor]:
    """Return the mean output embedding and bias of each label's words."""
    embedding, bias = lm.output_embedding()
    shares = torch.from_numpy(pvp.word_to_label / pvp.word_to_label.sum(axis=0)).T.to(embedding.device)
    words = torch.from_numpy(pvp.words).to(embedding.device)
    weight = shares @ embedding.detach()[words].float()
    mean = shares.new_zeros(len(shares)) if bias is None else shares @ bias.detach()[words].float()
    return {"weight": weight.cpu(), "bias": mean.cpu()}


def _features(lm: MaskedLM, shared: Shared, pvp: PVP, tokens: TokenTable, size: int) -> Array:
    """Return what the output embedding gets for each text, shape (rows, size)."""
    head = LabelVectors(lm, {"weight": torch.eye(size), "bias": torch.zeros(size)})
    most = shared.recipe.inference.tokens
    return score_rows(head, shared.tokenizer, head.bind(pvp), tokens, shared.accelerator, max_tokens=most)
