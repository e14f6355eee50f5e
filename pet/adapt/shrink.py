"""Making a checkpoint smaller before it is trained: fewer layers, narrower layers, a smaller vocabulary."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pet.errors import PetError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

State = dict[str, torch.Tensor]

_LAYER = re.compile(r"^(.*\blayers?)\.(\d+)\.(.+)$")
# (name of the layer into the feed-forward units, name of the layer out of them)
_FEED_FORWARD = ((".intermediate.dense.", ".output.dense."), (".ffn.lin1.", ".ffn.lin2."))
_SLOW_FILES = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
)


def rebuild(model: PreTrainedModel, config: Any, state: State) -> PreTrainedModel:
    """A model of the same class with another configuration and these weights."""
    fresh = type(model)(config)
    fresh.load_state_dict(state)
    fresh.tie_weights()
    return fresh


def keep_layers(model: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """The model with only the given layers, in the given order, counted from 0.

    Raises
    ------
    PetError
        If there is no such layer, or the architecture shares or alternates its layers.
    """
    total = model.config.num_hidden_layers
    wrong = [i for i in layers if not 0 <= i < total]
    if wrong or not layers or len(set(layers)) != len(layers):
        raise PetError(
            f"--keep-layers {','.join(map(str, layers))}: this model has the layers 0 to {total - 1}; "
            "name each at most once"
        )
    state: State = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        match = _LAYER.match(name)
        if match is None:
            state[name] = tensor
            continue
        seen.add(int(match[2]))
        if int(match[2]) in layers:
            state[f"{match[1]}.{list(layers).index(int(match[2]))}.{match[3]}"] = tensor
    # ModernBERT: transformers 5 lists the kinds of its layers, version 4 has a period.
    alternate = any(getattr(model.config, field, None) for field in ("layer_types", "global_attn_every_n_layers"))
    if seen != set(range(total)) or alternate:
        raise PetError(
            f"--keep-layers: a {model.config.model_type} model shares or alternates its layers, none can be left out"
        )
    config = _copy(model)
    config.num_hidden_layers = len(layers)
    return rebuild(model, config, state)


def narrow(model: PreTrainedModel, units: int) -> PreTrainedModel:
    """The model with only the `units` strongest feed-forward units of each layer.

    The strength of a unit is the product of the norms of its weights in and out: what it can at most
    add to a unit input.
    """
    state: State = dict(model.state_dict())
    before: set[int] = set()
    for name in [name for name in state if name.endswith(".weight")]:
        for inward, outward in _FEED_FORWARD:
            if f"{inward}weight" not in name:
                continue
            out = name.replace(inward, outward)
            before.add(state[name].shape[0])
            if units >= state[name].shape[0]:
                break
            strength = state[name].norm(dim=1) * state[out].norm(dim=0)
            best = strength.topk(units).indices.sort().values
            state[name.replace("weight", "bias")] = state[name.replace("weight", "bias")][best].clone()
            state[out] = state[out][:, best].clone()
            state[name] = state[name][best].clone()
    if len(before) != 1:
        raise PetError(
            f"--feed-forward: the layers of a {model.config.model_type} model are built in another way, leave it out"
        )
    (width,) = before
    if not 1 <= units < width:
        raise PetError(f"--feed-forward {units}: this model has {width}; choose a smaller number, at least 1")
    config = _copy(model)
    field = "intermediate_size" if hasattr(config, "intermediate_size") else "hidden_dim"
    setattr(config, field, units)
    return rebuild(model, config, state)


def _copy(model: PreTrainedModel) -> Any:
    return type(model.config).from_dict(model.config.to_dict())


def choose_tokens(
    tokenizer: PreTrainedTokenizerBase, counts: np.ndarray, size: int, words: Iterable[str] = ()
) -> list[int]:
    """The token ids to keep: special ones, those of `words`, characters in use, then the most frequent.

    Parameters
    ----------
    counts : array of int, shape (vocabulary,)
        How often each token occurs in the text.
    size : int
        How many to keep at most. Tokens that do not occur are dropped in any case.
    words : iterable of str
        Words to keep as they are now, each alone and after a space.

    Returns
    -------
    list of int
        In the old order. Text whose tokens are all kept is cut as before.
    """
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = tokenizer.get_vocab()
    spelling = {i: token for token, i in vocabulary.items()}
    must = set(tokenizer.all_special_ids) | {entry["id"] for entry in spec["added_tokens"]}
    for word in words:
        for form in (word, " " + word):
            must.update(tokenizer(form, add_special_tokens=False)["input_ids"])
    kind = spec["model"]["type"]
    byte_level = kind == "BPE" and "ByteLevel" in json.dumps(spec["pre_tokenizer"])
    singles = {i for i, token in spelling.items() if len(token.removeprefix("##").removeprefix("▁")) <= 1}
    if byte_level:
        must |= singles  # the 256 bytes: with them there is no unknown text
    elif kind == "WordPiece":
        # A character in use must stay readable when the pieces it was part of are gone.
        used = {c for i in np.flatnonzero(counts) for c in spelling[int(i)].removeprefix("##")}
        must |= {i for i in singles if spelling[i].removeprefix("##") in used}
    else:
        must |= {i for i in singles if counts[i]}
    parents = _merge_parents(spec) if kind == "BPE" else {}
    if len(must) > size:
        raise PetError(
            f"--vocab {size}: special tokens and single characters alone are {len(must)}; choose a larger number"
        )
    keep = _closed(must, parents, vocabulary, spelling)
    for i in np.argsort(-counts, kind="stable"):
        if len(keep) >= size or not counts[i]:
            break
        group = _closed([int(i)], parents, vocabulary, spelling)
        if len(keep | group) <= size:
            keep |= group
    return sorted(keep)


def _merge_parents(spec: Mapping[str, Any]) -> dict[str, list[str]]:
    pairs = [tuple(m) if isinstance(m, list) else tuple(m.split(" ", 1)) for m in spec["model"]["merges"]]
    parents: dict[str, list[str]] = {}
    for left, right in pairs:
        parents.setdefault(left + right, []).extend((left, right))
    return parents


def _closed(
    ids: Iterable[int],
    parents: Mapping[str, list[str]],
    vocabulary: Mapping[str, int],
    spelling: Mapping[int, str],
) -> set[int]:
    """With each token of a BPE also those that it is merged from."""
    todo = [spelling[i] for i in ids]
    closed: set[str] = set()
    while todo:
        token = todo.pop()
        if token not in closed and token in vocabulary:
            closed.add(token)
            todo.extend(parents.get(token, ()))
    return {vocabulary[token] for token in closed}


def prune_tokenizer(tokenizer: PreTrainedTokenizerBase, keep: Sequence[int]) -> PreTrainedTokenizerBase:
    """The tokenizer with only the tokens `keep`, numbered in that order.

    Raises
    ------
    PetError
        If it has no ``tokenizer.json`` form.
    """
    from transformers import AutoTokenizer

    if not tokenizer.is_fast:
        raise PetError(
            f"tokenizer {tokenizer.name_or_path}: is a slow one and cannot be pruned; save it as tokenizer.json first"
        )
    spelling = {i: token for token, i in tokenizer.get_vocab().items()}
    new = {spelling[i]: place for place, i in enumerate(keep)}
    moved = {old: place for place, old in enumerate(keep)}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for name in _SLOW_FILES:
            Path(folder, name).unlink(missing_ok=True)
        path = Path(folder, "tokenizer.json")
        spec = json.loads(path.read_text(encoding="utf-8"))
        model = spec["model"]
        if model["type"] == "WordPiece":
            model["vocab"] = new
        elif model["type"] == "BPE":
            model["vocab"] = new
            model["merges"] = [m for m in model["merges"] if _merge_stays(m, new)]
        elif model["type"] == "Unigram":
            scores = dict(model["vocab"])
            added = {entry["content"] for entry in spec["added_tokens"]}
            model["vocab"] = [[token, scores.get(token, 0.0)] for token in new if token in scores or token in added]
            if model.get("unk_id") is not None:
                model["unk_id"] = moved[model["unk_id"]]
        else:
            raise PetError(
                f"tokenizer {tokenizer.name_or_path}: a {model['type']} vocabulary cannot be pruned; leave --vocab out"
            )
        for entry in spec["added_tokens"]:
            entry["id"] = moved[entry["id"]]
        if spec.get("post_processor"):
            _renumber(spec["post_processor"], new)
        spec["truncation"] = spec["padding"] = None
        path.write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
        settings_path = Path(folder, "tokenizer_config.json")
        settings = json.loads(settings_path.read_text(encoding="utf-8"))
        for field in ("added_tokens_decoder", "vocab_size", "max_length", "stride"):
            settings.pop(field, None)
        settings_path.write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
        Path(folder, "added_tokens.json").unlink(missing_ok=True)
        pruned = AutoTokenizer.from_pretrained(folder)
    if len(pruned) != len(keep):
        raise PetError(
            f"tokenizer {tokenizer.name_or_path}: pruning left {len(pruned)} tokens for {len(keep)}; leave --vocab out"
        )
    pruned.name_or_path = ""
    return pruned


def _merge_stays(merge: str | list[str], vocabulary: Mapping[str, int]) -> bool:
    left, right = merge if isinstance(merge, list) else merge.split(" ", 1)
    return left in vocabulary and right in vocabulary and left + right in vocabulary


def _renumber(node: Any, new: Mapping[str, int]) -> None:
    """Put the new ids into a post-processor, wherever a token and its id stand together."""
    if isinstance(node, dict):
        if isinstance(node.get("ids"), list) and isinstance(node.get("tokens"), list):
            node["ids"] = [new[token] for token in node["tokens"]]
        for key in ("sep", "cls"):
            if isinstance(node.get(key), list) and len(node[key]) == 2:
                node[key] = [node[key][0], new[node[key][0]]]
        for value in node.values():
            _renumber(value, new)
    elif isinstance(node, list):
        for value in node:
            _renumber(value, new)


def prune_model(model: PreTrainedModel, keep: Sequence[int], special: Mapping[str, int | None]) -> PreTrainedModel:
    """The model with only the rows `keep` of its embeddings and its output.

    Parameters
    ----------
    special : mapping
        New ids for the configuration, as ``{"pad_token_id": 0}``.
    """
    rows = torch.as_tensor(list(keep))
    vocabulary = model.config.vocab_size
    output = model.get_output_embeddings()
    tensors = [model.get_input_embeddings().weight]
    if output is not None:
        tensors += [output.weight] + ([output.bias] if getattr(output, "bias", None) is not None else [])
    places = {tensor.data_ptr() for tensor in tensors}
    state: State = {}
    for name, tensor in model.state_dict().items():
        head_bias = (
            tensor.dim() == 1 and tensor.shape[0] == vocabulary and not name.startswith(f"{model.base_model_prefix}.")
        )
        if tensor.data_ptr() in places or (head_bias and name.endswith("bias")):
            if tensor.shape[0] < max(keep) + 1:
                raise PetError(f"--vocab: the tokenizer knows more tokens than {name} has rows; this pair does not fit")
            state[name] = tensor[rows].clone()
        else:
            state[name] = tensor
    config = _copy(model)
    config.vocab_size = len(keep)
    for field, value in special.items():
        if value is not None and hasattr(config, field):
            setattr(config, field, value)
    return rebuild(model, config, state)
