"""Requests to a server that may be slow, busy, broken or hostile."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from pet.errors import PetError
from pet.extras import install_command, is_installed
from pet.settings import shorten
from pet.store.json_reader import parse_json
from pet.teachers.access import Access
from pet.teachers.address import KEY, Address
from pet.terminal import clean

MAX_BYTES = 1 << 20  # of an answer
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_BUSY = (408, 409, 425, 429)
_LOADING = (429, 503)
_SHOWN = 300


class Refused(Exception):
    """The server rejects a request as it is (status 400 or 422). The message is the server's."""


class BudgetSpent(Exception):
    """The calls or tokens that the user allows are spent."""


class _Again(Exception):
    """The request may succeed later, after at least `pause` seconds."""

    def __init__(self, why: str, pause: float = 0.0):
        super().__init__(why)
        self.pause = pause


class _Useless(_Again):
    """The answer cannot be used, and the next one may be like it."""


@dataclass
class Budget:
    """Counts calls and tokens. Threads may share it.

    Attributes
    ----------
    max_calls, max_tokens : limits; None: no limit
    calls, tokens : spent so far
    on_spend : called with the calls and tokens that are spent
    """

    max_calls: int | None = None
    max_tokens: int | None = None
    calls: int = 0
    tokens: int = 0
    on_spend: Callable[[int, int], object] = lambda calls, tokens: None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def limit(self) -> str:
        """The options that limit it."""
        limits = {"--max-calls": self.max_calls, "--max-tokens": self.max_tokens}
        return " with ".join(f"{option} {most}" for option, most in limits.items() if most is not None)

    def take(self) -> None:
        """Count a call. Raises BudgetSpent if it is one too many."""
        with self._lock:
            if self.max_calls is not None and self.calls >= self.max_calls:
                raise BudgetSpent(f"--max-calls {self.max_calls}")
            if self.max_tokens is not None and self.tokens >= self.max_tokens:
                raise BudgetSpent(f"--max-tokens {self.max_tokens}")
            self.calls += 1
        self.on_spend(1, 0)

    def add(self, tokens: int) -> None:
        """Count the tokens of a call."""
        with self._lock:
            self.tokens += tokens
        self.on_spend(0, tokens)


def http_library() -> ModuleType:
    """Return the HTTP library. Raises PetError if it is not installed."""
    if not is_installed("httpx2"):
        raise PetError(f"members of the kind openai require httpx2; {install_command('teachers')}")
    import httpx2

    return httpx2


class Client:
    """Sends requests to one server. Threads may share it.

    Parameters
    ----------
    address : the server and its model
    key : sent as a bearer token, and never shown
    access : timeouts and tries
    budget : is charged for every request, also for failed ones
    transport : replaces the network in tests
    sleep : waits before the next try; default: until the time is over or the client is closed
    """

    def __init__(
        self,
        address: Address,
        key: str | None,
        access: Access,
        budget: Budget,
        *,
        transport: Any = None,
        sleep: Callable[[float], object] | None = None,
    ):
        self.address, self.budget = address, budget
        self._key, self._access, self._closed = key, access, threading.Event()
        self._sleep = sleep or self._closed.wait
        self._library = http_library()
        headers = {"accept": "application/json", "accept-encoding": "identity", "content-type": "application/json"}
        self._http = self._library.Client(
            headers=headers | ({} if key is None else {"authorization": f"Bearer {key}"}),
            timeout=access.timeout,
            limits=self._library.Limits(max_connections=access.parallel),
            follow_redirects=False,  # another server is another address
            trust_env=not address.is_local,  # proxies
            transport=transport,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._http.close()

    def complete(self, body: Mapping[str, Any]) -> Any:
        """Return the JSON that the server answers to a chat request.

        Raises
        ------
        Refused
            If the server rejects the request.
        BudgetSpent
            Before the request, if no calls or tokens are left.
        PetError
            If the key or the address is wrong, or the server still fails after all tries.
        """
        content = json.dumps({"model": self.address.model, **body}).encode("ascii")
        return self._tried(lambda: self._send(content), self.budget.take)

    def describe(self, url: str) -> Any:
        """Return the JSON at a URL of the server; None if there is none. No text is sent, and no call is counted.

        Raises
        ------
        PetError
            If the server cannot be reached after all tries.
        """

        def ask() -> Any:
            try:
                status, said, pause = self._exchange("GET", url)
            except _Useless:
                return None
            if status in _LOADING:
                raise _Again(f"status {status}: {self._public(said)}", pause)
            try:
                return parse_json(said, url, "") if status == 200 else None
            except PetError:
                return None

        return self._tried(ask)

    def _tried(self, send: Callable[[], Any], charge: Callable[[], object] = lambda: None) -> Any:
        """Return what `send` returns, which may need several tries; each is charged."""
        why = ""
        for attempt in range(self._access.tries):
            charge()
            try:
                return send()
            except _Again as error:
                why = str(error)
                longest = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
                pause = max(random.uniform(longest / 2, longest), min(error.pause, _LONGEST_PAUSE))
            if attempt + 1 < self._access.tries:
                self._sleep(pause)
            if self._closed.is_set():
                break
        raise PetError(
            f"{self.address.url}: no answer after {self._access.tries} tries ({why}); check that the server is "
            "running. Answers so far are kept: the same command goes on from here"
        )

    def _exchange(self, method: str, url: str, content: bytes | None = None) -> tuple[int, str, float]:
        """Return the status and the body of an answer, and the pause that the server asks for."""
        library, limit = self._library, time.monotonic() + self._access.timeout
        try:
            with self._http.stream(method, url, content=content) as response:
                text = self._read(response, limit)
        except (library.HTTPError, library.InvalidURL, library.StreamError) as error:
            raise _Again(self._public(f"{type(error).__name__}: {error}")) from None
        return response.status_code, text, _seconds(response.headers.get("retry-after"))

    def _send(self, content: bytes) -> Any:
        status, text, pause = self._exchange("POST", f"{self.address.url}/chat/completions", content)
        if status == 200:
            try:
                return parse_json(text, self.address.url, "use another server")
            except PetError as error:
                raise _Again(self._public(str(error))) from None
        said = self._public(text)
        if status in _BUSY or status >= 500:
            raise _Again(f"status {status}: {said}", pause)
        if status in (400, 422):
            raise Refused(said)
        if status in (401, 403):
            raise PetError(
                f"{self.address.url}: refuses access (status {status}: {said}); set the environment variable {KEY} to "
                "the server's key"
            )
        if 300 <= status < 400:
            raise PetError(
                f"{self.address.url}: redirects to another address, and pet sends texts to no other; give the new "
                "address"
            )
        raise PetError(
            f"{self.address.url}: status {status} ({said}); check the URL, which usually ends in /v1, and the model "
            f"{shorten(self.address.model)!r}"
        )

    def _read(self, response: Any, limit: float) -> str:
        """Return the body of a response of limited size, received in limited time."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _Useless("the answer is compressed, although pet asked for one that is not")
        parts, size = [], 0
        for part in response.iter_raw():
            size += len(part)
            if size > MAX_BYTES:
                raise _Useless(f"the answer has more than {MAX_BYTES >> 20} MiB")
            if time.monotonic() > limit:
                raise _Again(f"the answer took longer than {self._access.timeout:g} s")
            parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")

    def _public(self, text: str) -> str:
        """Return text from the server for a message: short, printable, and without the key."""
        if self._key is not None:
            text = text.replace(self._key, "[key]")
        text = clean(" ".join(text[:10_000].split()))
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _seconds(text: str | None) -> float:
    """Return the seconds of a Retry-After header; 0 if it has none or is a date."""
    try:
        seconds = float(text or 0)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < float("inf") else 0.0
