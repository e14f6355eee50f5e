"""The exception for mistakes that the user can fix."""

from __future__ import annotations

from collections.abc import Iterable

MOST = 500  # problems
LONGEST = 2000  # characters of one


class PetError(Exception):
    """A mistake in the user's input: a bad file, option, task or model.

    The message says what is wrong and how to fix it. The command line prints it without a
    traceback and exits with status 2.

    Texts from files can be of any size, so long messages are shortened in the middle, and of many messages the first
    ones are kept.

    Parameters
    ----------
    problems : str or iterable of str
        One or several messages.

    Examples
    --------
    >>> PetError(["train.jsonl:3: no label", "train.jsonl:7: no label"]).problems
    ['train.jsonl:3: no label', 'train.jsonl:7: no label']
    """

    def __init__(self, problems: str | Iterable[str]):
        found = [problems] if isinstance(problems, str) else list(problems)
        self.problems: list[str] = [_shorten(problem) for problem in found[:MOST]]
        if len(found) > MOST:
            self.problems.append(f"... and {len(found) - MOST} more problems")
        super().__init__("\n".join(self.problems))


class TextError(PetError):
    """A text that a model cannot read."""


def _shorten(problem: str) -> str:
    """Keep the beginning, which names the place, and the end, which names the cure."""
    return problem if len(problem) <= LONGEST else f"{problem[: LONGEST - 500]} ... {problem[-490:]}"


class Notice(UserWarning):
    """A warning for users about how a file was handled. The command line prints only its text, once."""
