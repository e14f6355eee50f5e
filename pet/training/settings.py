"""Settings for training: the optimizer, members, the student and the supervised classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pet.settings import Settings, setting

WORDS, WEIGHTED, LEARNED, PROTOTYPE = "words", "weighted", "learned", "prototype"  # verbalizers
CROSS_ENTROPY, HINGE = "cross-entropy", "hinge"  # losses of a member
NOT_ORDERED = "student_loss=ordinal requires labels in an order; if those of the task are, add `ordered: true` to it"
NOMINAL, ORDINAL = "kl", "ordinal"  # losses of a student
UNWEIGHTED, BALANCED = "none", "balanced"  # weights of the labels
MOST_STEPS = 10**7
MOST_TEXTS = 10**5  # in a batch


@dataclass(frozen=True)
class OptimizerSettings(Settings):
    """AdamW and its learning rate schedule, for everything that is trained."""

    title: ClassVar[str] = "Optimizer"

    weight_decay: float = setting(
        0.01, "weight decay of matrices; biases and normalization weights have none", low=0, high=1
    )
    adam_epsilon: float = setting(1e-8, "epsilon of AdamW; below 1e-12, an update could divide by 0", low=1e-12, high=1)
    warmup: float = setting(0.1, "fraction of the steps during which the learning rate rises", low=0, high=1)
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm", low=0, high=1e6)


@dataclass(frozen=True)
class MemberSettings(Settings):
    """How members are trained."""

    title: ClassVar[str] = "Members"

    repetitions: int = setting(1, "members per pattern", low=1, high=1000)
    learning_rate: float = setting(
        0.0,
        "peak learning rate of members; 0 selects it by model size (5e-5 up to 60 million parameters, 2e-5 up to 200 "
        "million, 1e-5 above), by `tuning` (10 to 30 times as much for methods other than `full`), and by the number "
        "of labels (up to 4 times as much with more than 10)",
        low=0,
        high=1,
    )
    steps: int = setting(
        60,
        "training steps of a member with up to 32 labeled texts; unless it is given, it grows with the power 0.6 of "
        "their number",
        low=0,
        high=MOST_STEPS,
    )
    min_epochs: float = setting(
        1.0, "train members for at least this many passes over their texts; 0 if `steps` is given", low=0, high=1e4
    )
    labeled_batch: int = setting(8, "labeled texts per micro-batch", low=1, high=MOST_TEXTS)
    unlabeled_batch: int = setting(
        0, "unlabeled texts per micro-batch, for the auxiliary MLM loss; 0 turns the loss off", low=0, high=MOST_TEXTS
    )
    accumulation: int = setting(1, "micro-batches per step of a member", low=1, high=MOST_TEXTS)
    loss: str = setting(
        CROSS_ENTROPY,
        "loss of a member: cross-entropy over the labels, or hinge (each wrong label must score 1 less than the right "
        "one)",
        choices=(CROSS_ENTROPY, HINGE),
    )
    class_weight: str = setting(
        UNWEIGHTED,
        "weight of the labels in the loss of members: none (each text counts the same), or balanced (each label counts "
        "the same, however few texts it has)",
        choices=(UNWEIGHTED, BALANCED),
    )
    balanced_batches: bool = setting(
        False,
        "draw the texts of each micro-batch of a member from all labels in turn, so that rare labels come up often",
    )
    verbalizer: str = setting(
        WORDS,
        "how a member scores labels at the mask: words (the mean of the label's words), weighted (the words, each with "
        "a weight that is trained), learned (a vector per label that starts as its words and is trained) or prototype "
        "(similarity to a prototype per label, trained by contrast); patterns of the task file may name their own; "
        "untrained patterns always use the words",
        choices=(WORDS, WEIGHTED, LEARNED, PROTOTYPE),
    )
    even_start: bool = setting(
        True,
        "before a member is trained, subtract what its pattern prefers whatever the text, so that its mean prediction "
        "for the labeled texts is their label shares; false with more than 10 labels",
    )
    pattern_labels: int = setting(
        200,
        "members also learn from this many unlabeled texts, with the labels that the untrained patterns are surest of, "
        "and as often as from the labeled ones; 400 with --method ipet and --effort high; 0 with more than 10 "
        "labels, or if a classifier on embeddings or words learns more from the labeled texts than the patterns know",
        low=0,
        high=10**6,
    )
    pattern_share: float = setting(
        0.4,
        "members learn from this fraction of the texts that untrained patterns label, those with the surest labels, "
        "and so from at most this fraction of the unlabeled texts; 0.2 with --method ipet and --effort high",
        low=0.001,
        high=1,
    )
    alpha: float = setting(1e-4, "weight of the auxiliary MLM loss", low=0, high=1)
    mlm_probability: float = setting(0.15, "fraction of tokens masked for the auxiliary MLM loss", low=0, high=1)

    @property
    def weights_labels(self) -> bool:
        """Whether every label counts the same, however few texts it has."""
        return self.class_weight == BALANCED

    def updates(self, rows: int) -> int:
        """Return the number of steps of a member that learns from this many texts.

        Examples
        --------
        >>> MemberSettings().updates(10), MemberSettings().updates(1000)
        (60, 125)
        """
        return max(self.steps, math.ceil(self.min_epochs * rows / (self.labeled_batch * self.accumulation)))


@dataclass(frozen=True)
class ContinuedSettings(Settings):
    """How the model is pretrained further before members are trained (``--method pcp``)."""

    title: ClassVar[str] = "Continued pretraining"

    steps: int = setting(
        200, "training steps on filled patterns, before members are trained", low=1, high=MOST_STEPS, name="pcp_steps"
    )
    batch: int = setting(16, "texts per step of continued pretraining", low=1, high=MOST_TEXTS, name="pcp_batch")
    word_share: float = setting(
        0.5, "fraction of the texts whose label word is hidden and predicted", low=0, high=1, name="pcp_word_share"
    )


@dataclass(frozen=True)
class StudentSettings(Settings):
    """How the student is distilled."""

    title: ClassVar[str] = "Student"

    temperature: float = setting(2.0, "temperature of the distillation", low=1e-3, high=1000)
    loss: str = setting(
        NOMINAL,
        "loss of the distillation: kl (a wrong label is wrong, whichever it is) or ordinal (for tasks with `ordered: "
        "true`: labels farther from the right one cost more)",
        choices=(NOMINAL, ORDINAL),
        name="student_loss",
    )
    learning_rate: float = setting(
        0.0,
        "peak learning rate of the student and the supervised classifier; 0: four times that of members of this model "
        "size, because their output layer is new",
        low=0,
        high=1,
        name="student_learning_rate",
    )
    steps: int = setting(
        100,
        "training steps of the student; unless it is given, up to three times as many with more than 10 labels",
        low=0,
        high=MOST_STEPS,
        name="student_steps",
    )
    rounds: int = setting(
        3,
        "most trainings of the student: it is trained again while, judging by its soft labels, it is more than 5% "
        "less accurate than they are; 1 if `student_steps` is given",
        low=1,
        high=100,
        name="student_rounds",
    )
    batch: int = setting(16, "texts per micro-batch of the student", low=1, high=MOST_TEXTS, name="student_batch")
    accumulation: int = setting(
        1, "micro-batches per step of the student", low=1, high=MOST_TEXTS, name="student_accumulation"
    )
    start: str = setting(
        "member",
        "weights that the student starts from: member (those of the member that agrees most with the soft labels, if "
        "the student is the same model, and an output layer fitted to the soft labels) or new (the pretrained model "
        "and a random output layer)",
        choices=("member", "new"),
        name="student_start",
    )
    fit_bias: bool = setting(
        True,
        "after training, shift the student's scores if it clearly prefers some label, so that it names each label as "
        "often as its soft labels do",
        name="student_fit_bias",
    )
    gold_weight: float = setting(
        0.0,
        "weight of the labeled texts' cross-entropy in the student's loss; unless it is given, 0.2 with more than 10 "
        "labels",
        low=0,
        high=1,
    )


@dataclass(frozen=True)
class SupervisedSettings(Settings):
    """How the classifier of ``--method supervised`` is trained; its learning rate is the student's."""

    title: ClassVar[str] = "Supervised classifier"

    steps: int = setting(
        80,
        "training steps of the supervised classifier with up to 32 labeled texts; unless it is given, it grows with "
        "the power 0.6 of their number",
        low=0,
        high=MOST_STEPS,
        name="supervised_steps",
    )
    batch: int = setting(
        8, "texts per micro-batch of the supervised classifier", low=1, high=MOST_TEXTS, name="supervised_batch"
    )
    accumulation: int = setting(
        1, "micro-batches per step of the supervised classifier", low=1, high=MOST_TEXTS, name="supervised_accumulation"
    )


@dataclass(frozen=True)
class InferenceSettings(Settings):
    """How texts are batched for scoring."""

    title: ClassVar[str] = "Inference"

    tokens: int = setting(
        8192, "tokens per batch for scoring, including padding", low=1, high=10**8, name="inference_tokens"
    )
