"""The exception for mistakes that the user can fix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
    """A text that a model cannot read.

    Parameters
    ----------
    problem : the message, which names the text as ``is row N;``, counted from 1
    row : its row in the table, from 0

    Examples
    --------
    >>> TextError("too long: the first is row 2; shorten it", row=1).named("test", ["a", "b"]).problems
    ["test: too long: the first has the id 'b'; shorten it"]
    """

    def __init__(self, problem: str, row: int = 0):
        super().__init__(problem)
        self.row = row

    def named(self, table: str, ids: Sequence[str]) -> PetError:
        """Return the error with the name of the table, and the text's id instead of its row."""
        row, name = f"is row {self.row + 1};", f"has the id {ids[self.row]!r};"
        return TextError(f"{table}: {self.problems[0].replace(row, name)}", self.row)


def _shorten(problem: str) -> str:
    """Keep the beginning, which names the place, and the end, which names the cure."""
    return problem if len(problem) <= LONGEST else f"{problem[: LONGEST - 500]} ... {problem[-490:]}"


class Notice(UserWarning):
    """A warning for users about how a file was handled. The command line prints only its text, once."""
