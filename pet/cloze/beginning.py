"""Cut very long texts before they are tokenized, without changing the tokens that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CHARACTERS = 24  # of a token; ordinary text has 4 to 6
MARGIN = 64  # tokens; those near a cut may differ from those of the whole text


def beginnings(
    texts: Sequence[str], most: int, tokenize: Callable[[list[str]], Sequence[Sequence[int]]]
) -> Sequence[str]:
    """Return the beginning of each text, which has the same first tokens.

    A tokenizer takes about 200 bytes for each character, even if all but the first tokens are dropped.

    Parameters
    ----------
    texts : texts of any length
    most : number of first tokens that are kept
    tokenize : returns the ids of each text

    Returns
    -------
    sequence of str: a text that is not much longer than `most` tokens stays whole

    Examples
    --------
    >>> cut = beginnings(["one two " * 100_000, "short"], 10, lambda texts: [text.split() for text in texts])
    >>> len(cut[0]), cut[0][-7:], cut[1]
    (1775, 'one two', 'short')
    """
    size = CHARACTERS * (most + MARGIN)
    found, long = list(texts), [i for i, text in enumerate(texts) if len(text) > size]
    while long:
        for i in long:
            found[i] = _cut(texts[i], size)
        counts = list(map(len, tokenize([found[i] for i in long])))
        size *= 4
        short = [i for i, count in zip(long, counts, strict=True) if count < most + MARGIN]
        for i in short:
            found[i] = texts[i]
        long = [i for i in short if len(texts[i]) > size]
    return found


def _cut(text: str, size: int) -> str:
    """Return about `size` characters, up to a space if there is one near."""
    start = text[:size]
    words = start.rpartition(" ")[0]
    return words if len(words) > size // 2 else start
