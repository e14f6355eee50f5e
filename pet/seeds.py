"""Derive the seed of every part of a run from the user's seed."""

from __future__ import annotations

import hashlib
import json
import operator


def derive_seed(run_seed: int, *parts: int | str) -> int:
    """Derive the seed for one part of a run, independent of all other parts.

    A seed depends only on the name of its part, not on how many seeds were drawn before. So adding a
    pattern or resuming a run does not change any other seed.

    Parameters
    ----------
    run_seed : int
        The seed of the run.
    *parts : int or str
        The name of the part, for example ``"member", generation, pattern, repetition``.
        ``1`` and ``"1"`` are different names, and so are ``("a", "b")`` and ``("ab",)``.

    Returns
    -------
    int
        ``0 <= seed < 2**63``, suitable for ``torch.manual_seed`` and ``numpy.random.default_rng``.
        The legacy ``numpy.random.seed`` takes 32 bits: pass ``seed % 2**32``.

    Raises
    ------
    TypeError
        If a part is neither an integer nor a string.

    Examples
    --------
    >>> derive_seed(42, "member", 0) == derive_seed(42, "member", 0)
    True
    >>> derive_seed(42, "member", 0) == derive_seed(42, "member", 1)
    False
    """
    name = [part if isinstance(part, str) else operator.index(part) for part in (run_seed, *parts)]
    digest = hashlib.sha256(json.dumps(name).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
