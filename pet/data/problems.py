"""Collect the mistakes in a table, to report all of them as one error."""

from __future__ import annotations

from dataclasses import dataclass, field

from pet.data.source import Source
from pet.errors import PetError

Place = tuple[int, int]  # file, line or row from 1
MOST_LINES = 10
MOST_VALUES = 10


@dataclass
class _Group:
    message: str
    places: list[Place] = field(default_factory=list)
    count: int = 0


class Problems:
    """Mistakes in one table, grouped: one message per mistake, with the lines that have it."""

    def __init__(self, source: Source, name: str):
        self.source = source
        self.name = name
        self.groups: dict[tuple[str, str], _Group] = {}
        self.left_out: dict[str, int] = {}

    def add(self, place: Place, family: str, message: str, value: str = "") -> None:
        """Add a mistake. Mistakes with the same family and value share the message of the first one."""
        group = self.groups.get((family, value))
        if group is None:
            if sum(1 for known, _ in self.groups if known == family) >= MOST_VALUES:
                self.left_out[family] = self.left_out.get(family, 0) + 1
                return
            group = self.groups[family, value] = _Group(message)
        group.count += 1
        if len(group.places) < MOST_LINES:
            group.places.append(place)

    def raise_if_any(self) -> None:
        """Raise a `PetError` with all mistakes, sorted by their first lines."""
        if not self.groups:
            return
        groups = sorted(self.groups.values(), key=lambda group: group.places[0])
        messages = [
            f"{self.name}: {self.source.where(group.places[0])}: {group.message}{self._also(group)}" for group in groups
        ]
        messages += [
            f"{self.name}: {self.source.shown}: {count:,} more mistakes of this kind: {family}"
            for family, count in self.left_out.items()
        ]
        raise PetError(messages)

    def _also(self, group: _Group) -> str:
        if group.count == 1:
            return ""
        others = [
            self.source.number((file, line)) if file == group.places[0][0] else self.source.where((file, line))
            for file, line in group.places[1:]
        ]
        more = ", …" if group.count > len(group.places) else ""
        plural = self.source.unit + ("s" if group.count > 2 else "")
        return f" [and {group.count - 1:,} more {plural}: {', '.join(others)}{more}]"
