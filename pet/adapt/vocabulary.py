"""Change the vocabulary of a tokenizer and its model, above all to the tokens that a text uses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pet.adapt.shrink import State, copy_config, rebuild
from pet.backbones.load import reload_tokenizer
from pet.errors import PetError
from pet.store.temporary import Scratch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SLOW_FILES = (
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "spm.model"),
    "added_tokens.json",
)


def load_spec(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the content of the tokenizer.json of a fast tokenizer."""
    spec: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return spec


def choose_tokens(
    tokenizer: PreTrainedTokenizerBase, counts: np.ndarray, size: int, words: Iterable[str] = ()
) -> list[int]:
    """Choose the tokens to keep: special tokens, those of `words`, characters in use, then the most frequent.

    Parameters
    ----------
    counts : array of int, shape (vocabulary,)
        How often each token occurs in the text.
    size : int
        How many to keep at most. Tokens that do not occur are always dropped.
    words : iterable of str
        Words whose tokens are kept, each at the start of a text and after a space.

    Returns
    -------
    list of int
        Token ids in the old order. A text whose tokens are all kept is tokenized as before.

    Raises
    ------
    PetError
        If `size` is too small for what must be kept.
    """
    spec = load_spec(tokenizer)
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
        must |= singles  # the 256 bytes: they can spell any text
    elif kind == "WordPiece":
        # Characters in use stay, so that words whose pieces are gone can still be spelled.
        used = {c for i in np.flatnonzero(counts) for c in spelling[int(i)].removeprefix("##")}
        must |= {i for i in singles if spelling[i].removeprefix("##") in used}
    else:
        must |= {i for i in singles if counts[i]}
    parents = _merge_parents(spec) if kind == "BPE" else {}
    if len(must) > size:
        raise PetError(
            f"--vocab {size}: special tokens, single characters and words to keep are {len(must)} tokens; "
            "choose at least that"
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
    """Add to each token of a BPE vocabulary the tokens that it is merged from."""
    todo = [spelling[i] for i in ids]
    closed: set[str] = set()
    while todo:
        token = todo.pop()
        if token not in closed and token in vocabulary:
            closed.add(token)
            todo.extend(parents.get(token, ()))
    return {vocabulary[token] for token in closed}


def prune_tokenizer(tokenizer: PreTrainedTokenizerBase, keep: Sequence[int]) -> PreTrainedTokenizerBase:
    """Return a tokenizer with only the tokens `keep`, numbered in that order.

    Raises
    ------
    PetError
        If it has no ``tokenizer.json`` form, or a vocabulary of another type than WordPiece, BPE or Unigram.
    """
    spelling = {i: token for token, i in tokenizer.get_vocab().items()}
    return change_tokens(tokenizer, {spelling[i]: place for place, i in enumerate(keep)})


def change_tokens(tokenizer: PreTrainedTokenizerBase, new: Mapping[str, int]) -> PreTrainedTokenizerBase:
    """Return a tokenizer with another vocabulary: fewer tokens, other ids, or (WordPiece only) more words.

    Parameters
    ----------
    new : mapping of token to id
        The ids are 0 to the number of tokens - 1. All special and added tokens must be kept.

    Raises
    ------
    PetError
        If it has no ``tokenizer.json`` form, or a vocabulary of another type than WordPiece, BPE or Unigram.
    """
    name = tokenizer.name_or_path
    if not tokenizer.is_fast:
        raise PetError(f"tokenizer {name}: is a slow one and cannot be changed; save it as tokenizer.json first")
    with Scratch() as folder:
        tokenizer.save_pretrained(folder)
        for slow in _SLOW_FILES:
            Path(folder, slow).unlink(missing_ok=True)
        path, settings_path = Path(folder, "tokenizer.json"), Path(folder, "tokenizer_config.json")
        spec = json.loads(path.read_text(encoding="utf-8"))
        _change_spec(spec, new, tokenizer.get_vocab(), name)
        path.write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
        settings = json.loads(settings_path.read_text(encoding="utf-8"))
        for field in ("added_tokens_decoder", "vocab_size", "max_length", "stride"):
            settings.pop(field, None)
        settings_path.write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
        changed = reload_tokenizer(str(folder))
    if len(changed) != len(new):
        raise PetError(
            f"tokenizer {name}: has {len(changed)} tokens instead of {len(new)} after the change of its vocabulary; "
            "leave --vocab and --add-words out"
        )
    changed.name_or_path = ""
    return changed


def _change_spec(spec: dict[str, Any], new: Mapping[str, int], old: Mapping[str, int], name: str) -> None:
    """Change the content of a tokenizer.json; `new` and `old` map tokens to their ids."""
    model, moved = spec["model"], {i: new[token] for token, i in old.items() if token in new}
    if model["type"] == "Unigram":
        scores = dict(model["vocab"])
        added = {entry["content"] for entry in spec["added_tokens"]}
        model["vocab"] = [[token, scores.get(token, 0.0)] for token in new if token in scores or token in added]
        if model.get("unk_id") is not None:
            model["unk_id"] = moved[model["unk_id"]]
    elif model["type"] in ("WordPiece", "BPE"):
        model["vocab"] = dict(new)
        if model["type"] == "BPE":
            model["merges"] = [merge for merge in model["merges"] if _merge_stays(merge, new)]
    else:
        raise PetError(f"tokenizer {name}: a {model['type']} vocabulary cannot be pruned; leave --vocab out")
    for entry in spec["added_tokens"]:
        entry["id"] = moved[entry["id"]]
    if spec.get("post_processor"):
        _renumber(spec["post_processor"], new)
    spec["truncation"] = spec["padding"] = None


def _merge_stays(merge: str | list[str], vocabulary: Mapping[str, int]) -> bool:
    left, right = merge if isinstance(merge, list) else merge.split(" ", 1)
    return left in vocabulary and right in vocabulary and left + right in vocabulary


def _renumber(node: Any, new: Mapping[str, int]) -> None:
    """Update the ids in a post-processor, wherever a token appears with its id."""
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


def prune_model(model: PreTrainedModel, keep: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Keep only the rows `keep` of a model's embeddings and output layer.

    Parameters
    ----------
    tokenizer : the pruned tokenizer, for the ids of special tokens in the configuration

    Raises
    ------
    PetError
        If the tokenizer has more tokens than the model has rows.
    """
    rows = torch.as_tensor(list(keep))
    check_rows(model, max(keep) + 1)
    return change_rows(model, lambda tensor: tensor[rows].clone(), len(keep), tokenizer)


def check_rows(model: PreTrainedModel, tokens: int) -> None:
    """Refuse a tokenizer that has more tokens than its model has rows.

    Raises
    ------
    PetError
    """
    rows = model.get_input_embeddings().weight.shape[0]
    if rows < tokens:
        raise PetError(
            f"--vocab and --add-words: the tokenizer has {tokens:,} tokens, and the model only {rows:,}; "
            "use the tokenizer of this model"
        )


def change_rows(
    model: PreTrainedModel,
    change: Callable[[torch.Tensor], torch.Tensor],
    size: int,
    tokenizer: PreTrainedTokenizerBase,
) -> PreTrainedModel:
    """Return a model with other rows of its embeddings and output layer, one for each token.

    Parameters
    ----------
    change : function of a matrix of shape (tokens, hidden size) or a bias of shape (tokens,)
        Returns its replacement, with `size` rows.
    tokenizer : the tokenizer with `size` tokens, for the ids of special tokens in the configuration
    """
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
        changes = tensor.data_ptr() in places or (head_bias and name.endswith("bias"))
        state[name] = change(tensor) if changes else tensor
    config = copy_config(model)
    config.vocab_size = size
    for name in ("pad", "bos", "eos", "cls", "sep"):
        field = f"{name}_token_id"
        if getattr(tokenizer, field) is not None and hasattr(config, field):
            setattr(config, field, getattr(tokenizer, field))
    return rebuild(model, config, state)
