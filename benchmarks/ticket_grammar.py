"""Hand-written parts of texts: random choices, a small grammar, and the registers that people write in."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

FORMS = {"I": "we", "I'm": "we're", "I've": "we've", "I'd": "we'd", "I am": "we are"}
FORMS |= {"my": "our", "My": "Our", "me": "us", "am": "are", "was": "were"}
Item = TypeVar("Item")

# ---- random choices ----------------------------------------------------------------------------


@dataclass
class Chance:
    """Random choices that are the same in all versions of Python."""

    seed: int
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def happens(self, probability: float) -> bool:
        return self._random.random() < probability

    def below(self, count: int) -> int:
        return int(self._random.random() * count)

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def weighted(self, weights: dict[str, float]) -> str:
        point = self._random.random() * sum(weights.values())
        for name, weight in weights.items():
            point -= weight
            if point < 0:
                return name
        return name

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        rest, order = list(items), []
        while rest:
            order.append(rest.pop(self.below(len(rest))))
        return order


# ---- the grammar -------------------------------------------------------------------------------


def read_parts(path: Path) -> dict[str, list[str]]:
    """Read the lists of parts: name -> parts."""
    lists: dict[str, list[str]] = {}
    parts: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            parts = lists.setdefault(line[3:], [])
        elif line and not line.startswith("# "):
            parts.append(line)
    return lists


@dataclass
class Speaker:
    """Whoever writes a ticket: fills in the parts, and always in the same way.

    Attributes
    ----------
    lists : what `read_parts` returns
    chance : for choices
    many : True if a company writes ("we"), False for one person ("I")
    """

    lists: dict[str, list[str]]
    chance: Chance
    many: bool
    _said: dict[str, str] = field(default_factory=dict)

    def say(self, part: str) -> str:
        """Return a part with its choices made and its names filled in."""
        while "[" in part:
            part = re.sub(r"\[([^\[\]]*)\]", lambda found: self.chance.pick(found[1].split("|")), part)
        while "{" in part:
            part = re.sub(r"\{([^{}]*)\}", lambda found: self._named(found[1]), part)
        return re.sub("@", lambda _: str(1 + self.chance.below(9)), part)

    def _named(self, name: str) -> str:
        if name in FORMS:
            return FORMS[name] if self.many else name
        if name not in self._said:
            self._said[name] = self._new(name)
        return self._said[name]

    def _new(self, name: str) -> str:
        lower = name[0].lower() + name[1:]
        if lower != name:  # at the start of a sentence
            value = self.say("{" + lower + "}")
            return value[0].upper() + value[1:]
        taken = set(self._said.values())
        values = [value for value in self.lists[name.rstrip("2")] if value not in taken]
        return self.say(self.chance.pick(values))


def is_plural(part: str, chance: Chance) -> bool:
    """Return True if a ticket with this part is written by a company."""
    plain = re.sub(r"\{[^{}]*\}", "", part)
    if re.search(r"\b(I|my|me|mine|myself)\b|\bI'", plain):
        return False
    return bool(re.search(r"\b([Ww]e|[Oo]ur|us)\b", plain)) or chance.happens(0.25)


# ---- registers ---------------------------------------------------------------------------------

FULL = {"won't": "will not", "can't": "cannot", "n't": " not", "I'm": "I am", "'ve": " have", "'re": " are"}
FULL |= {"'ll": " will", "it's": "it is", "It's": "It is", "what's": "what is", "there's": "there is"}
SLANG = {"please": "pls", "Please": "pls", "you": "u", "are": "r", "because": "bc", "tomorrow": "tmrw"}
SLANG |= {"though": "tho", "and": "n", "about": "abt", "thanks": "thx", "minutes": "min"}


def formal(text: str, chance: Chance) -> str:
    """Write contractions in full."""
    for short, full in FULL.items():
        text = re.sub(rf"(?<![A-Z]){re.escape(short)}\b" if short[0] == "'" else re.escape(short), full, text)
    return text


def loose(text: str, chance: Chance) -> str:
    """Write as on a phone: without capitals or apostrophes, in short forms, and with typos."""
    if chance.happens(0.65):
        text = text.lower()
    if chance.happens(0.6):
        text = text.replace("'", "")
    if chance.happens(0.3):
        text = text.rstrip(".")
    if chance.happens(0.3):
        words = [SLANG.get(word, word) if chance.happens(0.5) else word for word in text.split(" ")]
        text = " ".join(words)
    if chance.happens(0.2):
        text = re.sub(r"\. ", lambda _: chance.pick([" ", ", ", "... ", ". "]), text)
    return mistyped(text, chance, 1 + chance.below(3)) if chance.happens(0.6) else text


def plain(text: str, chance: Chance) -> str:
    """Leave the text as it is, except for a typo now and then."""
    return mistyped(text, chance, 1) if chance.happens(0.15) else text


def angry(text: str, chance: Chance) -> str:
    """Raise the voice somewhere."""
    if chance.happens(0.4):
        text = re.sub(r"(?<!R)\.(?= |$)", lambda _: chance.pick([".", "!", "!!"]), text)
        text = re.sub(r"\?(?= |$)", lambda _: chance.pick(["?", "??"]), text)
    if chance.happens(0.3):
        loud = re.compile(r"\b(?<!Hi )(not|never|nothing|again|still|please|Please|every|nobody|always|twice|all)\b")
        text = loud.sub(lambda found: found[0].upper(), text, count=1)
    return plain(text, chance)


STYLES: dict[str, Callable[[str, Chance], str]] = {"formal": formal, "plain": plain, "loose": loose, "angry": angry}


def mistyped(text: str, chance: Chance, count: int) -> str:
    """Misspell some of the longer words."""
    words = text.split(" ")
    places = [place for place, word in enumerate(words) if len(word) > 4 and word.isalpha() and word[0].islower()]
    for place in chance.shuffled(places)[: min(count, 1 + len(words) // 8)]:
        word = words[place]
        spot = 1 + chance.below(len(word) - 2)
        words[place] = chance.pick(
            [
                word[:spot] + word[spot + 1] + word[spot] + word[spot + 2 :],
                word[:spot] + word[spot + 1 :],
                word[:spot] + word[spot] + word[spot:],
            ]
        )
    return " ".join(words)
