"""The exception for mistakes that the user can fix."""

from __future__ import annotations

from collections.abc import Iterable


class PetError(Exception):
    """A mistake in the user's input: a bad file, option, task or model.

    The message says what is wrong and how to fix it. The command line prints it without a
    traceback and exits with status 2.

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
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
