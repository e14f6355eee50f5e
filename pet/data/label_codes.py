"""Which text in the data stands for which label of the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pet.errors import PetError
from pet.spelling import Names, meaning
from pet.suggest import suggest

_SPELLINGS = 4  # other spellings of each label that are looked up; a column with more has no labels


class LabelCodes:
    """Finds the position of the label that a text stands for.

    A text is looked up as it is, and then in the other spellings of `pet.spelling`: ``1.0`` is the label ``1``, and
    ``True`` the label ``true``, unless the text could also mean another label.

    Parameters
    ----------
    labels : sequence of str
        Labels of the task, in order.
    label_map : mapping of str to str
        Text in the data -> label. It takes precedence over the labels.

    Raises
    ------
    PetError
        If the label map names a label that the task does not have.

    Examples
    --------
    >>> codes = LabelCodes(["0", "1"], {"good": "1"})
    >>> codes.find("1.0"), codes.find("good"), codes.find("bad")
    (1, 1, None)
    """

    def __init__(self, labels: Sequence[str], label_map: Mapping[str, str]):
        positions = {label: position for position, label in enumerate(labels)}
        names = Names(labels)
        mapped = {text: names.find(label) for text, label in label_map.items()}
        unknown = [
            f"label map: {text!r} is mapped to {label_map[text]!r}, which is not a label of the task; "
            f"{suggest(label_map[text], labels)}"
            for text, label in mapped.items()
            if label is None
        ]
        if unknown:
            raise PetError(unknown)
        self._exact = positions | {text: positions[label] for text, label in mapped.items() if label is not None}
        self._by_meaning: dict[str, int | None] = {}
        for text, position in self._exact.items():
            key = meaning(text)
            same = self._by_meaning.get(key, position) == position
            self._by_meaning[key] = position if same else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._exact)

    def find(self, text: str) -> int | None:
        """Return the position of the label, or None if the text is not a label, or could be two."""
        found = self._exact.get(text)
        return self._by_meaning.get(meaning(text)) if found is None else found

    def find_all(self, texts: pa.Array) -> pa.Array:
        """Return the positions of an array of strings, as int64; null for a text that is not a label."""
        found = _look_up(texts, dict(self._exact))
        if not found.null_count:
            return found
        others = pc.unique(texts.filter(pc.is_null(found))).to_pylist()
        if len(others) > _SPELLINGS * len(self._exact):
            return found
        known = {text: position for text in others if (position := self.find(text)) is not None}
        return _look_up(texts, self._exact | known)


def _look_up(texts: pa.Array, codes: Mapping[str, int]) -> pa.Array:
    at = pc.index_in(texts, value_set=pa.array(list(codes), pa.string()))
    return pa.array(list(codes.values()), pa.int64()).take(at)
