"""Write found words into a task file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pet.errors import PetError
from pet.resources import folder
from pet.store.files import writing
from pet.store.text import MEGABYTE, decode, read_bytes
from pet.task.edit import NewWords, own_verbalizers, replace_words
from pet.task.task import Task
from pet.words.find import WordGroup


def check_writable(task: Task) -> Path:
    """Return the file of a task that may be changed.

    Raises
    ------
    PetError
        If the task has no file, or the file belongs to the package.
    """
    if task.path is None or task.path.parent == folder("patterns"):
        name = task.path.stem if task.path else task.name
        raise PetError(
            f"--write changes a file of yours, and {name} comes with the package; copy it first: "
            f"pet tasks {name} > {name}.yaml"
        )
    return task.path


def write_words(task: Task, groups: Sequence[WordGroup]) -> None:
    """Replace the words in a task file. Its comments stay, and all else.

    Patterns with a verbalizer of their own get the words of their group, all others those of the task. Labels without
    found words keep the words that they have.

    Raises
    ------
    PetError
        If the file cannot be changed, or a label would have no word. The file is unchanged then.
    """
    path = check_writable(task)
    text = decode(read_bytes(path, str(path), 2 * MEGABYTE), str(path))
    own = own_verbalizers(text, str(path))
    of = {position: group for group in groups for position in group.patterns}
    common = [position for position in of if position not in own]
    shared = _new(task, of[common[0]], common[0]) if common else None
    # Patterns that ask about each label have words for yes and no, which were not searched for.
    changed = replace_words(text, str(path), shared, {p: _new(task, of[p], p) for p in own if p in of})
    with writing(path) as temporary:
        temporary.write_text(changed, encoding="utf-8", newline="")
        _check(temporary, path)


def _new(task: Task, group: WordGroup, position: int) -> NewWords:
    old = task.patterns[position].verbalizer.words
    taken = {found.word.casefold() for words in group.words.values() for found in words}
    words, empty = {}, []
    for label, found in group.words.items():
        kept = [word for word in old[label] if word.casefold() not in taken]
        words[label] = [one.word for one in found] or kept
        empty += [] if words[label] else [label]
    if empty:
        raise PetError(
            f"no words were found for {', '.join(empty)}; add labeled texts of these labels (--train), or say what "
            "they mean under `descriptions` in the task file"
        )
    return NewWords(words, {label: note for label, note in group.notes.items() if group.words[label]})


def _check(temporary: Path, path: Path) -> None:
    """Parse the changed file before it replaces the old one."""
    try:
        Task.load(temporary)
    except PetError as error:
        raise PetError(
            f"{path}: the words cannot be written into this file ({error.problems[0].rpartition(': ')[2]}); "
            "copy them from the table"
        ) from None
