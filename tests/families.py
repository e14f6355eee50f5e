"""Tiny random language models, one for each supported family.

Each is a ``save_pretrained`` directory like the real checkpoints: weights, config, and a tokenizer of
the family's kind, trained here on a few sentences. Nothing is downloaded. The tokenizer files are
written by hand instead of by ``transformers``, so that every version reads the same files.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tiny_text import training_text
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

POSITIONS = 96  # maximum input length, the same in every family
VOCAB = 900


# --- tokenizers --------------------------------------------------------------------------------------


def _ordered(vocab: dict[str, int], first: list[str], last: list[str]) -> list[str]:
    """Return the tokens in a fixed order; the trainer's order depends on hash maps and threads."""
    special = {*first, *last}
    return [*first, *sorted(token for token in vocab if token not in special), *last]


def _wordpiece(first: list[str], last: list[str], unk: str) -> Tokenizer:
    def blank(vocab: dict[str, int]) -> Tokenizer:
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=unk, max_input_chars_per_word=100))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        return tokenizer

    trained = blank({unk: 0})
    letters = sorted({letter for line in training_text() for letter in line.lower() if not letter.isspace()})
    # The trainer breaks ties by id, so list the pieces "##a", "##b", … in advance to fix their ids.
    known = [*first, *last, *letters, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(vocab_size=VOCAB, special_tokens=known, show_progress=False)
    trained.train_from_iterator(training_text(), trainer)
    return blank({token: i for i, token in enumerate(_ordered(trained.get_vocab(), first, last))})


def _byte_bpe(first: list[str], last: list[str], *, nfc: bool) -> Tokenizer:
    def blank(model: models.BPE) -> Tokenizer:
        tokenizer = Tokenizer(model)
        if nfc:
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

    trained = blank(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=first,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(training_text(), trainer)
    state = json.loads(trained.to_str())["model"]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in state["merges"]]
    vocab = dict(state["vocab"])
    for token in last:
        vocab[token] = len(vocab)
    return blank(models.BPE(vocab=vocab, merges=[(left, right) for left, right in pairs]))


def _unigram(first: list[str], last: list[str], unk: str, prepare: Callable[[Tokenizer], None]) -> Tokenizer:
    def blank(model: models.Unigram) -> Tokenizer:
        tokenizer = Tokenizer(model)
        prepare(tokenizer)
        tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
        return tokenizer

    scores = _unigram_scores(blank(models.Unigram()))
    table = [(token, 0.0) for token in first] + sorted(scores.items()) + [(token, 0.0) for token in last]
    return blank(models.Unigram(table, unk_id=[token for token, _ in table].index(unk)))


def _unigram_scores(tokenizer: Tokenizer) -> dict[str, float]:
    """Return log frequencies of the letters, frequent prefixes and suffixes, and words of the text.

    `UnigramTrainer` is not deterministic because it sums in several threads; counting is good enough here.
    """
    letters: Counter[str] = Counter()
    pieces: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for line in training_text():
        text = tokenizer.normalizer.normalize_str(line) if tokenizer.normalizer else line
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text):
            letters.update(word)
            bare = word.rstrip(".,;:?!")
            words[bare] += 1
            # neither the whole word again, nor only its word-start marker
            pieces.update(bare[:size] for size in range(3, len(bare)))
            pieces.update(bare[-size:] for size in range(2, min(5, len(bare) - 1)))
    frequent = dict(sorted(pieces.items(), key=lambda item: (-item[1], item[0]))[:150])
    counts = {**letters, **frequent, **words}
    total = sum(letters.values())
    # Letters are the fallback for words that are not in the text.
    scores = {token: round(math.log(n / total), 4) for token, n in counts.items() if token}
    return {token: score - 4 if len(token) == 1 else score for token, score in scores.items()}


def _metaspace_words(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        ]
    )


def _albert_words(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    _metaspace_words(tokenizer)


def _deberta_words(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
            normalizers.NFC(),
            normalizers.Strip(left=False, right=True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )


def _bert_frame(tokenizer: Tokenizer) -> Any:
    """``[CLS] A [SEP] B [SEP]``, with token type 1 for the second segment."""
    return processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )


def _roberta_frame(tokenizer: Tokenizer) -> Any:
    """``<s> A </s></s> B </s>``, one token type."""
    ends = [("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>"))]
    return processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)


def _xlmr_frame(tokenizer: Tokenizer) -> Any:
    return processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")],
    )


def _t5_frame(tokenizer: Tokenizer) -> Any:
    return processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )


def _llama_frame(tokenizer: Tokenizer) -> Any:
    return processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )


def _xlnet_frame(tokenizer: Tokenizer) -> Any:
    """All special tokens come after the text; ``<cls>`` has its own token type."""
    return processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2",
        pair="$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<sep>", "<cls>")],
    )


def _no_frame(_: Tokenizer) -> Any:
    return processors.ByteLevel(trim_offsets=False)


_BERT_NAMES = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROBERTA_NAMES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_BERT_FIRST = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA_FIRST = ["<s>", "<pad>", "</s>", "<unk>"]


def _bert_tokenizer() -> Tokenizer:
    return _wordpiece(_BERT_FIRST, [], "[UNK]")


def _mpnet_tokenizer() -> Tokenizer:
    return _wordpiece(_ROBERTA_FIRST, ["[UNK]", "<mask>"], "[UNK]")


def _roberta_tokenizer() -> Tokenizer:
    return _byte_bpe(_ROBERTA_FIRST, ["<mask>"], nfc=False)


def _modernbert_tokenizer() -> Tokenizer:
    return _byte_bpe([], ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], nfc=True)


def _xlmr_tokenizer() -> Tokenizer:
    return _unigram(_ROBERTA_FIRST, ["<mask>"], "<unk>", _metaspace_words)


def _albert_tokenizer() -> Tokenizer:
    return _unigram(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], [], "<unk>", _albert_words)


def _deberta_tokenizer() -> Tokenizer:
    return _unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]"], ["[MASK]"], "[UNK]", _deberta_words)


SENTINELS = [f"<extra_id_{number}>" for number in range(99, -1, -1)]
_T5_FIRST = ["<pad>", "</s>", "<unk>"]
_T5_NAMES = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def _t5_tokenizer() -> Tokenizer:
    return _unigram(_T5_FIRST, SENTINELS, "<unk>", _metaspace_words)


def _mt5_tokenizer() -> Tokenizer:
    """Its sentinels are ordinary word-start pieces."""
    return _unigram(_T5_FIRST, [f"▁{name}" for name in SENTINELS], "<unk>", _metaspace_words)


def _xlnet_words(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents()]
    )
    _metaspace_words(tokenizer)


def _xlnet_tokenizer() -> Tokenizer:
    first = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    return _unigram(first, [], "<unk>", _xlnet_words)


def _gpt2_tokenizer() -> Tokenizer:
    return _byte_bpe([], ["<|endoftext|>"], nfc=False)


def _qwen_tokenizer() -> Tokenizer:
    return _byte_bpe([], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], nfc=True)


def _llama_tokenizer() -> Tokenizer:
    """SentencePiece BPE: "▁" before words, and byte fallback for unknown characters."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB + 256, special_tokens=first, show_progress=False)
    trained.train_from_iterator(training_text(), trainer)
    state = json.loads(trained.to_str())["model"]
    pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in state["merges"]]
    model = models.BPE(vocab=state["vocab"], merges=pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    return tokenizer


# --- families ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """The properties of a family: its tokenizer and its configuration."""

    tokenizer: Callable[[], Tokenizer]
    frame: Callable[[Tokenizer], Any]
    tokenizer_class: str
    special: dict[str, str]
    config: str  # class in transformers
    model: str  # class in transformers
    mask_lstrip: bool = False  # the real mask token absorbs the preceding space
    token_types: bool = False  # the tokenizer returns token_type_ids
    options: dict[str, Any] = field(default_factory=dict)
    tokenizer_options: dict[str, Any] = field(default_factory=dict)


_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
}
# RoBERTa counts positions from the padding id plus one.
_ROBERTA_POSITIONS = {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1}
_DEBERTA: dict[str, Any] = {
    **_SIZES,
    "type_vocab_size": 0,
    "relative_attention": True,
    "max_relative_positions": -1,
    "position_buckets": 16,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
}
_DEBERTA_NAMES = {**_BERT_NAMES, "bos_token": "[CLS]", "eos_token": "[SEP]"}
_ALBERT_NAMES = {**_DEBERTA_NAMES, "unk_token": "<unk>", "pad_token": "<pad>"}
_DISTIL_SIZES = {
    "dim": 32,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dim": 64,
    "max_position_embeddings": POSITIONS,
}
_LOWER = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}

FAMILIES: dict[str, Family] = {
    "bert": Family(
        _bert_tokenizer,
        _bert_frame,
        "BertTokenizer",
        _BERT_NAMES,
        "BertConfig",
        "BertForMaskedLM",
        token_types=True,
        options=_SIZES,
        tokenizer_options=_LOWER,
    ),
    "roberta": Family(
        _roberta_tokenizer,
        _roberta_frame,
        "RobertaTokenizer",
        _ROBERTA_NAMES,
        "RobertaConfig",
        "RobertaForMaskedLM",
        mask_lstrip=True,
        options={**_SIZES, **_ROBERTA_POSITIONS},
        tokenizer_options={"add_prefix_space": False, "trim_offsets": True},
    ),
    "xlm-r": Family(
        _xlmr_tokenizer,
        _xlmr_frame,
        "XLMRobertaTokenizer",
        _ROBERTA_NAMES,
        "XLMRobertaConfig",
        "XLMRobertaForMaskedLM",
        mask_lstrip=True,
        options={**_SIZES, **_ROBERTA_POSITIONS},
    ),
    "albert": Family(
        _albert_tokenizer,
        _bert_frame,
        "AlbertTokenizer",
        _ALBERT_NAMES,
        "AlbertConfig",
        "AlbertForMaskedLM",
        mask_lstrip=True,
        token_types=True,
        options={**_SIZES, "embedding_size": 16},
        tokenizer_options={"do_lower_case": True, "keep_accents": False},
    ),
    "electra": Family(
        _bert_tokenizer,
        _bert_frame,
        "ElectraTokenizer",
        _BERT_NAMES,
        "ElectraConfig",
        "ElectraForMaskedLM",
        token_types=True,
        options={**_SIZES, "embedding_size": 16},
        tokenizer_options=_LOWER,
    ),
    "distilbert": Family(
        _bert_tokenizer,
        _bert_frame,
        "DistilBertTokenizer",
        _BERT_NAMES,
        "DistilBertConfig",
        "DistilBertForMaskedLM",
        options=_DISTIL_SIZES,
        tokenizer_options=_LOWER,
    ),
    "deberta-v2": Family(
        _deberta_tokenizer,
        _bert_frame,
        "DebertaV2Tokenizer",
        _DEBERTA_NAMES,
        "DebertaV2Config",
        "DebertaV2ForMaskedLM",
        token_types=True,
        options={**_DEBERTA, "conv_kernel_size": 3, "conv_act": "gelu"},
        tokenizer_options={"do_lower_case": False, "split_by_punct": False},
    ),
    # The v3 checkpoints have the same model type without the convolution; some have the newer head.
    "deberta-v3": Family(
        _deberta_tokenizer,
        _bert_frame,
        "DebertaV2Tokenizer",
        _DEBERTA_NAMES,
        "DebertaV2Config",
        "DebertaV2ForMaskedLM",
        token_types=True,
        # The output layer is the embedding; old versions tie the wrong matrix by default.
        options={**_DEBERTA, "legacy": False, "tie_word_embeddings": False},
        tokenizer_options={"do_lower_case": False, "split_by_punct": False},
    ),
    "modernbert": Family(
        _modernbert_tokenizer,
        _bert_frame,
        "PreTrainedTokenizerFast",
        _BERT_NAMES,
        "ModernBertConfig",
        "ModernBertForMaskedLM",
        mask_lstrip=True,
        options={**_SIZES, "local_attention": 16, "global_attn_every_n_layers": 2},
    ),
    "mpnet": Family(
        _mpnet_tokenizer,
        _roberta_frame,
        "MPNetTokenizer",
        {**_ROBERTA_NAMES, "unk_token": "[UNK]"},
        "MPNetConfig",
        "MPNetForMaskedLM",
        mask_lstrip=True,
        options={**_SIZES, "max_position_embeddings": POSITIONS + 2},
        tokenizer_options=_LOWER,
    ),
}


_T5_SIZES: dict[str, Any] = {
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
    "initializer_factor": 0.3,  # the default of 1 is meant for larger models; tiny ones would learn slowly
}
_GPT2_NAMES = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}

# Models without a mask: T5 fills a sentinel, the others continue the text.
ENCODER_DECODERS: dict[str, Family] = {
    "t5": Family(
        _t5_tokenizer,
        _t5_frame,
        "T5Tokenizer",
        _T5_NAMES,
        "T5Config",
        "T5ForConditionalGeneration",
        options=_T5_SIZES,
        tokenizer_options={"extra_ids": 100, "additional_special_tokens": SENTINELS},
    ),
    "mt5": Family(
        _mt5_tokenizer,
        _t5_frame,
        "T5Tokenizer",
        _T5_NAMES,
        "MT5Config",
        "MT5ForConditionalGeneration",
        options={**_T5_SIZES, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        tokenizer_options={"extra_ids": 0},
    ),
}
ENCODER_DECODERS["umt5"] = replace(ENCODER_DECODERS["mt5"], config="UMT5Config", model="UMT5ForConditionalGeneration")
CAUSAL: dict[str, Family] = {
    "gpt2": Family(
        _gpt2_tokenizer,
        _no_frame,
        "GPT2Tokenizer",
        _GPT2_NAMES,
        "GPT2Config",
        "GPT2LMHeadModel",
        options={"n_positions": POSITIONS, "n_embd": 32, "n_layer": 2, "n_head": 2},
        tokenizer_options={"add_prefix_space": False},
    ),
    "llama": Family(
        _llama_tokenizer,
        _llama_frame,
        "LlamaTokenizer",
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        "LlamaConfig",
        "LlamaForCausalLM",
        options={**_SIZES, "num_key_value_heads": 1},
        tokenizer_options={"add_bos_token": True, "add_eos_token": False, "legacy": False},
    ),
    "qwen2": Family(
        _qwen_tokenizer,
        _no_frame,
        "Qwen2Tokenizer",
        {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"},
        "Qwen2Config",
        "Qwen2ForCausalLM",
        options={**_SIZES, "num_key_value_heads": 1},
    ),
}
# Causal models with a recurrent state, instead of or in addition to keys and values.
STATEFUL: dict[str, Family] = {
    "mamba": replace(
        CAUSAL["qwen2"],
        config="MambaConfig",
        model="MambaForCausalLM",
        options={"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    ),
    "qwen3-next": replace(
        CAUSAL["qwen2"],
        config="Qwen3NextConfig",
        model="Qwen3NextForCausalLM",
        options={
            **_SIZES, "num_key_value_heads": 1, "head_dim": 16, "num_experts": 2, "num_experts_per_tok": 1,
            "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "linear_key_head_dim": 8,
            "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
}  # fmt: skip
# XLNet has a mask token, but no head for masked language modeling.
PERMUTED: dict[str, Family] = {
    "xlnet": Family(
        _xlnet_tokenizer,
        _xlnet_frame,
        "XLNetTokenizer",
        {
            "unk_token": "<unk>",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<cls>",
            "sep_token": "<sep>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
        "XLNetConfig",
        "XLNetLMHeadModel",
        mask_lstrip=True,
        token_types=True,
        options={"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64},
        tokenizer_options={"additional_special_tokens": ["<eop>", "<eod>"]},
    ),
}


# --- directories -------------------------------------------------------------------------------------


def _write_tokenizer(family: Family, folder: Path) -> dict[str, int]:
    """Write the tokenizer files; return the ids of the special tokens by role."""
    from tokenizers import AddedToken

    tokenizer = family.tokenizer()
    tokenizer.post_processor = family.frame(tokenizer)
    mask = family.special.get("mask_token")
    more = family.tokenizer_options.get("additional_special_tokens", [])
    for token in dict.fromkeys([*family.special.values(), *more]):
        lstrip = family.mask_lstrip and token == mask
        tokenizer.add_special_tokens([AddedToken(token, lstrip=lstrip, normalized=False, special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))

    def described(token: str) -> str | dict[str, Any]:
        if token != mask or not family.mask_lstrip:
            return token
        flags = {"lstrip": True, "rstrip": False, "single_word": False, "normalized": False, "special": True}
        return {"__type": "AddedToken", "content": token, **flags}

    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    settings = {
        "tokenizer_class": family.tokenizer_class,
        "model_max_length": POSITIONS,
        "model_input_names": inputs if family.token_types else [inputs[0], inputs[2]],
        "clean_up_tokenization_spaces": False,
        **{role: described(token) for role, token in family.special.items()},
        **family.tokenizer_options,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return {f"{role}_id": tokenizer.token_to_id(token) for role, token in family.special.items()}


def build_family(name: str, folder: Path, *, seed: int = 0, **options: Any) -> Path:
    """Write the tiny model of one family into ``folder`` and return it.

    Parameters
    ----------
    name : str
        A key of `FAMILIES`, `ENCODER_DECODERS`, `CAUSAL`, `STATEFUL` or `PERMUTED`.
    folder : Path
        Made if it is not there.
    seed : int
        Seed of the random weights; the same seed gives the same bytes.
    **options
        Settings of the family's config class that replace those of the table.
    """
    import torch
    import transformers

    family = {**FAMILIES, **ENCODER_DECODERS, **CAUSAL, **STATEFUL, **PERMUTED}[name]
    folder.mkdir(parents=True, exist_ok=True)
    ids = _write_tokenizer(family, folder)
    known = {key: ids[key] for key in ("pad_token_id", "bos_token_id", "eos_token_id") if key in ids}
    if name == "modernbert":  # the defaults are ids of the real, larger vocabulary
        cls, sep = ids["cls_token_id"], ids["sep_token_id"]
        known |= {"bos_token_id": cls, "eos_token_id": sep, "cls_token_id": cls, "sep_token_id": sep}
    tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    settings = {**family.options, **known, "vocab_size": len(tokens), **options}
    config = getattr(transformers, family.config)(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, family.model)(config)
    model.eval().save_pretrained(folder, safe_serialization=True)
    return folder
