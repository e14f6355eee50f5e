"""The one exception that means "the user can mend this"."""

from __future__ import annotations

from collections.abc import Iterable


class PetError(Exception):
    """A mistake in the user's input: bad file, option, task or model.

    The message names the thing and the cure, and is complete: the command line prints it
    as it stands and exits with status 2, without a traceback.

    Parameters
    ----------
    problems : str or iterable of str
        One message, or all that were found at once.
    """

    def __init__(self, problems: str | Iterable[str]):
        self.problems: list[str] = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
