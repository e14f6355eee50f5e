"""Settings of `pet adapt`. The command's options are created from the fields and their help."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from pet.errors import PetError
from pet.resources import expand
from pet.settings import Settings, setting
from pet.store.files import plain
from pet.store.outputs import check_new_folder

DOCUMENTS = ("line", "blank", "file")
PRECISIONS = ("auto", "fp32", "bf16")
SAVE_DTYPES = ("fp32", "fp16", "bf16")


class OptionSettings(Settings):
    """Base of the groups: messages name settings as options of the command."""

    @classmethod
    def flat_name(cls, attribute: str) -> str:
        return "--" + attribute.replace("_", "-")


@dataclass(frozen=True)
class TextSettings(OptionSettings):
    """Which text to train on."""

    title: ClassVar[str] = "Text"

    sources: tuple[str, ...] = setting(
        (),
        "A text file, a folder of them, or a table: JSONL, CSV, TSV, Parquet, Arrow, Excel, sqlite:FILE#TABLE, "
        "hub:OWNER/NAME, ... Repeatable.",
        name="--text",
    )
    fields: tuple[str, ...] = setting((), "Column of a table that holds the text. Repeatable.", name="--field")
    document: str = setting(
        "line",
        "What counts as one document of a text file: a line, the text between blank lines, or the file.",
        choices=DOCUMENTS,
    )
    repeat: tuple[str, ...] = setting((), "Read this --text N times in each pass. Repeatable.")
    exclude: tuple[str, ...] = setting((), "Leave out documents that overlap with this file. Repeatable.")
    exclude_words: int = setting(8, "Two texts overlap if they share this many words in a row.", low=1, high=1000)
    held_out: float = setting(0.01, "Share of the documents held out for evaluation.", low=1e-6, high=0.99)
    length: int = setting(128, "Tokens per sequence.", low=1, high=10**6)


@dataclass(frozen=True)
class StartSettings(OptionSettings):
    """The model to start from (and how to shrink it), or the size of a new one."""

    title: ClassVar[str] = "Start"

    model: str | None = setting(None, "Folder or hub name to start from.  [default: mini-en; none with --layers]")
    keep_layers: tuple[int, ...] = setting((), "Keep only these layers, counted from 0.")
    feed_forward: int | None = setting(
        None, "Keep only the N strongest feed-forward units of each layer.", low=1, high=10**6
    )
    vocab: int | None = setting(
        None, "Keep at most N tokens, those that the text uses; from scratch: learn N tokens.", low=1, high=10**7
    )
    keep_words: tuple[str, ...] = setting((), "Words that --vocab must keep.")
    add_words: str | None = setting(
        None,
        "Add whole words that the tokenizer splits: the N most frequent ones of the text, or those of a file "
        "(separated by spaces or line breaks). --vocab counts them. WordPiece only.",
    )
    layers: int | None = setting(None, "From scratch: number of layers.", low=1, high=1000)
    hidden: int | None = setting(None, "From scratch: hidden size.", low=1, high=10**5)
    positions: int = setting(512, "From scratch: longest input, in tokens.", low=16, high=10**6)
    cased: bool = setting(False, "From scratch: distinguish upper and lower case.")

    def problems(self) -> list[str]:
        sizes = [f"--{name}" for name in ("layers", "hidden") if getattr(self, name) is not None]
        if self.model is not None:
            what = f"is for a model from scratch; leave it out, or leave out --model {self.model}"
            return [f"{sizes[0]}: {what}"] if sizes else []
        if len(sizes) < 2 or self.vocab is None:
            return ["name a --model to start from, or give --layers, --hidden and --vocab to start from scratch"]
        if self.keep_layers or self.feed_forward or self.keep_words or self.add_words:
            return [
                "--keep-layers, --feed-forward, --keep-words and --add-words change a checkpoint; name one with --model"
            ]
        return []


@dataclass(frozen=True)
class TrainingSettings(OptionSettings):
    """How to train. Token counts include the special tokens."""

    title: ClassVar[str] = "Training"

    epochs: float | None = setting(
        None, "Passes over the text.  [default: 1 if no other end is given]", low=1e-6, high=1e6
    )
    max_steps: int | None = setting(None, "Stop after N steps.", low=1, high=10**9)
    max_minutes: float | None = setting(
        None, "Stop after X minutes; the learning rate is scheduled to end then.", low=1e-6, high=1e6
    )
    batch_tokens: int = setting(8192, "Tokens per optimizer step, over all processes.", low=1, high=10**9)
    micro_tokens: int = setting(
        8192,
        "Tokens on a device at once, at most; gradients are accumulated over the batch.",
        low=1,
        high=10**9,
    )
    lr: float = setting(5e-4, "Peak learning rate.", low=1e-12, high=1)
    warmup: float = setting(0.06, "Fraction of the training during which the learning rate rises.", low=0, high=0.99)
    head_share: float | None = setting(
        None,
        "Fraction of the training, at its beginning, that trains only a new head.  [default: 0.03 for a new head]",
        low=0,
        high=0.999,
    )
    weight_decay: float = setting(0.01, "Weight decay of matrices.", low=0, high=1)
    clip: float = 1.0  # gradients are clipped to this norm
    dropout: float = setting(0.0, "Dropout; useful if the text is read many times.", low=0, high=0.99)
    mask_rate: float = setting(0.15, "Fraction of the tokens to predict.", low=1e-3, high=0.99)
    whole_word: bool = setting(False, "Mask whole words.")
    checkpoint_minutes: float = setting(
        10.0, "Minutes between checkpoints, each with an evaluation.", low=1e-6, high=1e6
    )
    eval_tokens: int = setting(65536, "Tokens of held-out text to evaluate on.", low=1, high=10**9)
    seed: int = setting(0, "Random seed.", low=0, high=2**63 - 1)
    precision: str = setting(
        "auto",
        "Precision of the arithmetic; auto: bf16 on a GPU that supports it, else fp32.",
        choices=PRECISIONS,
    )

    def sequences_at_once(self, length: int) -> int:
        """Return how many sequences of `length` tokens go through the model at once."""
        return max(1, min(self.micro_tokens, self.batch_tokens) // length)


@dataclass(frozen=True)
class OutputSettings(OptionSettings):
    """Where the model goes and what is saved with it."""

    title: ClassVar[str] = "Output"

    folder: str = setting("", "Folder of the model; it is created at the end.", name="--output")
    overwrite: bool = setting(
        False, "Replace the folder if it exists; the old model is kept until the new one is complete.",
    )  # fmt: skip
    save_dtype: str = setting("fp32", "Data type of the saved weights.", choices=SAVE_DTYPES)
    prompts: tuple[str, ...] = setting(
        (), "Show how the model fills this text with {mask} at the end. Repeatable.", name="--sample"
    )

    @property
    def path(self) -> Path:
        """The folder as an absolute path."""
        return expand(self.folder).absolute()

    @property
    def work(self) -> Path:
        """The folder for what an interrupted training needs to continue."""
        return self.path.with_name(f"{self.path.name}.work")

    def check(self) -> None:
        """Refuse an output folder that exists and may not be replaced, and samples without a mask.

        Raises
        ------
        PetError
        """
        for prompt in self.prompts:
            if prompt.count("{mask}") != 1:
                raise PetError(f"--sample {prompt!r}: must contain {{mask}} once, as in 'It was {{mask}}.'")
        check_new_folder(self.path, force=self.overwrite, replaceable=_is_model, option="--overwrite")


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


@dataclass(frozen=True)
class AdaptSettings:
    """Everything that `pet adapt` is told."""

    text: TextSettings
    start: StartSettings
    training: TrainingSettings
    output: OutputSettings

    def resolved(self) -> dict[str, Any]:
        """Return what the result depends on; a training is continued only with the same."""
        return {"text": asdict(self.text), "start": asdict(self.start), "settings": asdict(self.training)}

    def public(self) -> dict[str, Any]:
        """Return the same as it may be published with a model: without folders."""
        public: dict[str, Any] = plain(self.resolved())
        text, start = public["text"], public["start"]
        for field in ("sources", "exclude"):
            text[field] = [_public_name(place) for place in text[field]]
        repeats = (item.rpartition("=") for item in text["repeat"])
        text["repeat"] = [f"{_public_name(source)}={number}" for source, _, number in repeats]
        for field in ("model", "add_words"):
            start[field] = start[field] and _public_name(start[field])
        return public


def _public_name(place: str) -> str:
    """Return a hub name as it is, and only the last part of a local path."""
    return Path(place).resolve().name if Path(place).exists() else place
