"""Pattern-exploiting training as the research code computes it: the baseline of the speed benchmarks.

Written from the formulas (arXiv 2001.07676, 2009.07118), without any code of the package. Each example is tokenized
by itself and padded to a fixed length, the model computes the logits of every token over the whole vocabulary, and
all examples are objects in one list. Supports only plain patterns (``{field}``, ``{mask}``, ``||``) and fast
tokenizers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LENGTH = 256
WARMUP = 0.1  # share of the updates in which the learning rate rises; after that it falls to 0
IGNORED = -100  # target that cross_entropy skips


@dataclass
class Example:
    """A filled pattern or a text, padded."""

    input_ids: list[int]
    attention_mask: list[int]
    token_type_ids: list[int]
    mask: int  # position of the mask token
    special: list[bool]  # special tokens, the mask and padding: never hidden


def fill(pattern: str, fields: Mapping[str, str], tokenizer: Any, length: int = LENGTH) -> Example:
    """Fill a pattern with a text. The longest field loses its last tokens until everything fits."""
    texts, spans = [], []
    for number, segment in enumerate(pattern.split("||")):
        text = ""
        for piece in re.split(r"(\{\w+\})", segment.strip()):
            if piece == "{mask}":
                piece = tokenizer.mask_token
            elif piece.startswith("{"):
                piece = fields[piece[1:-1]].strip()
                spans.append((number, len(text), len(text) + len(piece)))
            text += piece
        texts.append(text)
    encoded = tokenizer(*texts, return_offsets_mapping=True, return_token_type_ids=True, verbose=False)
    places = list(zip(encoded.sequence_ids(), encoded["offset_mapping"], strict=True))
    of_field = [
        [i for i, (segment, (_, end)) in enumerate(places) if segment == number and start < end <= stop]
        for number, start, stop in spans
    ]
    dropped: set[int] = set()
    while len(places) - len(dropped) > length:
        longest = max(range(len(of_field)), key=lambda field: (len(of_field[field]), field))
        dropped.add(of_field[longest].pop())
    kept = [i for i in range(len(places)) if i not in dropped]
    ids = [encoded["input_ids"][i] for i in kept]
    padding = length - len(ids)
    special = [i in tokenizer.all_special_ids for i in ids]
    return Example(
        ids + [tokenizer.pad_token_id] * padding,
        [1] * len(ids) + [0] * padding,
        [encoded["token_type_ids"][i] for i in kept] + [0] * padding,
        ids.index(tokenizer.mask_token_id),
        special + [True] * padding,
    )


def word_id(word: str, tokenizer: Any) -> int:
    """Return the token id of a word within a sentence."""
    before = tokenizer("It was", add_special_tokens=False)["input_ids"]
    ids = tokenizer(f"It was {word}", add_special_tokens=False)["input_ids"][len(before) :]
    if len(ids) != 1:
        raise ValueError(f"{word!r} is not a single token")
    return int(ids[0])


def word_ids(words: Mapping[str, Sequence[str]], labels: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Return the token ids of each label's words."""
    return [[word_id(word, tokenizer) for word in words[label]] for label in labels]


def _inputs(model: Any, examples: Sequence[Example]) -> dict[str, Tensor]:
    names = ["input_ids", "attention_mask"]
    if int(getattr(model.config, "type_vocab_size", 0) or 0) > 1:
        names.append("token_type_ids")
    return {name: torch.tensor([getattr(example, name) for example in examples]) for name in names}


def _label_scores(logits: Tensor, examples: Sequence[Example], words: Sequence[Sequence[int]]) -> Tensor:
    """Compute the mean raw logit of each label's words at the mask: shape (B, L)."""
    at_mask = logits[torch.arange(len(examples)), torch.tensor([example.mask for example in examples])]
    return torch.stack([at_mask[:, list(ids)].mean(dim=1) for ids in words], dim=1)


def score(model: Any, examples: Sequence[Example], words: Sequence[Sequence[int]], batch_size: int = 8) -> Tensor:
    """Compute the label scores of all examples: float32, shape (rows, L)."""
    model.eval()
    scores = []
    with torch.no_grad():
        for start in range(0, len(examples), batch_size):
            part = examples[start : start + batch_size]
            scores.append(_label_scores(model(**_inputs(model, part)).logits, part, words))
    return torch.cat(scores)


def _hide(
    inputs: dict[str, Tensor], examples: Sequence[Example], tokenizer: Any, probability: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Choose 15% of the ordinary tokens: 80% become the mask, 10% a random token, 10% stay."""
    ids = inputs["input_ids"].clone()
    ordinary = ~torch.tensor([example.special for example in examples])
    chosen = ordinary & (torch.rand(ids.shape) < probability)
    targets = torch.where(chosen, ids, IGNORED)
    fate = torch.rand(ids.shape)
    ids[chosen & (fate < 0.8)] = tokenizer.mask_token_id
    random = chosen & (fate >= 0.8) & (fate < 0.9)
    ids[random] = torch.randint(len(tokenizer), ids.shape)[random]
    return {**inputs, "input_ids": ids}, targets


def loss(
    model: Any,
    labeled: Sequence[Example],
    labels: Sequence[int],
    unlabeled: Sequence[Example],
    words: Sequence[Sequence[int]],
    tokenizer: Any,
    alpha: float = 1e-4,
    probability: float = 0.15,
) -> Tensor:
    """Compute (1 - alpha) * L_CE + alpha * L_MLM of a micro-batch, or L_CE without unlabeled texts."""
    scores = _label_scores(model(**_inputs(model, labeled)).logits, labeled, words)
    cross_entropy = F.cross_entropy(scores, torch.tensor(labels))
    if not unlabeled:
        return cross_entropy
    hidden, targets = _hide(_inputs(model, unlabeled), unlabeled, tokenizer, probability)
    logits = model(**hidden).logits
    mlm = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    return (1 - alpha) * cross_entropy + alpha * mlm


def training_step(model: Any, optimizer: torch.optim.Optimizer, *batch: Any, **options: Any) -> float:
    """Update all weights once. The arguments are those of `loss`, after the model."""
    model.train()
    return _update(model, optimizer, loss(model, *batch, **options))


def _update(model: Any, optimizer: torch.optim.Optimizer, value: Tensor) -> float:
    value.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(value.detach())


def make_optimizer(model: Any) -> torch.optim.AdamW:
    """Make AdamW with weight decay on matrices only."""
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )


def set_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    """Set the learning rate of a step, counted from 0: linear warmup, then linear decay."""
    rising = round(WARMUP * steps)
    share = (step + 1) / (rising + 1) if step < rising else (steps - step) / (steps - rising)
    for group in optimizer.param_groups:
        group["lr"] = peak * share


def merge(scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Average the members' raw scores, weighted by the accuracy of their patterns before training."""
    if not sum(weights):
        weights = [1.0] * len(scores)
    return sum((w * s for w, s in zip(weights, scores, strict=True)), torch.zeros(())) / sum(weights)


def read(text: str, tokenizer: Any, length: int = LENGTH) -> Example:
    """Tokenize and pad a text for a classifier."""
    encoded = tokenizer(
        text, truncation=True, max_length=length, padding="max_length", return_token_type_ids=True, verbose=False
    )
    return Example(encoded["input_ids"], encoded["attention_mask"], encoded["token_type_ids"], 0, [])


def classify(model: Any, examples: Sequence[Example], batch_size: int = 8) -> Tensor:
    """Compute the logits of a classifier: shape (rows, L)."""
    model.eval()
    with torch.no_grad():
        parts = [examples[i : i + batch_size] for i in range(0, len(examples), batch_size)]
        return torch.cat([model(**_inputs(model, part)).logits for part in parts])


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Compute T^2 / B * sum of KL(softmax(teacher / T) || softmax(student / T)) from logits of shape (B, L)."""
    p = torch.softmax(teacher / temperature, dim=1)
    log_q = torch.log_softmax(student / temperature, dim=1)
    return temperature**2 * (p * (p.log() - log_q)).sum(dim=1).mean()


def distillation_step(
    model: Any, optimizer: torch.optim.Optimizer, examples: Sequence[Example], teacher: Tensor, temperature: float = 2.0
) -> float:
    """Update a student once. The teacher's logits have shape (B, L)."""
    model.train()
    student = model(**_inputs(model, examples)).logits
    return _update(model, optimizer, distillation_loss(student, teacher, temperature))
