"""Answers of teachers on disk, so that no text is asked twice, and what was spent on them.

The file has no texts, prompts or keys: an answer is found by a hash of the request.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pet.errors import PetError
from pet.store.json_reader import parse_json
from pet.store.schema import list_of, maybe, number

FILE = "teachers.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (request BLOB PRIMARY KEY, answer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spent (budget TEXT PRIMARY KEY, calls INTEGER NOT NULL, tokens INTEGER NOT NULL);
"""
_WAIT = 60.0  # seconds for another process
_ANSWER = list_of(maybe(number(-1e4, 1e9)), 0, 1000)


def request_key(origin: str, model: str, body: Mapping[str, Any]) -> bytes:
    """Return the hash of a request to a model; for `origin`, see `pet.teachers.origin.find_origin`."""
    text = json.dumps([1, origin, model, body], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).digest()


class Cache:
    """Answers in a file. Several threads and processes may use it at the same time.

    Parameters
    ----------
    folder : folder of the file; created if missing

    Raises
    ------
    PetError
        If the file cannot be written, or is damaged.
    """

    def __init__(self, folder: Path):
        self.path = folder / FILE
        self._lock, self._open = threading.Lock(), True
        with self._errors():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file = sqlite3.connect(self.path, timeout=_WAIT, check_same_thread=False, isolation_level=None)
            self._file.executescript("PRAGMA synchronous = NORMAL;" + _SCHEMA)

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # a thread that was abandoned after an error may still use it
            self._open = False
            self._file.close()

    def get(self, request: bytes) -> list[float | None] | None:
        """Return the answer to a request, or None."""
        with self._use():
            row = self._file.execute("SELECT answer FROM answers WHERE request = ?", (request,)).fetchone()
        if row is None:
            return None
        answer: list[float | None] = parse_json(str(row[0]), str(self.path), "delete this file", _ANSWER)
        return answer

    def put(self, request: bytes, answer: Sequence[float | None]) -> None:
        """Keep an answer."""
        text = json.dumps(list(answer))
        with self._use():
            self._file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (request, text))

    def spent(self, budget: str) -> tuple[int, int]:
        """Return the calls and tokens of a budget."""
        with self._use():
            row = self._file.execute("SELECT calls, tokens FROM spent WHERE budget = ?", (budget,)).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def spend(self, budget: str, calls: int, tokens: int) -> None:
        """Add to the calls and tokens of a budget."""
        with self._use():
            self._file.execute(
                "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT (budget) "
                "DO UPDATE SET calls = calls + excluded.calls, tokens = tokens + excluded.tokens",
                (budget, calls, tokens),
            )

    @contextmanager
    def _use(self) -> Iterator[None]:
        with self._lock, self._errors():
            if not self._open:
                raise sqlite3.ProgrammingError("closed")
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, OverflowError) as error:
            raise PetError(
                f"{self.path}: answers of teachers cannot be kept there ({error}); delete the file if it is damaged, "
                "or name another folder with --teacher-cache"
            ) from error
