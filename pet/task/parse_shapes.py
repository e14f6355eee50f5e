"""The shapes of values in a task file, and the mistakes found in them."""

from __future__ import annotations

from collections.abc import Sequence

from pet.errors import PetError
from pet.spelling import Names, unlike
from pet.suggest import suggest
from pet.task.document import Item

# Higher numbers are a mistake, such as a data file instead of a task file.
MOST_FIELDS = 100
_MOST_PROBLEMS = 501  # the last one is counted and not shown


class Shapes:
    """Reads texts, lists and mappings. Collects mistakes instead of stopping at the first one."""

    def __init__(self) -> None:
        self._found: list[tuple[int, str]] = []

    def wrong(self, item: Item, message: str) -> None:
        """Record a mistake and the place of what is wrong."""
        self._found.append((item.line, f"{item.place}: {message}"))
        if len(self._found) == _MOST_PROBLEMS:
            raise PetError(self.problems)

    @property
    def problems(self) -> list[str]:
        """All mistakes in file order, without duplicates (a YAML alias is parsed once per use)."""
        return list(dict.fromkeys(message for _, message in sorted(self._found, key=lambda found: found[0])))

    @property
    def count(self) -> int:
        """The number of mistakes so far."""
        return len(self._found)

    def text(self, item: Item, what: str) -> str:
        """Return a nonempty scalar, or record a mistake and return ""."""
        if isinstance(item.value, str) and item.value.strip():
            return item.value
        if item.value is None or isinstance(item.value, str):
            self.wrong(item, f"{what} is empty; write some text")
        elif item.flow and item.pairs is not None:
            self.wrong(item, f"{what} parses as a YAML mapping; put it in quotes")
        else:
            self.wrong(item, f"{what} must be text, not a list or a mapping; put text with braces in quotes")
        return ""

    def flag(self, item: Item, name: str) -> bool:
        """Return a value that is written ``true`` or ``false``."""
        text = self.text(item, name).strip().casefold()
        if text and text not in ("true", "false"):
            self.wrong(item, f"{name} is {text!r}; write true or false")
        return text == "true"

    def too_many(self, item: Item, what: str, most: int) -> bool:
        """Record a mistake and return True if a list is longer than `most`."""
        count = len(item.items or ())
        if count > most:
            self.wrong(item, f"{count} {what}; a task can have at most {most}; remove some (is this a data file?)")
        return count > most

    def texts(self, item: Item, what: str, most: int = MOST_FIELDS) -> list[tuple[str, Item]] | None:
        """Return the scalars of a list; record those that are empty, or the same as another."""
        if item.items is None:
            self.wrong(item, f"{what} must be a list, such as [one, two]")
            return None
        if self.too_many(item, what, most):
            return None
        found: dict[str, Item] = {}
        known = Names()
        for entry in item.items:
            text = self.text(entry, f"an entry of {what}")
            same = known.add(text)
            if same is not None and text:
                self.wrong(entry, f"{twice(text, same)} in {what}; remove one")
            elif text:
                found[text] = entry
        return list(found.items())

    def mapping(self, item: Item, what: str, keys: Sequence[str], kind: str = "key") -> dict[str, Item] | None:
        """Return a mapping restricted to `keys`; record a mistake and return None if it is not a mapping."""
        if item.pairs is None:
            keys_shown = ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
            self.wrong(item, f"{what} must be a mapping ({kind}: value) with {keys_shown}")
            return None
        found: dict[str, Item] = {}
        known = Names(keys)
        for key, value in item.pairs:
            given = self.text(key, f"a {kind}")
            if not given:
                continue
            name = known.find(given)
            if name is None:
                self.wrong(key, f"unknown {kind} {given!r} in {what}; {suggest(given, keys)}")
            elif name in found:
                self.wrong(key, f"{kind} {name!r} appears twice in {what}; remove one")
            else:
                found[name] = value
        return found


def twice(name: str, other: str) -> str:
    """Return the start of a message about a name that is the same as an earlier one."""
    if name == other:
        return f"{name!r} appears twice"
    hidden = unlike(name, other)
    return f"{name!r} and {other!r} mean the same" + (f" (they differ only in {hidden})" if hidden else "")
