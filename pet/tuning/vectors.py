"""Learned vectors: what they start from, and how they are saved. Shared by prompt, p-tuning and prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING

from pet.errors import PetError
from pet.seeds import derive_seed
from pet.tuning.method import Start, StartSettings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from pet.cloze.pvp import PVP
    from pet.cloze.tokens import TokenTable

VECTORS = "vectors"  # name of the array in a saved member
_FREQUENT = 5000  # words, as in Lester et al. 2021 (arXiv 2104.08691, section 3.2)


def start_vectors(model: PreTrainedModel, begin: Start) -> Tensor:
    """Return the initial vectors of a member: shape (n, D), on the device of the model.

    They are those of the member to continue from, the embeddings of words, or random.
    """
    import torch

    weight: Tensor = model.get_input_embeddings().weight
    if begin.before is not None:
        return copy_of(begin.before, weight.device)
    generator = start_generator(begin)
    ids = start_ids(begin.pvp, begin.settings, begin.tables, generator)
    random = uniform((len(ids), weight.shape[1]), begin.settings.range, generator).to(weight.device)
    rows = [random[k] if token is None else weight[token] for k, token in enumerate(ids)]
    return torch.stack(rows).detach().clone()


def start_generator(begin: Start) -> np.random.Generator:
    """Return the random generator for initial vectors."""
    import numpy as np

    return np.random.default_rng(derive_seed(begin.seed, "tuning"))


def start_ids(
    pvp: PVP, settings: StartSettings, tables: Sequence[TokenTable], generator: np.random.Generator
) -> list[int | None]:
    """Return the token that each learned vector of a pattern starts from, or None for random values.

    Words in the pattern override `settings.init`. Vectors for which there are no more label words start from
    frequent words.

    Parameters
    ----------
    pvp : bound pattern with learned vectors
    settings : initial values
    tables : texts in which frequent words are counted
    generator : random generator
    """
    given = pvp.encoder.learned
    missing = given.count(None)
    found: list[int | None] = [None] * missing
    if settings.init == "words":
        words = pvp.encoder.plain.literal(settings.words, space_before=True, continuation=False)
        if not words:
            raise PetError(f"prompt_words {settings.words!r} has no tokens in this model; give words")
        found = list(islice(cycle(words), missing))
    elif settings.init != "random":
        words = _label_words(pvp)[:missing] if settings.init == "labels" else []
        found = [*words, *_draw(pvp, tables, missing - len(words), generator)]
    rest = iter(found)
    return [next(rest) if token is None else token for token in given]


def _label_words(pvp: PVP) -> list[int]:
    """Tokens of all label words: the first of each label, then the second ones; none if they come from the texts."""
    import numpy as np

    if pvp.choices is not None:
        return []

    labels = pvp.word_to_label.argmax(axis=1)
    turn = [int((labels[:i] == label).sum()) for i, label in enumerate(labels)]
    return [int(i) for i in pvp.words[np.argsort(turn, kind="stable")]]


def _draw(pvp: PVP, tables: Sequence[TokenTable], count: int, generator: np.random.Generator) -> list[int]:
    """Draw from the most frequent tokens of the texts, without replacement if there are enough."""
    import numpy as np

    counts = np.zeros(0, dtype=np.int64)
    for key in pvp.encoder.keys:
        for table in tables:
            more = np.bincount(table[key].values, minlength=len(counts))
            more[: len(counts)] += counts
            counts = more
    special = [i for i in pvp.encoder.plain.special_ids if i < len(counts)]
    counts[special] = 0
    frequent = np.argsort(-counts, kind="stable")[: min(_FREQUENT, int((counts > 0).sum()))]
    if not len(frequent):
        frequent = pvp.words  # the texts have no words
    return [int(i) for i in generator.choice(frequent, size=count, replace=count > len(frequent))]


def uniform(shape: Sequence[int], width: float, generator: np.random.Generator) -> Tensor:
    """Draw numbers uniformly between -width and width: float32."""
    import numpy as np
    import torch

    return torch.from_numpy(generator.uniform(-width, width, size=tuple(shape)).astype(np.float32))


def copy_of(arrays: Mapping[str, Tensor], device: torch.device) -> Tensor:
    """Return a copy of a member's vectors, which can be trained without changing the member."""
    return arrays[VECTORS].to(device, copy=True)


def vectors_of(arrays: Mapping[str, Tensor], model: PreTrainedModel, *shape: int | None) -> Tensor:
    """Return the vectors of a saved member, on the device of the model.

    Parameters
    ----------
    arrays : arrays of the member
    model : the model that they are attached to
    shape : required shape; None: any size

    Raises
    ------
    PetError
        If there are no vectors of this shape.
    """
    values = arrays.get(VECTORS)
    found = () if values is None else tuple(values.shape)
    if (
        values is None
        or len(found) != len(shape)
        or 0 in found
        or any(wanted not in (None, size) for wanted, size in zip(shape, found, strict=True))
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise PetError(f"the learned vectors have shape {found}; for this model it must be ({wanted})")
    return values.to(model.get_input_embeddings().weight.device)


def save_vectors(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the learned vectors of a model as arrays to save; none if it has none."""
    from pet.tuning import soft

    values = soft.learned_values(model)
    return {} if values is None else {VECTORS: values}


def remove_vectors(model: PreTrainedModel) -> None:
    """Give the model its plain word embedding back."""
    from pet.tuning import soft

    soft.remove(model)
