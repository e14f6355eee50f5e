"""Files are written through one place: a check that finds a writer of its own, or names that can be guessed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pet.errors

PACKAGE = Path(pet.errors.__file__).parent
STORE = PACKAGE / "store"
FORBIDDEN = {
    "tempfile": r"\btempfile\.(?!gettempdir|TemporaryFile)\w+",  # pet.store.temporary
    "rename": r"\bos\.(replace|rename|renames)\(|\bshutil\.move\(",  # pet.store.files.writing, writing_folder
    "delete": r"\bshutil\.rmtree\(|\bos\.(remove|unlink|removedirs)\(",  # pet.store.folders.remove
    "modes": r"\bos\.(f?chmod|umask)\(|\.chmod\(",  # pet.store.folders.settle_tree
    "guessable names": r"\.tmp-|getpid\(\)\}",
    "locks": r"\bfcntl\b|\bmsvcrt\b|\bFileLock\b",  # pet.store.lock
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_only_the_store_renames_deletes_locks_and_makes_temporary_files(what: str):
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if STORE not in path.parents
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(FORBIDDEN[what], line) and ">>>" not in line and "... " not in line
    ]
    assert found == []
