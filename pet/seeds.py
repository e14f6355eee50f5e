"""Seeds for every part of a run, all from the one that the user gave."""

from __future__ import annotations

import hashlib
import json
import operator


def derive_seed(run_seed: int, *parts: int | str) -> int:
    """A seed for one part of a run, independent of every other part.

    Adding a pattern, or resuming half-way, changes no seed but its own, because each follows from
    its name alone and not from how many were drawn before.

    Parameters
    ----------
    run_seed : int
        The seed of the run.
    *parts : int or str
        What names the part, for example ``"member", generation, pattern, repetition``.
        ``1`` and ``"1"`` are different names, and so are ``("a", "b")`` and ``("ab",)``.

    Returns
    -------
    int
        ``0 <= seed < 2**63``: good for ``torch.manual_seed`` and ``numpy.random.default_rng``.
        The older ``numpy.random.seed`` takes 32 bits: hand it ``seed % 2**32``.

    Raises
    ------
    TypeError
        When a part is neither an integer nor text.
    """
    name = [part if isinstance(part, str) else operator.index(part) for part in (run_seed, *parts)]
    digest = hashlib.sha256(json.dumps(name).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
