"""Every hyper-parameter in one place, and the named sets of them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any

from pet.errors import PetError


def _setting(default: Any, text: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"help": text, "low": low, "high": high})


TUNINGS = ("full", "lora", "bitfit", "prompt", "p-tuning", "prefix")
_CHOICES = {
    "tuning": TUNINGS,
    "prompt_encoder": ("lstm", "mlp"),
    "prompt_init": ("vocabulary", "labels", "words", "random"),
    "priming_choice": ("random", "balanced", "similar"),
    "prompt_similarity": ("zero-shot", "cosine", "pairs", "neurons"),
    "merge": ("weighted", "uniform"),
    "choice": ("draw", "top"),
    "prior": ("none", "balanced", "labeled"),
}


@dataclass(frozen=True)
class Recipe:
    """How members, students and plain classifiers are trained. Each field carries its own help."""

    max_length: int = _setting(256, "longest input in tokens, the pattern and special tokens included", 8)
    repetitions: int = _setting(1, "members trained for each pattern", 1)
    learning_rate: float = _setting(
        0.0,
        "peak learning rate of members; 0 chooses by the size of the model, 5e-5 up to 60 million parameters, "
        "2e-5 up to 200 million, 1e-5 above, and by `tuning`, 10 to 30 times as much for what is not `full`",
        0,
        1,
    )
    weight_decay: float = _setting(0.01, "decay of matrices (not of biases and normalisation weights)", 0, 1)
    adam_epsilon: float = _setting(1e-8, "epsilon of AdamW", 0, 1)
    warmup: float = _setting(0.1, "share of the steps in which the learning rate rises", 0, 1)
    max_grad_norm: float = _setting(1.0, "gradients are scaled down to this norm", 0)
    steps: int = _setting(40, "updates of a member", 0)
    min_epochs: float = _setting(
        1.0,
        "members get more updates than `steps` where so many passes over their texts need them; 0 if `steps` is given",
        0,
    )
    labeled_batch: int = _setting(8, "labeled texts in a micro-batch", 1)
    unlabeled_batch: int = _setting(4, "unlabeled texts in a micro-batch, for the auxiliary loss; 0 turns it off", 0)
    accumulation: int = _setting(1, "micro-batches in an update of a member", 1)
    alpha: float = _setting(1e-4, "share of the auxiliary loss on unlabeled text", 0, 1)
    mlm_probability: float = _setting(0.15, "share of the tokens that the auxiliary loss hides", 0, 1)
    mean_of_tokens: bool = _setting(
        False, "T5 and causal models: a word of several tokens scores the mean of their log-probabilities, not the sum"
    )
    priming: int = _setting(0, "zero-shot: so many labeled texts stand before each, with their label's word", 0)
    priming_choice: str = _setting(
        "balanced", "priming: random ones, balanced (evenly over the labels), or similar (to the text, by TF-IDF)"
    )
    merge: str = _setting("weighted", "weights of the members: weighted (accuracy before training) or uniform")
    prior: str = _setting(
        "none",
        "correct the merged scores to a class ratio of the pool: none, balanced (all labels as frequent), or "
        "labeled (as in the labeled texts)",
    )
    tuning: str = _setting("full", f"which parameters of a member are trained: {', '.join(TUNINGS)}")
    freeze_layers: int = _setting(
        0, "full, lora, bitfit: the embeddings and so many first layers do not learn; 0: all of them do", 0
    )
    lora_rank: int = _setting(8, "lora: rank of the change of each attention matrix", 1)
    lora_alpha: float = _setting(16.0, "lora: the change is multiplied by lora_alpha / lora_rank", 1e-6)
    lora_dropout: float = _setting(0.1, "lora: dropout of what the change is computed from", 0, 0.99)
    lora_targets: str = _setting(
        "attention",
        "lora: matrices that get a change: attention (queries and values), all, or last parts of names, as in "
        "query,key,output.dense",
    )
    prompt_length: int = _setting(20, "prompt: learned vectors before the text", 1)
    prefix_length: int = _setting(10, "prefix: learned keys and values in every layer", 1)
    prefix_hidden: int = _setting(512, "prefix: width of the network that keys and values come from in training", 1)
    prompt_encoder: str = _setting("lstm", "p-tuning: what the vectors come from in training, lstm or mlp")
    tune_backbone: bool = _setting(False, "p-tuning: the whole model learns, too, and is saved")
    prompt_init: str = _setting(
        "vocabulary",
        "prompt, prefix, p-tuning: what learned vectors start from: vocabulary (frequent words of the texts), labels "
        "(the words of the labels), words (those of `prompt_words`), or random",
    )
    prompt_words: str = _setting("", "the words of prompt_init=words, repeated as often as they are needed")
    prompt_range: float = _setting(0.5, "prompt_init=random draws evenly from minus this number to this number", 1e-9)
    prompt_similarity: str = _setting(
        "zero-shot",
        "--init-prompt similar or mean:K: what prompts are ranked by: zero-shot (accuracy on the labeled texts), or "
        "similarity to a prompt trained on them: cosine (of the mean vectors), pairs (mean cosine of all pairs of "
        "vectors), neurons (overlap of the active ones)",
    )
    query_steps: int = _setting(100, "updates of the prompt that the library's are compared with", 0)
    temperature: float = _setting(2.0, "temperature of the distillation", 1e-3)
    student_learning_rate: float = _setting(
        0.0, "peak learning rate of student and supervised; 0: twice that of members, for the fresh head", 0, 1
    )
    student_steps: int = _setting(200, "updates of the student", 0)
    student_batch: int = _setting(16, "texts in a micro-batch of the student", 1)
    student_accumulation: int = _setting(1, "micro-batches in an update of the student", 1)
    gold_weight: float = _setting(0.0, "share of the labeled texts' cross-entropy in the student's loss", 0, 1)
    supervised_steps: int = _setting(80, "updates of the plain classifier (--method supervised)", 0)
    supervised_batch: int = _setting(8, "texts in a micro-batch of the plain classifier", 1)
    supervised_accumulation: int = _setting(1, "micro-batches in an update of the plain classifier", 1)
    growth: float = _setting(5.0, "iPET: each generation's training set is so many times the one before", 1.01, 1e6)
    enough: int = _setting(1000, "iPET: generations end with a training set of so many texts", 1)
    generations: int = _setting(0, "iPET: rounds of training; 0: as many as take the training set to `enough`", 0, 30)
    first_set: int = _setting(10, "iPET without labeled texts: size of the first training set", 1)
    vote_share: float = _setting(0.25, "iPET: share of the other members that label for one", 0, 1)
    ratio: str = _setting(
        "keep",
        "iPET: ratio of the labels in new examples: keep (as in the labeled texts), balanced, or numbers as in 3,1,1",
    )
    choice: str = _setting(
        "draw",
        "iPET: draw texts in proportion to their confidence, or take the top ones, the most probable of each label",
    )
    confidence_floor: float = _setting(0.0, "iPET: texts that are labeled less surely are never examples", 0, 1)
    soft_targets: bool = _setting(False, "iPET: members learn the others' probabilities in place of their labels")
    calibrate: bool = _setting(False, "iPET: correct the scores that examples are chosen by to the ratio of labels")
    restart: bool = _setting(True, "iPET: each generation starts from the pretrained weights, not from the last one")
    stop_early: bool = _setting(False, "iPET: end when the members do not agree more than in the generation before")
    keep_best: bool = _setting(False, "iPET: the student learns from the generation whose members agree most")
    inference_tokens: int = _setting(8192, "tokens in a batch, padding included, when labeling", 1)

    def __post_init__(self) -> None:
        problems = [text for item in fields(self) for text in _check(item, getattr(self, item.name))]
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
                problems.append(f"{name} is {getattr(self, name)!r}: it can be {listed}")
        if (self.prompt_init == "words") != bool(self.prompt_words.strip()):
            problems.append("prompt_init=words and prompt_words belong together: give both or neither")
        if self.freeze_layers and self.tuning not in ("full", "lora", "bitfit"):
            problems.append(f"freeze_layers goes with --tuning full, lora and bitfit, not with {self.tuning}")
        if problems:
            raise PetError(problems)

    def member_steps(self, rows: int) -> int:
        """Updates of a member that learns from so many texts."""
        return max(self.steps, math.ceil(self.min_epochs * rows / (self.labeled_batch * self.accumulation)))

    @property
    def tunes_backbone(self) -> bool:
        """Whether a member changes the pretrained weights; else it is a few numbers beside them."""
        return self.tuning == "full" or (self.tuning == "p-tuning" and self.tune_backbone)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _check(item: Field[Any], value: Any) -> list[str]:
    low, high = item.metadata["low"], item.metadata["high"]
    if isinstance(value, (str, bool)):
        return []
    if value != value or (low is not None and value < low) or (high is not None and value > high):
        above = f" and at most {high}" if high is not None else ""
        return [f"{item.name} is {value}: it must be at least {low}{above} ({item.metadata['help']})"]
    return []


# Step counts and batches of "paper" are those of arXiv 2001.07676, of "fewglue" those of arXiv 2009.07118.
_PAPER = Recipe(
    learning_rate=1e-5, student_learning_rate=1e-5, repetitions=3, warmup=0.0, min_epochs=0.0,
    steps=1000, labeled_batch=1, unlabeled_batch=3, accumulation=4,
    student_steps=5000, student_batch=4, student_accumulation=4,
    supervised_steps=250, supervised_batch=4, supervised_accumulation=4,
)  # fmt: skip
RECIPES: dict[str, Recipe] = {
    "default": Recipe(),
    "paper": _PAPER,
    "fewglue": replace(
        _PAPER, steps=250, labeled_batch=2, unlabeled_batch=0, accumulation=8,
        student_batch=2, student_accumulation=8, supervised_batch=2, supervised_accumulation=8,
    ),
}  # fmt: skip


def _parse(item: Field[Any], text: Any) -> Any:
    kind: Any = type(item.default)
    if kind is bool:
        return text if isinstance(text, bool) else {"true": True, "false": False}[str(text).lower()]
    if kind is int and isinstance(text, bool):
        raise ValueError("not a number")
    return kind(text) if not isinstance(text, kind) else text


_KINDS: Mapping[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def make_recipe(name: str = "default", settings: Mapping[str, Any] | None = None) -> Recipe:
    """A named recipe with some of its settings changed.

    Parameters
    ----------
    name : one of `RECIPES`
    settings : setting -> value, as text or as its own type

    Returns
    -------
    Recipe
        A frozen dataclass with a field for every hyper-parameter.

    Raises
    ------
    PetError
        Naming every unknown setting (with the nearest known one) and every value that is out of range.
    """
    if name not in RECIPES:
        raise PetError(f"recipe {name!r} is not known; there are {', '.join(RECIPES)}")
    known = {item.name: item for item in fields(Recipe)}
    problems, values = [], {}
    for key, text in (settings or {}).items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            problems.append(f"setting {key!r} is not known; {hint}")
            continue
        try:
            values[key] = _parse(known[key], text)
        except (ValueError, TypeError, KeyError):
            problems.append(f"setting {key} is {text!r}: it must be {_KINDS[type(known[key].default)]}")
    if problems:
        raise PetError(problems)
    if "steps" in values:
        values.setdefault("min_epochs", 0.0)  # a number that is given is that number
    if values.get("tuning", "full") != "full":
        values.setdefault("learning_rate", 0.0)  # a recipe's own is meant for all weights
    return replace(RECIPES[name], **values)


def without_auxiliary_loss(name: str, recipe: Recipe, settings: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe for a run that has no unlabeled text: ``paper`` then takes 250 steps of 4 × 4."""
    given = settings or {}
    changes: dict[str, Any] = {"unlabeled_batch": 0}
    if name == "paper":
        plain = {"steps": 250, "labeled_batch": 4, "accumulation": 4}
        changes |= {key: value for key, value in plain.items() if key not in given}
    return replace(recipe, **changes)


# Few numbers must move far to have the effect that many have together, soft prompts farthest. That of prompts was
# measured (benchmarks/results/transfer.md), the orders of magnitude of the others are those that the papers of the
# methods report; `benchmarks/tuning.py` compares. Behind a network every step moves all vectors at once.
_RATE_FACTORS = {"full": 1, "lora": 10, "bitfit": 20, "prompt": 30, "p-tuning": 20, "prefix": 20}


def learning_rate_for(parameters: int, recipe: Recipe | None = None) -> float:
    """A peak learning rate by the size of the model, small ones need larger steps, and by what of it learns."""
    factor = 1 if recipe is None or recipe.tunes_backbone else _RATE_FACTORS[recipe.tuning]
    if parameters <= 60_000_000:
        return 5e-5 * factor
    return (2e-5 if parameters <= 200_000_000 else 1e-5) * factor


def student_rate_for(parameters: int) -> float:
    """The same for a classifier, whose fresh head learns faster: twice the rate of a member."""
    return 2 * learning_rate_for(parameters)
