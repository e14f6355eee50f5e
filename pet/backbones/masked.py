"""Masked language models: compute logits only for the words and positions that are needed.

The vocabulary is by far the largest matrix of a small model. A cloze needs a handful of its rows at
one position per text; the auxiliary loss needs all rows at 15% of the positions. So the encoder runs
once, and only the needed positions go through the head.

A label word of several tokens has a mask for each (`pet.backbones.masks`). Its tokens are scored by log-probabilities,
because those at different positions have different sums over the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pet.backbones import xlnet
from pet.backbones.base import Batch, BatchMaker, LanguageModel
from pet.backbones.choices import CHOICES, spread_masks
from pet.backbones.masks import MaskPlan, plan_masks, repeat_masks
from pet.backbones.packed import packed_features, packed_features_on_gpu, plain_layers
from pet.backbones.turns import score_in_turn
from pet.backbones.used_words import only_used_words
from pet.cloze.settings import LEFT_TO_RIGHT, TOGETHER
from pet.errors import PetError
from pet.training.batching import pad_rows, padding_id
from pet.training.masking import MaskingRule, hide_tokens, ordinary_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pet.cloze.pvp import PVP
    from pet.cloze.ragged import Encoded

Array = NDArray[Any]
_VOCABULARIES = 256  # places whose logits of the whole vocabulary are in memory at once, in scoring
# A head: the transform of hidden states before the output embedding, the output embedding, its bias.
HiddenStates = Callable[[Batch, Tensor], Tensor]  # (inputs, one position a row) -> shape (B, D)
HeadRows = Callable[[Tensor], Tensor]  # words of shape (W,) -> their rows of the output embedding, shape (W, D)
Head = tuple[Callable[[Tensor], Tensor], Tensor, "Tensor | None"]


def _bert(m: Any) -> Head:
    head = m.cls.predictions
    return head.transform, head.decoder.weight, head.decoder.bias


def _roberta(m: Any) -> Head:
    head = m.lm_head
    return lambda x: head.layer_norm(F.gelu(head.dense(x))), head.decoder.weight, head.decoder.bias


def _albert(m: Any) -> Head:
    head = m.predictions
    return lambda x: head.LayerNorm(head.activation(head.dense(x))), head.decoder.weight, head.decoder.bias


def _electra(m: Any) -> Head:
    return m.generator_predictions, m.generator_lm_head.weight, m.generator_lm_head.bias


def _distilbert(m: Any) -> Head:
    out = m.vocab_projector
    return lambda x: m.vocab_layer_norm(m.activation(m.vocab_transform(x))), out.weight, out.bias


def _deberta(m: Any) -> Head:
    if m.config.legacy:
        return _bert(m)
    head = m.lm_predictions.lm_head
    words = m.deberta.embeddings.word_embeddings.weight
    return lambda x: head.LayerNorm(head.transform_act_fn(head.dense(x))), words, head.bias


def _modernbert(m: Any) -> Head:
    return m.head, m.decoder.weight, m.decoder.bias


def _xlnet(m: Any) -> Head:
    return lambda x: x, m.lm_loss.weight, m.lm_loss.bias


_HEADS: dict[str, Callable[[Any], Head]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
    "camembert": _roberta,
    "mpnet": _roberta,
    "albert": _albert,
    "electra": _electra,
    "distilbert": _distilbert,
    "deberta": _deberta,
    "deberta-v2": _deberta,
    "modernbert": _modernbert,
    "xlnet": _xlnet,
}


def position_limit(model: PreTrainedModel) -> int:
    """Return the maximum row length, in tokens, that a model's position embeddings allow.

    RoBERTa-like models count positions from the padding id plus one; the first rows of their position
    embeddings are unused.
    """
    limit = getattr(model.config, "max_position_embeddings", None) or math.inf
    limit = math.inf if limit < 0 else limit  # XLNet's
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limit -= module.padding_idx + 1
            break
    return int(min(limit, 1 << 20))


def knows_head(config: Any) -> bool:
    """Return True if the output layer of this family is known, so that what it gets can be read."""
    return config.model_type in _HEADS


def find_transform(model: PreTrainedModel) -> Head:
    """Return the head of a model: what happens to hidden states, the output embedding, and its bias.

    Raises
    ------
    PetError
        If the head of this family is not known.
    """
    find = _HEADS.get(model.config.model_type)
    if find is None:
        raise PetError(f"the output layer of {model.config.model_type} models is unknown")
    return find(model)


def has_token_types(model: PreTrainedModel) -> bool:
    """Whether a model distinguishes segments: by token type embeddings or, in XLNet, relative segment encodings."""
    has_embeddings = int(getattr(model.config, "type_vocab_size", 0) or 0) > 1
    return has_embeddings or model.config.model_type in xlnet.TYPES


class MaskedLM(LanguageModel):
    """A masked language model, which scores words at the mask.

    Parameters
    ----------
    model : a ``transformers`` masked LM. Only the needed positions go through the head, for families in the table
        above and others whose encoder returns a ``last_hidden_state``. The rest compute all logits, which is slower.
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__(model)
        find = _HEADS.get(model.config.model_type)
        if find is not None:
            find(model)  # fail now rather than in training if a version of the library uses other names
        self._find_head = find
        self._layers = None if find is None else plain_layers(model)
        # Computes hidden states in place of the encoder, in inference; see `pet.members.engines`.
        self.engine: HiddenStates | None = None
        self._used_words: HeadRows | None = None  # rows of the output layer, while only these are trained

    @property
    def has_token_types(self) -> bool:
        """Whether the model distinguishes segments."""
        return has_token_types(self.model)

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        names = ["input_ids", "attention_mask"] + (["token_type_ids"] if self.has_token_types else [])
        if _is_full_on_gpu(batch) and self.model.config.model_type not in xlnet.TYPES:
            names.remove("attention_mask")  # fused attention is faster without it, and checking it would synchronize
        return {name: batch[name] for name in names if name in batch}

    def scoring_batch(self, encoded: Encoded, rows: Array, pad_id: int) -> dict[str, Array]:
        batch, _ = pad_rows(encoded, rows, pad_id)
        places = {"rows": np.arange(len(rows)), "positions": encoded.mask_position[rows]}
        return batch | places | {"lengths": encoded.ids.lengths[rows]}

    def batch_maker(
        self, tokenizer: PreTrainedTokenizerBase, probability: float, generator: np.random.Generator
    ) -> BatchMaker:
        """Batches contain labeled rows, then unlabeled rows with hidden tokens; the encoder sees all at once.

        ``rows`` and ``positions`` locate the masks of the labeled rows, then the hidden tokens of the unlabeled
        rows; ``targets`` are the hidden tokens.
        """
        pad_id = padding_id(tokenizer)
        special = [int(i) for i in tokenizer.all_special_ids]
        vocabulary = ordinary_vocabulary(int(self.model.config.vocab_size), special)
        rule = MaskingRule(int(tokenizer.mask_token_id), vocabulary, probability)

        def make(labeled: Encoded, chosen: Array, unlabeled: Encoded | None) -> dict[str, Array]:
            batch, ordinary = _join(labeled, chosen, unlabeled, pad_id)
            rows, positions = np.arange(len(chosen)), labeled.mask_position[chosen]
            targets = np.zeros(0, dtype=np.int64)
            if unlabeled is not None:
                ids, hidden, places, targets = hide_tokens(batch["input_ids"], ordinary, rule, generator)
                batch["input_ids"] = ids
                rows, positions = np.concatenate([rows, hidden]), np.concatenate([positions, places])
            lengths = batch["attention_mask"].sum(axis=1)
            return batch | {"rows": rows, "positions": positions, "targets": targets, "lengths": lengths}

        return make

    def rows_per_text(self, pvp: PVP) -> int:
        """Number of rows that a text takes: one for each distinct number of tokens of a label word."""
        return len(plan_masks(pvp.before).sizes if pvp.choices is None else pvp.choices.keys)

    def choice_logits(self, batch: Batch, pvp: PVP) -> Iterable[Tensor]:
        choices = batch[CHOICES]
        masks = spread_masks(batch, batch["positions"][: len(choices)], choices)
        features = self.features(masks, masks["rows"], masks["positions"])
        return (self.project(part, None) for part in features.split(_VOCABULARIES))

    def word_scores(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        if pvp.choices is not None:
            return self.choice_scores(batch, pvp, pvp.choices)
        if plan_masks(pvp.before).is_single:
            return self.word_logits(batch, batch["rows"], batch["positions"], words)
        return self.log_probabilities(batch, words, pvp)

    def log_probabilities(self, batch: Batch, words: Tensor, pvp: PVP) -> Tensor:
        if pvp.choices is not None:
            return self.choice_scores(batch, pvp, pvp.choices)
        plan = plan_masks(pvp.before)
        masks = repeat_masks(batch, batch["positions"], plan.sizes)
        features = self.features(masks, masks["rows"], masks["positions"])
        logits = (self.project(part, None) for part in features.split(_VOCABULARIES))
        found = _tokens_at(torch.cat([_log_probabilities(part, words) for part in logits]), plan)
        if pvp.multi_token == TOGETHER:
            return found
        return score_in_turn(
            batch, found, words, plan, self._log_probability, confident=pvp.multi_token != LEFT_TO_RIGHT
        )

    @contextmanager
    def words_of_training(self, tokens: Array, decay: float, pvp: PVP) -> Iterator[None]:
        # Words of several tokens, and those that come with each text, are compared with the whole vocabulary.
        if pvp.choices is not None or not plan_masks(pvp.before).is_single:
            yield
            return
        with self.used_words(np.concatenate([tokens, pvp.words]), decay):
            yield

    @contextmanager
    def used_words(self, tokens: Array, decay: float) -> Iterator[None]:
        """Inside the block, only the word embeddings of these tokens exist; see `only_used_words`."""
        if self._find_head is None:
            yield
            return
        output, _ = self.output_embedding()
        tied = output is getattr(self.model.get_input_embeddings(), "weight", None)
        with only_used_words(self.model, tokens, decay, output) as used:
            self._used_words = used.as_output if tied and used is not None else None
            try:
                yield
            finally:
                self._used_words = None

    def training_pass(self, batch: Batch, words: Tensor, pvp: PVP) -> tuple[Tensor, Tensor | None]:
        plan, targets = plan_masks(pvp.before), batch["targets"]
        if pvp.choices is not None:
            return self.choice_scores(batch, pvp, pvp.choices), self._hidden_loss(batch)
        if not plan.is_single:
            batch = _repeat_labeled(batch, plan)
        features = self.features(batch, batch["rows"], batch["positions"])
        if plan.is_single and not len(targets):
            return self.project(features, words), None
        # One product for both losses: two would each have a gradient as large as the whole vocabulary.
        logits = self.project(features, None)
        labeled = len(logits) - len(targets)
        if plan.is_single:
            scores = logits[:labeled][:, words]
        else:
            scores = _tokens_at(_log_probabilities(logits[:labeled], words), plan)
        return scores, F.cross_entropy(logits[labeled:].float(), targets) if len(targets) else None

    def _hidden_loss(self, batch: Batch) -> Tensor | None:
        """Return the auxiliary loss of the unlabeled rows, which follow the labeled ones, or None without any."""
        targets = batch["targets"]
        if not len(targets):
            return None
        labeled = len(batch["rows"]) - len(targets)
        names = ("input_ids", "attention_mask", "token_type_ids", "lengths")
        unlabeled = {name: batch[name][labeled:] for name in names if name in batch}
        rows, positions = batch["rows"][labeled:] - labeled, batch["positions"][labeled:]
        return F.cross_entropy(self.word_logits(unlabeled, rows, positions, None).float(), targets)

    def _log_probability(self, batch: Batch, rows: Tensor, positions: Tensor, tokens: Tensor) -> Tensor:
        """Return the log-probability of one token at each of N positions: shape (N,)."""
        features = self.features(batch, rows, positions)
        parts = zip(features.split(_VOCABULARIES), tokens.split(_VOCABULARIES), strict=True)
        return torch.cat([-F.cross_entropy(self.project(f, None).float(), t, reduction="none") for f, t in parts])

    def word_logits(self, batch: Batch, rows: Tensor, positions: Tensor, words: Tensor | None) -> Tensor:
        """Return the logits of some words at some positions.

        Parameters
        ----------
        batch : ``input_ids``, ``attention_mask`` and optionally ``token_type_ids``, each of shape (B, T)
        rows, positions : int64 tensors of shape (N,), locating N tokens
        words : int64 tensor of shape (W,), or None for the whole vocabulary

        Returns
        -------
        float tensor of shape (N, W)
        """
        return self.project(self.features(batch, rows, positions), words)

    def features(self, batch: Batch, rows: Tensor, positions: Tensor) -> Tensor:
        """Return the inputs of the output embedding at N positions: shape (N, D)."""
        if self._find_head is None:
            return self._logits_at(self._inputs(batch), rows, positions)
        transform, _, _ = self._find_head(self.model)
        return transform(self._hidden(batch, rows, positions))

    def _hidden(self, batch: Batch, rows: Tensor, positions: Tensor) -> Tensor:
        """Return the last layer's hidden states at N positions: shape (N, D)."""
        inputs, base = self._inputs(batch), self.model.base_model
        if self.engine is not None and torch.equal(rows, torch.arange(len(inputs["input_ids"]))):
            return self.engine(inputs, positions)
        if self.model.config.model_type in xlnet.TYPES:
            return xlnet.permuted_features(base, inputs, rows, positions)
        if self._layers is not None and rows.device.type == "cpu":
            return packed_features(base, self._layers, inputs, rows, positions)
        if self._layers is not None and "lengths" in batch:
            return packed_features_on_gpu(base, self._layers, inputs, batch["lengths"], rows, positions)
        hidden: Tensor = base(**inputs)[0]
        return hidden[rows, positions]

    def _logits_at(self, inputs: Batch, rows: Tensor, positions: Tensor) -> Tensor:
        """Run a model with an unknown head, which gets only the hidden states at N positions if that is possible."""
        base, is_cut = self.model.base_model, False

        def cut(_module: Any, _inputs: Any, output: Any) -> Any:
            nonlocal is_cut
            hidden = getattr(output, "last_hidden_state", None)
            if hidden is not None:
                output["last_hidden_state"], is_cut = hidden[rows, positions][None], True
            return output

        handle = base.register_forward_hook(cut)
        try:
            logits: Tensor = self.model(**inputs, return_dict=True).logits
        finally:
            handle.remove()
        return logits[0] if is_cut else logits[rows, positions]

    def output_embedding(self) -> tuple[Tensor, Tensor | None]:
        """Return the output embedding, shape (V, D), and its bias, for families with a known head."""
        if self._find_head is None:
            raise ValueError(f"the output layer of {self.model.config.model_type} is unknown")
        _, weight, bias = self._find_head(self.model)
        return weight, bias

    def project(self, features: Tensor, words: Tensor | None) -> Tensor:
        """Compute the logits of some or all words from features: shape (N, W)."""
        if self._find_head is None:
            return features if words is None else features[:, words]
        _, weight, bias = self._find_head(self.model)
        if words is not None:
            weight = weight[words] if self._used_words is None else self._used_words(words)
            bias = None if bias is None else bias[words]
        return F.linear(features, weight, bias)


def _log_probabilities(logits: Tensor, words: Tensor) -> Tensor:
    """Return the log-probabilities of words, given the logits of the vocabulary: shape (N, W)."""
    return F.log_softmax(logits.float(), dim=-1)[:, words]


def _tokens_at(scores: Tensor, plan: MaskPlan) -> Tensor:
    """Select the score of each token at its own mask.

    Parameters
    ----------
    scores : of all tokens at all masks, shape (N, W); the masks are in the order of `MaskPlan.places`
    plan : the plan of the words

    Returns
    -------
    float tensor of shape (B, W)
    """
    places = plan.places(len(scores) // sum(plan.sizes), scores.device)
    return scores.gather(0, places)


def _repeat_labeled(batch: Batch, plan: MaskPlan) -> dict[str, Tensor]:
    """Repeat the labeled rows of a training batch with each number of masks; the unlabeled ones stay as they are."""
    labeled = len(batch["rows"]) - len(batch["targets"])
    unlabeled = len(batch["input_ids"]) - labeled
    masks = repeat_masks(batch, batch["positions"][:labeled], plan.sizes, unlabeled)
    hidden = batch["rows"][labeled:] + (len(plan.sizes) - 1) * labeled
    places = {
        "rows": torch.cat([masks["rows"], hidden]),
        "positions": torch.cat([masks["positions"], batch["positions"][labeled:]]),
    }
    return {**batch, **masks, **places}


def _is_full_on_gpu(batch: Batch) -> bool:
    """Whether a batch on a GPU is known to have no padding."""
    ids, lengths = batch["input_ids"], batch.get("lengths")
    return ids.device.type != "cpu" and lengths is not None and bool((lengths == ids.shape[1]).all())


def _join(labeled: Encoded, chosen: Array, unlabeled: Encoded | None, pad_id: int) -> tuple[dict[str, Array], Array]:
    """Return labeled and unlabeled rows in one padded batch."""
    batch, ordinary = pad_rows(labeled, chosen, pad_id)
    ordinary[:] = False  # the auxiliary loss hides nothing in labeled rows
    if unlabeled is None:
        return batch, ordinary
    other, other_ordinary = pad_rows(unlabeled, np.arange(len(unlabeled)), pad_id)
    width = max(ordinary.shape[1], other_ordinary.shape[1])

    def stack(top: Array, bottom: Array, fill: int) -> Array:
        parts = [np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=fill) for a in (top, bottom)]
        return np.concatenate(parts)

    fills = {"input_ids": pad_id, "attention_mask": 0, "token_type_ids": 0}
    joined = {name: stack(batch[name], other[name], fill) for name, fill in fills.items()}
    return joined, stack(ordinary, other_ordinary, 0).astype(bool)


def check_length(model: PreTrainedModel, max_length: int, name: str) -> None:
    """Check that rows are no longer than the model's position embeddings allow.

    Raises
    ------
    PetError
        If `max_length` exceeds the limit.
    """
    limit = position_limit(model)
    if max_length > limit:
        raise PetError(f"model {name} has {limit} positions, but --max-length is {max_length}; lower --max-length")
