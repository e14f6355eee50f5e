"""`pet adapt` from text to a model directory, as a sequence of steps that reads from top to bottom."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pet.adapt import build, card, corpus, packing, samples, shrink
from pet.adapt.train import Settings, Vocabulary, train
from pet.backbones.masked import position_limit
from pet.errors import PetError
from pet.training.group import in_a_group

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WORK_SUFFIX = ".work"
NEW_HEAD_SHARE = 0.03  # a random head would at first only disturb a trained encoder
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def _silent(_message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Text:
    """Which text to train on."""

    sources: tuple[str, ...]
    fields: tuple[str, ...] = ()
    document: str = "line"
    exclude: tuple[str, ...] = ()  #: files whose text must not be trained on
    exclude_words: int = 8  #: a document that shares so many words in a row with them is left out
    repeat: tuple[str, ...] = ()  #: ``SOURCE=N``: read a source N times in each pass
    held_out: float = 0.01
    length: int = 128


@dataclass(frozen=True)
class Start:
    """What to start from: a model (and how to shrink it), or the sizes of a new one."""

    model: str | None = None
    keep_layers: tuple[int, ...] = ()
    feed_forward: int | None = None
    vocab: int | None = None
    keep_words: tuple[str, ...] = ()
    layers: int | None = None  #: with `hidden`: from scratch
    hidden: int | None = None
    cased: bool = False
    positions: int = 512


def adapt(
    text: Text,
    start: Start,
    settings: Settings,
    out: str | os.PathLike[str],
    *,
    precision: str = "auto",
    save_dtype: str = "fp32",
    prompts: Sequence[str] = (),
    command: str = "",
    overwrite: bool = False,
    say: Callable[[str], None] = _silent,
    clock: Callable[[], float] = time.monotonic,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Pretrain a masked LM and write it as a `transformers` directory with a model card.

    Run again with the same arguments after an interruption, it goes on where it was; what it needs for
    that is in ``OUT.work``, which is removed at the end.

    Parameters
    ----------
    out : path
        The model directory; it appears in whole when training is done.
    precision : {"auto", "fp32", "bf16"}
        Of the arithmetic; weights and optimizer stay in fp32. ``auto`` is bf16 on a GPU that has it.
    save_dtype : {"fp32", "fp16", "bf16"}
        Of the written weights.
    prompts : sequence of str
        Texts with ``{mask}``, whose fillings are shown at the end; else pieces of held-out text.
    command : str
        For the model card.

    Returns
    -------
    dict
        What is also in ``training.json``; ``finished`` is False if `stop` ended it early.

    Raises
    ------
    PetError
        For everything that the caller can mend.
    """
    from accelerate import Accelerator

    out = Path(out)
    _check_start(start)
    if out.exists() and not overwrite:
        raise PetError(f"{out}: exists already; choose another --out, or pass --overwrite")
    # On processors accelerate takes each process for the only one, unless it is told where they compute.
    together_on_cpu = in_a_group() and not torch.cuda.is_available()
    accelerator = Accelerator(cpu=together_on_cpu, mixed_precision=_mixed(precision))
    if not accelerator.is_main_process:
        say = _silent
    work = out.with_name(out.name + WORK_SUFFIX)
    asked = json.loads(json.dumps({"text": asdict(text), "start": asdict(start), "settings": asdict(settings)}))
    with accelerator.main_process_first():  # the others find what the first one has prepared
        _prepare(work, asked, text, start, settings, say)
    model, tokenizer, facts = _load_prepared(work)
    blocks, held = np.load(work / "train.npy", mmap_mode="r"), np.load(work / "held.npy")
    say(
        f"{facts['parameters']:,} parameters, {blocks.shape[0]:,} sequences of {blocks.shape[1]} tokens "
        f"on {accelerator.device}"
    )
    if settings.head_share is None and facts["new_head"] and start.model is not None:
        settings = replace(settings, head_share=NEW_HEAD_SHARE)
    result = train(
        model,
        blocks,
        held,
        vocabulary_of(tokenizer, model),
        settings,
        work,
        accelerator=accelerator,
        say=say,
        clock=clock,
        stop=stop,
    )
    record = {
        **facts,
        **result,
        "machine": _machine(accelerator),
        "settings": _public(asked),
        "save_dtype": save_dtype,
    }
    if result["finished"] and accelerator.is_main_process:
        record["samples"] = samples.fill(model, tokenizer, list(prompts), held)
        _write(out, model.to(DTYPES[save_dtype]), tokenizer, record, command, overwrite)
        shutil.rmtree(work)
    accelerator.wait_for_everyone()
    return {**record, "main_process": accelerator.is_main_process}


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> Vocabulary:
    """Which tokens of a tokenizer may be masked, and which go on with a word."""
    size = max(model.config.vocab_size, len(tokenizer))
    special = np.zeros(size, dtype=bool)
    special[tokenizer.all_special_ids] = True
    special[len(tokenizer) :] = True  # rows that only pad the embedding matrix
    continues = np.zeros(size, dtype=bool)
    table = packing.continuations(tokenizer)
    continues[: len(table)] = table
    return Vocabulary(tokenizer.mask_token_id, special, continues)


def _check_start(start: Start) -> None:
    sizes = [name for name in ("layers", "hidden") if getattr(start, name) is not None]
    if start.model is not None and sizes:
        raise PetError(f"--{sizes[0]} is for a model from scratch; leave it out, or leave out --model {start.model}")
    if start.model is None:
        if len(sizes) < 2 or start.vocab is None:
            raise PetError("name a --model to go on from, or give --layers, --hidden and --vocab to start from scratch")
        if start.keep_layers or start.feed_forward or start.keep_words:
            raise PetError("--keep-layers, --feed-forward and --keep-words shrink a checkpoint; name one with --model")


def _mixed(precision: str) -> str:
    if precision == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    if precision not in ("fp32", "bf16"):
        raise PetError(f"--precision {precision}: choose auto, fp32 or bf16")
    return "bf16" if precision == "bf16" else "no"


def _machine(accelerator: Any) -> str:
    if accelerator.device.type == "cuda":
        kind = torch.cuda.get_device_name()
    else:
        kind = f"CPU, {torch.get_num_threads()} threads"
    return kind if accelerator.num_processes == 1 else f"{accelerator.num_processes} x {kind}"


def _name(place: str) -> str:
    """A hub name as it is; of a local path the last part, because the rest tells about somebody's machine."""
    return Path(place).resolve().name if Path(place).exists() else place


def _public(asked: dict[str, Any]) -> dict[str, Any]:
    """The settings as they may be passed on with a model: without folders."""
    text, start = dict(asked["text"]), dict(asked["start"])
    for field in ("sources", "exclude"):
        text[field] = [_name(place) for place in text[field]]
    text["repeat"] = [f"{_name(source)}={n}" for source, _, n in (item.rpartition("=") for item in text["repeat"])]
    start["model"] = start["model"] and _name(start["model"])
    return {"text": text, "start": start, "settings": asked["settings"]}


def _prepare(
    work: Path,
    asked: dict[str, Any],
    text: Text,
    start: Start,
    settings: Settings,
    say: Callable[[str], None],
) -> None:
    """Fill `work` with the model to start from, its tokenizer, the packed text and facts about them."""
    if (work / "asked.json").exists():
        before = json.loads((work / "asked.json").read_text(encoding="utf-8"))
        differ = sorted(
            f"{part}.{k}" for part in asked for k in asked[part] if asked[part][k] != before.get(part, {}).get(k)
        )
        if differ:
            raise PetError(
                f"{work}: an unfinished training with other settings is there ({', '.join(differ)} differ); "
                "run the same command again to go on with it, or remove that folder to start anew"
            )
        say(f"found {work}")
        return
    documents = corpus.read_documents(text.sources, text.fields, text.document)
    times = corpus.read_repeats(text.repeat, text.sources, fields=text.fields, document=text.document)
    read = len(documents)
    say(f"read {read:,} documents, {sum(map(len, documents)) / 1e6:.1f} M characters")
    dropped = 0
    if text.exclude:
        others = (string for path in text.exclude for string in corpus.read_strings(path))
        documents, dropped = corpus.drop_overlapping(documents, others, text.exclude_words)
        say(f"left out {dropped:,} documents that share {text.exclude_words} words in a row with the excluded files")
    different, held = corpus.hold_out(documents, text.held_out, settings.seed)
    training = [document for document in different for _ in range(times.get(document, 1))]

    if start.model is None:
        tokenizer = build.train_tokenizer(
            training, start.vocab or 0, lowercase=not start.cased, positions=start.positions
        )
        model = build.from_scratch(
            tokenizer,
            layers=start.layers or 0,
            hidden=start.hidden or 0,
            positions=start.positions,
            seed=settings.seed,
        )
        new_head = True
    else:
        model, tokenizer, new_head = build.from_checkpoint(start.model)
        if start.keep_layers:
            model = shrink.keep_layers(model, start.keep_layers)
        if start.feed_forward:
            model = shrink.narrow(model, start.feed_forward)
    _check_length(text.length, model, tokenizer)
    encoded = packing.encode(tokenizer, training)
    counts = np.bincount(np.concatenate(encoded), minlength=len(tokenizer))
    if start.model is not None and start.vocab is not None:
        keep = shrink.choose_tokens(tokenizer, counts, start.vocab, start.keep_words)
        tokenizer = shrink.prune_tokenizer(tokenizer, keep)
        special = {
            f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "cls", "sep")
        }
        model = shrink.prune_model(model, keep, special)
        encoded = packing.encode(tokenizer, training)
        counts = np.bincount(np.concatenate(encoded), minlength=len(tokenizer))
        say(f"kept {len(keep):,} tokens")
    if new_head:
        build.set_output_bias(model, counts)

    before, after = packing.frame(tokenizer)
    between = after[:1]
    blocks = packing.pack(packing.join(encoded, between, settings.seed), text.length, before, after)
    held_stream = packing.join(packing.encode(tokenizer, held), between, settings.seed)
    unknown = int(counts[tokenizer.unk_token_id]) if tokenizer.unk_token_id is not None else 0
    facts = {
        "base": None if start.model is None else _name(start.model),
        "new_head": new_head,
        "parameters": sum(p.numel() for p in model.parameters()),
        "model_type": model.config.model_type,
        "shape": {
            name: getattr(model.config, name)
            for name in (
                "num_hidden_layers",
                "hidden_size",
                "intermediate_size",
                "num_attention_heads",
                "max_position_embeddings",
            )
            if hasattr(model.config, name)
        },
        "vocabulary": len(tokenizer),
        "documents_read": read,
        "documents_dropped": dropped,
        "documents_trained": len(different),
        "documents_held_out": len(held),
        "characters": sum(map(len, different)),
        "tokens_in_text": int(counts.sum()),
        "unknown_tokens": unknown,
        "text_sha256": _digest(different),
    }
    beside = work.with_name(work.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_model(model, beside / "start")
    tokenizer.save_pretrained(beside / "start")
    np.save(beside / "train.npy", blocks)
    np.save(beside / "held.npy", packing.pack(held_stream, blocks.shape[1], before, after))
    (beside / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (beside / "asked.json").write_text(json.dumps(asked, indent=1), encoding="utf-8")
    if work.exists():
        raise PetError(f"{work}: is in the way and no training of this command; remove it")
    os.replace(beside, work)


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """`save_pretrained`, without its progress bar, and readable for everybody."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.config._name_or_path = ""  # old versions write it: the path of a folder that will be gone
        model.save_pretrained(folder)
    finally:
        if bars:
            logging.enable_progress_bar()
    for path in folder.glob("*.safetensors"):  # some versions write them for the owner alone
        path.chmod(0o644)


def _digest(documents: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _check_length(length: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    limit = min(tokenizer.model_max_length, position_limit(model))
    if length > limit:
        raise PetError(f"--length {length}: this model reads at most {limit} tokens; use {limit} or fewer")


def _load_prepared(work: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, Any]]:
    model, tokenizer, _ = build.from_checkpoint(str(work / "start"))
    facts: dict[str, Any] = json.loads((work / "facts.json").read_text(encoding="utf-8"))
    return model, tokenizer, facts


def _write(
    out: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    record: dict[str, Any],
    command: str,
    overwrite: bool,
) -> None:
    beside = out.with_name(f".{out.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    save_model(model.cpu(), beside)
    tokenizer.save_pretrained(beside)
    (beside / "training.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (beside / "README.md").write_text(card.model_card(out.name, record, command), encoding="utf-8")
    if out.exists() and overwrite:
        shutil.rmtree(out)
    os.replace(beside, out)
