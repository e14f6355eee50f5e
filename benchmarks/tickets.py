"""Write the support tickets of data/tickets: six labels, from hand-written parts.

    python benchmarks/tickets.py data/tickets

A ticket has a register (formal, plain, loose or angry), a voice (one person, or a company), and parts from
tickets.txt: the matter itself, and perhaps a greeting, a word about the customer, a detail, something that belongs to
another label, a question, and an ending. Most tickets are about a common matter of their label, which is worded in many
ways; each of the other matters is in only one of the files. The same seed writes the same files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from ticket_grammar import STYLES, Chance, Speaker, is_plural, read_parts

LABELS = ("billing", "refund", "login", "bug", "feature", "cancellation")
PARTS = Path(__file__).with_suffix(".txt")
SIZES = {"train": 40, "pool": 400, "test": 300}
FILES = {"train": "train", "pool": "unlabeled", "test": "test"}
# Label -> the list of details that fit it.
DETAILS = {
    "billing": "money",
    "refund": "money",
    "login": "trouble",
    "bug": "trouble",
    "feature": "wish",
    "cancellation": "contract",
}
REGISTERS = {"formal": 0.17, "plain": 0.45, "loose": 0.26, "angry": 0.12}
SHORT, COMMON = 0.1, 0.85  # shares of tickets of a few words, and of the most common matters
BOUNDS = (4, 60)  # words


def compose(lists: dict[str, list[str]], label: str, matter: str, chance: Chance) -> str:
    """Return a ticket about a matter: a part from the lists of its label."""
    speaker = Speaker(lists, chance, is_plural(matter, chance))
    register = chance.weighted(REGISTERS)
    if matter.startswith("~ "):
        return short(speaker, matter[2:], "loose" if register == "loose" else "plain")
    sentences = [speaker.say(matter)]
    asks = [ask for ask in map(speaker.say, lists[f"{label}.ask"]) if not long_words(ask) & long_words(sentences[0])]
    terse = chance.happens(0.3)
    asked = "?" in sentences[0] or chance.happens(0.5 if terse else 0.2)
    details = lists[f"detail.{DETAILS[label]}"]
    if not terse and chance.happens(0.3):
        context = chance.pick(lists["context"])
        sentences.insert(0, speaker.say(context))
        details = [part for part in details if not ("{team}" in context and "{team}" in part)]
    if not terse and chance.happens(0.45):
        sentences.append(speaker.say(chance.pick(details)))
    if not terse and chance.happens(0.12):
        other = chance.pick([other for other in LABELS if other != label])
        place = 1 if chance.happens(0.25) else len(sentences)
        sentences.insert(place, speaker.say(chance.pick(lists[f"mention.{other}"])))
    if asks and not asked:
        sentences.append(chance.pick(asks))
    if chance.happens({"formal": 0.9, "plain": 0.4, "loose": 0.35, "angry": 0.2}[register]):
        sentences.insert(0, chance.pick(lists["greeting." + ("plain" if register == "angry" else register)]))
    if chance.happens(0.2 if terse else 0.5):
        sentences.append(speaker.say(chance.pick(lists[f"closer.{register}"])))
    return STYLES[register](" ".join(capital(sentence) for sentence in sentences), chance)


def short(speaker: Speaker, matter: str, register: str) -> str:
    """Return a ticket of a few words."""
    chance, text = speaker.chance, speaker.say(matter)
    if chance.happens(0.25):
        link = chance.pick([", ", ". ", " - "]) if text[-1].isalnum() else " "
        text += link + chance.pick(speaker.lists["closer.loose"])
    return STYLES[register](text, chance)


def capital(sentence: str) -> str:
    """Start each sentence of a part with a capital letter, and end a question with its mark.

    Greetings and closers without a final mark stay as they are.
    """
    if not re.search(r"[.?!]$", sentence):
        return sentence
    if re.fullmatch(r"(Can|Could|Would|Will|How|Is|Are|Do) [^.?!]*\.", sentence):
        sentence = f"{sentence[:-1]}?"
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), sentence)


def long_words(text: str) -> set[str]:
    """Return the words that carry meaning, by their length."""
    return set(re.findall(r"\w{5,}", text.lower())) - {"please", "could", "would", "there"}


def shingles(text: str) -> set[str]:
    """Return the pairs of words of a text, to compare it with others."""
    words = re.findall(r"\w+", text.lower())
    return {" ".join(pair) for pair in pairwise(words)} or set(words)


def resembles(text: str, others: Sequence[set[str]], most: float = 0.6) -> bool:
    """Return True if a text shares more than a share of its word pairs with another one."""
    own = shingles(text)
    return any(len(own & other) > most * min(len(own), len(other)) for other in others)


def make_part(lists: dict[str, list[str]], part: str, chance: Chance) -> list[tuple[str, str]]:
    """Return the tickets of one part of the data: text and label, in random order."""
    found: list[tuple[str, str]] = []
    seen: list[set[str]] = []
    for turn, label in enumerate(LABELS):
        count = SIZES[part] // len(LABELS) + (turn < SIZES[part] % len(LABELS))
        matters = lists[f"{label}.{part}"]
        short = [matter for matter in matters if matter.startswith("~")]
        long = [matter for matter in matters if not matter.startswith("~")]
        queue = chance.shuffled(short)[: round(SHORT * count)]
        while len(queue) < round((SHORT + COMMON) * count):
            queue += chance.shuffled(lists[f"{label}.common"])[: round((SHORT + COMMON) * count) - len(queue)]
        while len(queue) < count:
            queue += chance.shuffled(long)[: count - len(queue)]
        for matter in queue:
            text = new_text(lists, label, matter, chance, seen)
            seen.append(shingles(text))
            found.append((text, label))
    return chance.shuffled(found)


def new_text(lists: dict[str, list[str]], label: str, matter: str, chance: Chance, seen: Sequence[set[str]]) -> str:
    """Return a ticket of reasonable length that resembles none of the others, or the least bad of many tries."""
    low, high = BOUNDS
    for most in (0.6, 0.75, 0.9):
        for _ in range(30):
            text = compose(lists, label, matter, chance)
            if low <= len(text.split()) <= high and not resembles(text, seen, most):
                return text
    raise click.ClickException(f"no new ticket for: {matter}")


def rows(part: str, tickets: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the rows of a file, each with an id."""
    return [
        {"id": f"{FILES[part]}-{number:03}", "text": text, "label": label}
        for number, (text, label) in enumerate(tickets)
    ]


def write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=15, show_default=True, help="Random seed.")
def main(folder: Path, seed: int) -> None:
    """Write train.jsonl, unlabeled.jsonl, unlabeled_gold.jsonl and test.jsonl into a folder."""
    lists, chance = read_parts(PARTS), Chance(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for part in SIZES:
        table = rows(part, make_part(lists, part, chance))
        click.echo(f"{FILES[part]}: {dict(Counter(row['label'] for row in table))}")
        if part != "pool":
            write(folder / f"{FILES[part]}.jsonl", table)
            continue
        write(folder / "unlabeled.jsonl", [{"id": row["id"], "text": row["text"]} for row in table])
        write(folder / "unlabeled_gold.jsonl", [{"id": row["id"], "label": row["label"]} for row in table])


if __name__ == "__main__":
    main()
