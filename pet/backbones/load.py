"""Open models from folders, the embedded models and the hub. No other module asks a library to open a model.

Code that comes with a model never runs. Any problem with a model gives one message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers.utils import cached_file

from pet.backbones.budget import limited_size
from pet.backbones.folder import (
    ADAPTER_CONFIG,
    CONFIG,
    READ,
    TOKENIZER_CONFIG,
    adapter,
    check_config,
    check_files,
    check_links,
    check_tokenizer_config,
    check_weights,
    pickled,
    read_json,
    remote_code,
)
from pet.backbones.opened import check_finite, check_layers, check_vocabulary
from pet.backbones.place import resolve_model
from pet.compat import EMPTY_FIRST, dtype_argument
from pet.errors import PetError
from pet.lean_imports import build
from pet.network import cached_if_cut_off, hub_host
from pet.process import environment, without_messages
from pet.shortage import shortage
from pet.store.files import hash_file, hash_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# How models must return their outputs, and compute them: chunks would only save memory.
_OUTPUTS = {
    "return_dict": True,
    "output_hidden_states": False,
    "output_attentions": False,
    "torchscript": False,
    "chunk_size_feed_forward": 0,
    # BigBird's sparse attention ends for good at the first batch of short texts, so scores would depend on the batches.
    "attention_type": "original_full",
}
# Otherwise the library asks a service of the hub to convert pickled weights. It also copies weights in several threads,
# and the C library lets no other thread use the memory that they free: 120 MB when a student of 91 MB is trained.
_LOADING = {"DISABLE_SAFETENSORS_CONVERSION": "1", "HF_DEACTIVATE_ASYNC_LOAD": "1"}


def check_model(name: str, *, allow_pickle: bool = False) -> None:
    """Check that a model folder exists and can be loaded. Hub names are not looked up.

    Raises
    ------
    PetError
        If the folder does not exist, has no weights, only pickled ones (without `allow_pickle`), or is unsafe.
    """
    path = Path(resolve_model(name))
    if path.is_dir():
        check_files(path)
        check_weights(path, allow_pickle)


def load_problem(name: str, what: str, error: BaseException) -> PetError | None:
    """Convert an exception from loading a model's `what` to a PetError; None if it says nothing about the model.

    Libraries raise all kinds of exceptions for a damaged file. Those of Rust are not even an ``Exception``.
    """
    is_panic = type(error).__name__ == "PanicException"
    if isinstance(error, (PetError, MemoryError)) or not (isinstance(error, Exception) or is_panic):
        return None
    if "trust_remote_code" in str(error):
        return remote_code(name)
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        reason = f"unknown or missing: {reason}"
    return PetError(
        f"model {name}: cannot load its {what} ({reason[:300]}); check the name, the folder, or the network"
    )


@contextmanager
def opening(name: str, what: str) -> Iterator[None]:
    """Convert exceptions from loading a model's `what` to a PetError. Without a network, look only into the cache."""
    with cached_if_cut_off(not Path(resolve_model(name)).is_dir()) as alone:
        try:
            yield
        except BaseException as error:
            if alone and isinstance(error, OSError) and shortage(error) is None:
                raise PetError(
                    f"model {name}: cannot load its {what}: there is no such folder, it was not downloaded before, and "
                    f"{hub_host()} cannot be reached; check the name, the folder, or the network"
                ) from error
            problem = load_problem(name, what, error)
            if problem is None or shortage(error) is not None:
                raise
            raise problem from error


def _check_description(name: str) -> None:
    """Check the files of a folder or a hub model that say how to load it."""
    path = Path(resolve_model(name))
    if path.is_dir():
        check_files(path)
    else:
        _check_hub_model(name)


@cache
def _check_hub_model(name: str) -> None:
    if _hub_file(name, ADAPTER_CONFIG) is not None:
        raise adapter(name)
    for file, check in ((CONFIG, check_config), (TOKENIZER_CONFIG, check_tokenizer_config)):
        found = _hub_file(name, file)
        if found is not None:
            check(read_json(found), name)


def _hub_file(name: str, file: str) -> Path | None:
    """Return a file of a hub model, downloaded if necessary; None if it does not exist or cannot be reached."""
    try:
        with cached_if_cut_off():
            found = cached_file(name, file)
    except (OSError, ValueError):  # the caller's next call says why
        return None
    return None if found is None else Path(str(found))


def model_file(name: str, file: str) -> Path | None:
    """Return the path of a file of a model, downloaded if necessary; None if there is no such file.

    Parameters
    ----------
    name : folder, embedded model or hub name
    file : its path in the model's folder
    """
    folder = Path(resolve_model(name))
    found = folder / file if folder.is_dir() else _hub_file(name, file)
    return found if found is not None and found.is_file() else None


def read_config_file(name: str) -> Mapping[str, Any] | None:
    """Return the unchanged content of a model's ``config.json``; None if there is no such file.

    Raises
    ------
    PetError
        If it is damaged, or asks for something that `load_config` refuses.
    """
    _check_description(name)
    found = model_file(name, CONFIG)
    return None if found is None else read_json(found)


def load_config(name: str, **changes: Any) -> Any:
    """Load the configuration of a model, with changes, and set it so that the model returns outputs by name.

    Parameters
    ----------
    name : folder, embedded model or hub name
    **changes : values for fields of the configuration

    Raises
    ------
    PetError
        If it is missing or damaged.
    """
    _check_description(name)
    with opening(name, "configuration"):
        config = transformers.AutoConfig.from_pretrained(resolve_model(name), trust_remote_code=False, **changes)
        for field, value in _OUTPUTS.items():
            if getattr(config, field, value) != value:
                setattr(config, field, value)
    return config


def load_tokenizer(name: str, config: Any = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model.

    Parameters
    ----------
    name : folder, embedded model or hub name
    config : the model's configuration; default: loaded

    Raises
    ------
    PetError
        If it is missing or damaged, or has tokens that the model does not know.
    """
    if config is None:
        config = load_config(name)
    else:
        _check_description(name)
    with opening(name, "tokenizer"):
        tokenizer = _open_tokenizer(resolve_model(name), config)
        check_vocabulary(name, tokenizer, getattr(config.get_text_config(), "vocab_size", None))
        _ = tokenizer.unk_token_id  # the library looks for the empty text without end
    return tokenizer


def reload_tokenizer(folder: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer that was just saved to a folder of its own, without a model; PetError if that fails."""
    with opening(folder, "tokenizer"):
        return _open_tokenizer(folder)


def _open_tokenizer(path: str, config: Any = None) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = transformers.AutoTokenizer.from_pretrained(
        path, config=config, trust_remote_code=False
    )
    return tokenizer


def load_model(
    name: str, kind: Any, *, config: Any = None, allow_pickle: bool = False
) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    """Load a model in float32.

    Parameters
    ----------
    name : folder, embedded model or hub name
    kind : an ``Auto`` class of transformers
    config : its configuration; default: loaded
    allow_pickle : also accept ``pytorch_model.bin``

    Returns
    -------
    the model, and the loading info of ``from_pretrained`` (missing keys, ...)

    Raises
    ------
    PetError
        If there are no weights, they are pickled (without `allow_pickle`) or not finite, or the architecture does not
        match.
    """
    path, weights = resolve_model(name), None
    if config is None:
        config = load_config(name)
    if Path(path).is_dir():
        check_files(Path(path))
        weights = check_weights(Path(path), allow_pickle)
    if not EMPTY_FIRST:
        empty_model(name, config, kind)
    options = dtype_argument(torch.float32) | ({} if allow_pickle else {"use_safetensors": True})
    with opening(name, "weights"), without_messages(), environment(**_LOADING), limited_size(name, weights):
        try:
            model, info = build(
                lambda: kind.from_pretrained(
                    path, config=config, output_loading_info=True, trust_remote_code=False, **options
                )
            )
        except OSError as error:
            if weights is None and not allow_pickle and "safetensors" in str(error):
                raise pickled(name, "of a hub model") from error
            raise
    check_finite(name, model)
    check_layers(name, model, info["unexpected_keys"])
    return model, info


def empty_model(name: str, config: Any, kind: Any = transformers.AutoModel) -> PreTrainedModel:
    """Return the model that a configuration describes, without weights or memory; PetError if that is impossible."""
    path, weights = Path(resolve_model(name)), None
    if path.is_dir():
        with suppress(PetError):  # `pet check` can do without weights
            weights = check_weights(path, allow_pickle=True)
    with opening(name, "configuration"), limited_size(name, weights), torch.device("meta"):
        model: PreTrainedModel = build(lambda: kind.from_config(config, trust_remote_code=False))
    return model


def model_fingerprint(name: str) -> str:
    """Return a hash of a model folder's weights, config and tokenizer, or the cached commit of a hub model."""
    path = Path(resolve_model(name))
    if path.is_dir():
        check_links(path)
        return hash_inputs({p.name: hash_file(p) for p in sorted(path.iterdir()) if p.suffix in READ})
    with opening(name, "configuration"):
        found = cached_file(name, CONFIG)
    return Path(str(found)).parent.name  # .../snapshots/COMMIT/config.json
