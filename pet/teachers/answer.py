"""Read the answers of a server, which may be anything."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from pet.cloze.words import whole_word
from pet.errors import PetError
from pet.store.schema import check, list_of, maybe, number, record, text
from pet.teachers.prompt import Prompt

_TOKEN = record({"token": text(10_000), "logprob": number(-1e300, 0.01)})
_TOP = list_of(_TOKEN, 0, 1000)
_SHAPE = record({"choices": list_of(record({"message": record({}, {"content": maybe(text(1 << 20))})}), 1, 100)})
_LOGPROBS = record({"content": list_of(record({"top_logprobs": _TOP}), 1, 1000)})
_USAGE = record({"usage": record({"total_tokens": number(0, 1e9)})})
_CURE = "use another server"
_SIGNS = " \n\r\t\"'*`#.(["  # before an answer
_ALSO_WORDS = re.compile(r"\b[AI](?=[ ’'][^\W\d_])")  # letters that begin a sentence, as in `A refund` and `I'd say C`


class NoLogprobs(Exception):
    """The answer has no log-probabilities."""


def read_logprobs(answer: Any, prompt: Prompt) -> list[float | None]:
    """Return the log-probability of each mark as the first token, None for all if the server names none of them.

    Marks that the server does not name get the smallest log-probability that it does name.

    Parameters
    ----------
    answer : parsed JSON
    prompt : how the teacher was asked

    Raises
    ------
    NoLogprobs
    PetError
        If the answer is not one of the chat API.
    """
    choice = _choice(answer)
    found = choice.get("logprobs")
    if not isinstance(found, dict) or not found.get("content"):
        raise NoLogprobs
    check(found, _LOGPROBS, "the server's answer: logprobs", _CURE)
    top = found["content"][0]["top_logprobs"]
    if not top:
        raise NoLogprobs
    sums: list[float | None] = [None] * len(prompt.marks)
    for entry in top:
        mark = _mark_of_token(entry["token"], prompt)
        if mark is not None:
            before = sums[mark]
            sums[mark] = entry["logprob"] if before is None else _add(before, entry["logprob"])
    if all(value is None for value in sums):
        return sums
    least = min(entry["logprob"] for entry in top)
    return [max(least if value is None else value, -1e4) for value in sums]


def read_vote(answer: Any, prompt: Prompt) -> int | None:
    """Return the place of the mark that an answer begins with, or that it is the only one to contain; else None.

    Raises
    ------
    PetError
        If the answer is not one of the chat API.
    """
    said = (_choice(answer)["message"].get("content") or "")[:2000].strip()
    names = [name.casefold() for name in prompt.task.labels]
    if prompt.by_name:
        begins = _beginning(said.casefold(), names)
        return _only_one_in(said.casefold(), names) if begins is None else begins
    said = _ALSO_WORDS.sub("", said.strip(_SIGNS)).strip()
    first = re.match(r"[^\W_]+", said)
    if first is not None and first[0] in prompt.marks:
        return prompt.marks.index(first[0])
    if _beginning(said.casefold(), names) is not None:
        return None
    numbers = set(re.findall(r"[^\W_]+", said)) & set(prompt.marks)
    return prompt.marks.index(numbers.pop()) if len(numbers) == 1 else None


def _beginning(said: str, names: Sequence[str]) -> int | None:
    """Return the place of the longest name that a text begins with, after signs such as quotes; None if there is none.

    A name may begin or end with such signs itself.

    Examples
    --------
    >>> _beginning("**c#**", ["java", "c", "c#"]), _beginning(".net.", [".net", "net"])
    (2, 0)
    """
    for start in range(len(said) - len(said.lstrip(_SIGNS)) + 1):
        begin = [place for place, name in enumerate(names) if whole_word(name).match(said[start:])]
        if begin:
            return max(begin, key=lambda place: len(names[place]))
    return None


def _only_one_in(said: str, names: Sequence[str]) -> int | None:
    """Return the place of the only name in a text, apart from names within longer ones; None if there are several.

    Examples
    --------
    >>> _only_one_in("this is about c#", ["java", "c", "c#"]), _only_one_in("java or c", ["java", "c", "c#"])
    (2, None)
    """
    spans = {place: [found.span() for found in whole_word(name).finditer(said)] for place, name in enumerate(names)}
    every = {span for found in spans.values() for span in found}

    def alone(span: tuple[int, int]) -> bool:
        return not any(other != span and other[0] <= span[0] and span[1] <= other[1] for other in every)

    inside = [place for place, found in spans.items() if any(map(alone, found))]
    return inside[0] if len(inside) == 1 else None


def read_tokens(answer: Any) -> int | None:
    """Return the number of tokens that the server counted; None if it does not say."""
    try:
        check(answer, _USAGE, "", "")
    except PetError:
        return None
    return int(answer["usage"]["total_tokens"])


def _choice(answer: Any) -> dict[str, Any]:
    check(answer, _SHAPE, "the server's answer", _CURE)
    choice: dict[str, Any] = answer["choices"][0]
    return choice


def _mark_of_token(token: str, prompt: Prompt) -> int | None:
    """Return the place of the only mark that a token is, or begins if marks are names; else None."""
    names = [mark.casefold() for mark in prompt.marks] if prompt.by_name else list(prompt.marks)
    for said in (token.strip(), token.strip().rstrip(".:)")):
        said = said.casefold() if prompt.by_name else said
        matches = [place for place, name in enumerate(names) if said and name.startswith(said)]
        if said in names:
            return names.index(said)
        if prompt.by_name and len(matches) == 1:
            return matches[0]
    return None


def _add(first: float, second: float) -> float:
    """Return the logarithm of the sum of two probabilities.

    Examples
    --------
    >>> round(_add(math.log(0.25), math.log(0.5)), 6) == round(math.log(0.75), 6)
    True
    """
    high, low = max(first, second), min(first, second)
    return high + math.log1p(math.exp(max(low - high, -700.0)))


def to_labels(values: Sequence[float | None], order: Sequence[int]) -> list[float | None]:
    """Return values of places in a list as values of the labels that were listed there.

    Examples
    --------
    >>> to_labels([0.1, 0.2, 0.3], [2, 0, 1])
    [0.2, 0.3, 0.1]
    """
    found: list[float | None] = [None] * len(order)
    for place, label in enumerate(order):
        found[label] = values[place]
    return found
