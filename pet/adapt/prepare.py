"""Prepare a training: read and pack the text, make the model to start from, and write both into a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pet.adapt import packing, vocabulary, words
from pet.adapt.settings import AdaptSettings, StartSettings, TextSettings
from pet.adapt.start import make_start, set_output_bias
from pet.backbones.masked import position_limit
from pet.compat import save_model
from pet.data.documents import read_documents, read_strings
from pet.data.overlap import drop_overlapping
from pet.errors import PetError
from pet.progress import Reporter
from pet.settings import shorten
from pet.store.schema import flag, mapping_of, record, text, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[Any]
TRAIN, HELD_OUT = "train.npy", "held.npy"
MOST_REPEATS = 1000
_COUNT = whole(0, 10**15)
# What `prepare` returns, as the manifest holds it.
FACTS = record(
    {
        "new_head": flag(),
        "model_type": text(200),
        "shape": mapping_of(_COUNT),
        **dict.fromkeys(
            ("parameters", "vocabulary", "words_added", "characters", "tokens_in_text", "unknown_tokens"), _COUNT
        ),
        **dict.fromkeys(("documents_read", "documents_dropped", "documents_trained", "documents_held_out"), _COUNT),
    }
)
_SHAPE = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "max_position_embeddings",
)


def read_text(text: TextSettings, seed: int, reporter: Reporter) -> tuple[list[str], list[str], dict[str, Any]]:
    """Read the sources, leave out overlaps and hold some documents back.

    Returns
    -------
    train : documents to train on; those of repeated sources several times
    held_out : documents to evaluate on
    facts : counts, and a hash of the documents to train on, each once

    Raises
    ------
    PetError
        If a source cannot be read, or too little text is left.
    """
    documents = read_documents(text.sources, text.fields, text.document)
    times = read_repeats(text.repeat, text.sources, fields=text.fields, document=text.document)
    read, dropped = len(documents), 0
    reporter.info(f"read {read:,} documents, {sum(map(len, documents)) / 1e6:.1f} M characters")
    if text.exclude:
        others = (string for path in text.exclude for string in read_strings(path))
        documents, dropped = drop_overlapping(documents, others, text.exclude_words)
        reporter.info(
            f"left out {dropped:,} documents that share {text.exclude_words} words in a row with the excluded files"
        )
    different, held_out = hold_out(documents, text.held_out, seed)
    train = [document for document in different for _ in range(times.get(document, 1))]
    digest = hashlib.sha256()
    for document in different:
        digest.update(document.encode("utf-8", "surrogatepass") + b"\n")
    return train, held_out, {
        "documents_read": read,
        "documents_dropped": dropped,
        "documents_trained": len(different),
        "documents_held_out": len(held_out),
        "characters": sum(map(len, different)),
        "text_sha256": digest.hexdigest(),
    }  # fmt: skip


def read_repeats(repeats: Sequence[str], sources: Sequence[str], **how: Any) -> dict[str, int]:
    """Return how often each document is read in a pass, for sources given as ``SOURCE=N``.

    Parameters
    ----------
    repeats : sequence of str
    sources : sequence of str
        All sources of the text; each repeated source must be one of them.
    how : further arguments of `read_documents`

    Raises
    ------
    PetError
        If a repeat has another form or names something that is not a source.
    """
    times: dict[str, int] = {}
    for repeat in repeats:
        source, _, number = repeat.rpartition("=")
        if not number.isdecimal() or len(number) > len(str(MOST_REPEATS)) or not 1 <= int(number) <= MOST_REPEATS:
            raise PetError(
                f"--repeat {shorten(repeat)}: write SOURCE=N with N from 1 to {MOST_REPEATS}, as in --repeat news.txt=5"
            )
        if source not in sources:
            raise PetError(f"--repeat {repeat}: {source!r} is not a --text of this command; name it there, too")
        times |= dict.fromkeys(read_documents([source], **how), int(number))
    return times


def hold_out(documents: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Split documents at random into (training, held-out), with at least one document on each side.

    Raises
    ------
    PetError
        If there are fewer than two documents.
    """
    if len(documents) < 2:
        raise PetError(
            f"the text has {len(documents)} document, and one must be held out for evaluation; give more text, or "
            "choose --document so that the file has several"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(documents))
    count = min(max(1, round(share * len(documents))), len(documents) - 1)
    held, rest = np.sort(order[:count]), np.sort(order[count:])
    return [documents[i] for i in rest], [documents[i] for i in held]


def prepare(folder: Path, settings: AdaptSettings, reporter: Reporter) -> dict[str, Any]:
    """Write the model to start from, its tokenizer and the packed text into a folder.

    Returns
    -------
    dict: facts about model and text

    Raises
    ------
    PetError
        If the text, the model or their combination cannot be used.
    """
    text, start, seed = settings.text, settings.start, settings.training.seed
    wanted = words.read_words(start.add_words)
    train, held_out, facts = read_text(text, seed, reporter)
    model, tokenizer, new_head = make_start(start, train, seed)
    limit = min(tokenizer.model_max_length, position_limit(model))
    if text.length > limit:
        raise PetError(f"--length {text.length}: this model reads at most {limit} tokens; use {limit} or fewer")
    model, tokenizer, encoded, added = _fit_vocabulary(start, wanted, model, tokenizer, train, reporter)
    counts = _counts(encoded, tokenizer)
    if new_head:
        set_output_bias(model, counts)
    before, after = packing.frame(tokenizer)
    blocks = packing.pack(packing.join(encoded, after[:1], seed), text.length, before, after)
    held = packing.pack(
        packing.join(packing.encode(tokenizer, held_out), after[:1], seed), blocks.shape[1], before, after
    )
    special = tokenizer.all_special_ids
    np.save(folder / TRAIN, packing.with_words(blocks, special, "the text"))
    np.save(folder / HELD_OUT, packing.with_words(held, special, "the held-out part of the text"))
    save_start(model, tokenizer, folder)
    unknown = tokenizer.unk_token_id
    return {
        "new_head": new_head,
        "parameters": sum(p.numel() for p in model.parameters()),
        "model_type": model.config.model_type,
        "shape": {name: getattr(model.config, name) for name in _SHAPE if hasattr(model.config, name)},
        "vocabulary": len(tokenizer),
        "words_added": added,
        **facts,
        "tokens_in_text": int(counts.sum()),
        "unknown_tokens": 0 if unknown is None else int(counts[unknown]),
    }


def _fit_vocabulary(
    start: StartSettings,
    wanted: dict[str, str] | int,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[str],
    reporter: Reporter,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[Array], int]:
    """Add words, then prune; return the model, its tokenizer, the encoded text, and the number of words added."""
    new, known = words.choose_words(wanted, train, tokenizer, str(start.model))
    grown = words.grow_tokenizer(tokenizer, new) if new else tokenizer
    encoded = packing.encode(grown, train)
    if wanted:
        counts = _counts(encoded, grown)
        model = words.grow_model(model, tokenizer, new, grown, counts) if new else model
        unused = np.count_nonzero(counts[len(tokenizer) :] == 0)
        reporter.info(f"added {len(new):,} words" + (f"; the text does not contain {unused:,} of them" * bool(unused)))
    if start.model is not None and start.vocab is not None:
        keep_words = [*start.keep_words, *known, *new]
        keep = vocabulary.choose_tokens(grown, _counts(encoded, grown), start.vocab, keep_words)
        grown = vocabulary.prune_tokenizer(grown, keep)
        model = vocabulary.prune_model(model, keep, grown)
        encoded = packing.encode(grown, train)
        reporter.info(f"kept {len(keep):,} tokens")
    return model, grown, encoded, len(new)


def save_start(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a model and its tokenizer without the path of the folder that it came from."""
    model.config._name_or_path = ""  # written by old versions of transformers
    save_model(model, folder)
    tokenizer.save_pretrained(folder)


def _counts(encoded: Sequence[Array], tokenizer: PreTrainedTokenizerBase) -> Array:
    """Return how often each token occurs, shape (vocabulary,)."""
    return np.bincount(np.concatenate(encoded), minlength=len(tokenizer))
