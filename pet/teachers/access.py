"""What teachers may do: whom they may ask, how often, and where their answers are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pet.errors import PetError
from pet.resources import cache_folder, expand
from pet.settings import out_of_range

MOST = 10**12


@dataclass(frozen=True)
class Access:
    """What teachers may do. None of this changes the labels that they give.

    Attributes
    ----------
    addresses : servers and models that texts may be sent to, as ``URL#MODEL``; texts go nowhere else
    max_calls, max_tokens : the most requests and tokens of each teacher; default: no limit
    parallel : requests at the same time
    timeout : seconds to wait for an answer
    tries : requests before a text is given up, if the server fails or is busy
    cache : folder of answers; default: see `pet.resources.cache_folder`

    Raises
    ------
    PetError
        Naming every value that is out of range.

    Examples
    --------
    >>> Access(addresses=frozenset({"http://127.0.0.1:8080/v1#smol"}), max_calls=1000).parallel
    4
    """

    addresses: frozenset[str] = frozenset()
    max_calls: int | None = None
    max_tokens: int | None = None
    parallel: int = 4
    timeout: float = 120.0
    tries: int = 6
    cache: str | None = None

    def __post_init__(self) -> None:
        ranges = {"max_calls": (1, MOST), "max_tokens": (1, MOST), "parallel": (1, 256), "timeout": (0.1, 3600)}
        problems = out_of_range(self, {**ranges, "tries": (1, 100)})
        if problems:
            raise PetError(problems)

    @property
    def folder(self) -> Path:
        """Folder of the answers."""
        return cache_folder() if self.cache is None else expand(self.cache)
