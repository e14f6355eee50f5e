"""Which model on which server answers. A model's name does not say: servers may call different models the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from pet.teachers.address import Address

_LLAMA_CPP = "llamacpp"
_META = ("vocab_type", "n_vocab", "n_ctx_train", "n_embd", "n_params", "size", "ftype")


def find_origin(address: Address, describe: Callable[[str], Any]) -> str:
    """Return the name under which answers are kept: the server, and a hash of what it says about its model.

    The lists of models of llama.cpp and vLLM say more than a name, and llama.cpp also names its file. Ports of this
    machine change, so they are left out if the server names the file or folder of its model. Nothing secret is in the
    name: addresses have no passwords, and paths are hashed.

    Parameters
    ----------
    address : the server and its model
    describe : returns the parsed JSON at a URL of the server; None if there is none

    Examples
    --------
    >>> server = Address("http://127.0.0.1:8080/v1", "smol")
    >>> find_origin(server, lambda url: None)
    'http://127.0.0.1:8080/v1'
    >>> find_origin(server, lambda url: {"data": [{"id": "smol", "root": "/models/smol"}]})[:18]
    'local 78806ad45370'
    """
    entry = _entry(describe(f"{address.url}/models"), address.model)
    facts = {name: entry[name] for name in ("root", "parent") if isinstance(entry.get(name), str)}
    path = facts.get("root")
    if entry.get("owned_by") == _LLAMA_CPP:
        meta, props = entry.get("meta"), describe(f"{address.url.removesuffix('/v1')}/props")
        facts |= {name: str(meta.get(name)) for name in _META} if isinstance(meta, Mapping) else {}
        path = props.get("model_path") if isinstance(props, Mapping) else None
        facts |= {"path": path} if isinstance(path, str) else {}
    where = "local" if address.is_local and path else address.url
    if not facts:
        return where
    text = json.dumps(facts, sort_keys=True)
    return f"{where} {hashlib.sha256(text.encode('ascii')).hexdigest()}"


def _entry(models: Any, name: str) -> Mapping[str, Any]:
    """Return what a list of models says about one of them: the only one may have any name; empty if it is not there."""
    entries = models.get("data") if isinstance(models, Mapping) else None
    known = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    named = [entry for entry in known if entry.get("id") == name]
    found: Mapping[str, Any] = (named or (known if len(known) == 1 else []) or [{}])[0]
    return found
