"""A teacher: a language model on a server that labels texts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pet.errors import PetError
from pet.numerics import log_softmax
from pet.teachers.access import Access
from pet.teachers.address import Address, find_key
from pet.teachers.answer import NoLogprobs, read_logprobs, read_tokens, read_vote, to_labels
from pet.teachers.cache import Cache, request_key
from pet.teachers.client import Budget, BudgetSpent, Client, Refused
from pet.teachers.dialect import DIALECTS, LOGPROBS, VOTES, Dialect
from pet.teachers.origin import find_origin
from pet.teachers.prompt import Fields, Prompt

Array = NDArray[Any]
OnRows = Callable[[int], object]
FLOOR = 1e-3  # smallest probability, so that a teacher alone cannot rule out a label
SMOOTHING = 0.5  # votes that each label has to begin with
NULL_TEXT = "N/A"
_CHUNK = 32  # texts that are asked in one order before the next, so that servers can keep the beginning of a prompt


@dataclass
class Outcome:
    """What became of some texts.

    Attributes
    ----------
    asked, cached : calls to the server, and answers that were on disk
    abstained : texts without an answer
    refused : texts that the server rejects
    reason : why, in the server's words
    spent : the option whose limit ended the requests
    """

    asked: int = 0
    cached: int = 0
    abstained: int = 0
    refused: int = 0
    reason: str = ""
    spent: str = ""


@dataclass
class Teacher:
    """Asks a server about texts, through a cache.

    Attributes
    ----------
    name : of the member
    address : the server and its model
    prompt : how texts are put to it
    access : whom it may ask, and how often
    budget : name under which calls are counted on disk
    dialect : what the server understands; see `probe`
    origin : which model on which server answers; default: what the server says when it is first asked
    transport : replaces the network in tests
    """

    name: str
    address: Address
    prompt: Prompt
    access: Access
    budget: str
    dialect: Dialect = DIALECTS[0]
    origin: str = ""
    transport: Any = None
    outcome: Outcome = field(default_factory=Outcome)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def may_ask(self) -> bool:
        """True if texts may be sent to this address."""
        return str(self.address) in self.access.addresses

    @property
    def calls(self) -> int:
        """Calls for each text."""
        settings = self.prompt.settings
        if self.dialect.kind == VOTES:
            return settings.votes
        return min(settings.orders, len(self.prompt.task.labels))

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open the cache, and a connection if texts may be sent."""
        with Cache(self.access.folder) as cache:
            budget = Budget(
                self.access.max_calls,
                self.access.max_tokens,
                *cache.spent(self.budget),
                on_spend=lambda calls, tokens: cache.spend(self.budget, calls, tokens),
            )
            if not self.may_ask:
                yield Session(self, cache, budget, None)
                return
            key = find_key(self.address, self.name)
            with Client(self.address, key, self.access, budget, transport=self.transport) as client:
                yield Session(self, cache, budget, client)


@dataclass
class Session:
    """A teacher with its cache and its connection; see `Teacher.session`."""

    teacher: Teacher
    cache: Cache
    budget: Budget
    client: Client | None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _checked: bool = False

    def probe(self) -> Dialect:
        """Find out what the server understands, with a text without content, and let the teacher use it.

        Raises
        ------
        PetError
            If the server cannot be reached, or refuses every form of request.
        """
        teacher, said = self.teacher, ""
        fields = (NULL_TEXT,) * len(teacher.prompt.task.fields)
        order = teacher.prompt.orders(1)[0]
        for dialect in DIALECTS:
            teacher.dialect = dialect
            try:
                self._call(fields, order, 0)
                return dialect
            except NoLogprobs:
                continue
            except Refused as error:
                said = str(error)
        raise PetError(f"member {teacher.name}: {teacher.address.url} refuses every request ({said}); check the model")

    def scores(self, texts: Sequence[Fields], on_rows: OnRows = lambda rows: None) -> Array:
        """Return log-probabilities of the labels: float64 array of shape (texts, L); rows of NaN have no answer.

        Parameters
        ----------
        texts : the fields of each text
        on_rows : called with the number of texts finished since the last call
        """
        teacher, labels = self.teacher, len(self.teacher.prompt.task.labels)
        out = np.full((len(texts), labels), np.nan)
        orders = teacher.prompt.orders(teacher.calls)
        workers = ThreadPoolExecutor(teacher.access.parallel)
        try:
            for start in range(0, len(texts), _CHUNK):
                chunk, done = texts[start : start + _CHUNK], _Done(len(orders), on_rows)
                jobs = [
                    [workers.submit(self._answer, fields, order, number, done) for fields in chunk]
                    for number, order in enumerate(orders)
                ]
                wait([job for row in jobs for job in row], return_when=FIRST_EXCEPTION)
                for row, answers in enumerate(zip(*jobs, strict=True)):
                    out[start + row] = self._merged([answer.result() for answer in answers], orders)
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise
        workers.shutdown()
        teacher.outcome.abstained += int(np.isnan(out).any(axis=1).sum())
        return out

    def texts_left(self, typical: Sequence[Fields]) -> float:
        """Return how many texts the budget suffices for; infinite without a limit.

        Parameters
        ----------
        typical : some texts, to estimate tokens
        """
        budget, prompt = self.budget, self.teacher.prompt
        calls = np.inf if budget.max_calls is None else max(0, budget.max_calls - budget.calls)
        if budget.max_tokens is not None and typical:
            order = prompt.orders(1)[0]
            each = float(np.mean([estimated_tokens(prompt.messages(fields, order)) for fields in typical]))
            if budget.calls:  # what the server counts
                each = max(1.0, budget.tokens / budget.calls)
            calls = min(calls, max(0, budget.max_tokens - budget.tokens) / each)
        return float(calls // self.teacher.calls)

    def missing(self, fields: Fields) -> int:
        """Return how many calls a text takes, without those whose answers are on disk."""
        orders = self.teacher.prompt.orders(self.teacher.calls)
        return sum(self.cache.get(self._key(fields, order, n)[0]) is None for n, order in enumerate(orders))

    def _key(self, fields: Fields, order: tuple[int, ...], number: int) -> tuple[bytes, dict[str, Any]]:
        """Return a request, and its key in the cache."""
        teacher = self.teacher
        body = teacher.dialect.body(teacher.prompt.messages(fields, order), number)
        if not teacher.origin and self.client is not None:
            self._check_origin(self.client)
        return request_key(teacher.origin or teacher.address.url, teacher.address.model, body), body

    def _check_origin(self, client: Client) -> None:
        """Ask the server which model it has, once in a session, and compare it with that of the answers so far."""
        teacher = self.teacher
        with self._lock:
            if self._checked:
                return
            origin = find_origin(teacher.address, client.describe)
            if teacher.origin not in ("", origin):
                raise PetError(
                    f"member {teacher.name}: {teacher.address.url} now has another model called "
                    f"{teacher.address.model} than when this member was made; start the server with the former one, "
                    "or make a new run"
                )
            teacher.origin, self._checked = origin, True

    def _answer(
        self, fields: Fields, order: tuple[int, ...], number: int, done: Callable[[], object]
    ) -> list[float | None]:
        """Return a value for each mark; empty if there is no answer and none may be asked for."""
        outcome, lock = self.teacher.outcome, self.teacher._lock
        found: list[float | None] = []
        try:
            found = self._call(fields, order, number)
        except BudgetSpent as error:
            with lock:
                outcome.spent = str(error)
        except Refused as error:
            with lock:
                outcome.refused, outcome.reason = outcome.refused + 1, str(error)
        except NoLogprobs:  # although it had some for the first text
            pass
        done()
        return found

    def _call(self, fields: Fields, order: tuple[int, ...], number: int) -> list[float | None]:
        """Return the answer on disk, or the server's; empty if texts may not be sent."""
        teacher = self.teacher
        key, body = self._key(fields, order, number)
        found = self.cache.get(key)
        if found is not None:
            with teacher._lock:
                teacher.outcome.cached += 1
            return found if len(found) == len(order) else []
        if self.client is None:
            return []
        self._check_origin(self.client)
        found = self._ask(self.client, body)
        self.cache.put(key, found)
        with teacher._lock:
            teacher.outcome.asked += 1
        return found

    def _ask(self, client: Client, body: dict[str, Any]) -> list[float | None]:
        """Return the server's answer, and charge the budget for it."""
        prompt, answer = self.teacher.prompt, client.complete(body)
        tokens = read_tokens(answer)
        self.budget.add(estimated_tokens(body["messages"]) if tokens is None else tokens)
        if self.teacher.dialect.kind == LOGPROBS:
            return read_logprobs(answer, prompt)
        vote = read_vote(answer, prompt)
        return [None if vote is None else float(place == vote) for place in range(len(prompt.marks))]

    def _merged(self, answers: Sequence[Sequence[float | None]], orders: Sequence[tuple[int, ...]]) -> Array:
        """Return the log-probabilities of a text from its answers in several orders, shape (L,); NaN without one."""
        prompt = self.teacher.prompt
        rows = []
        for values, order in zip(answers, orders, strict=True):
            if not values or values[0] is None:
                continue
            rows.append(values if prompt.by_name else to_labels(values, order))
        if not rows:
            return np.full(len(prompt.task.labels), np.nan)
        found = np.asarray(rows, dtype=np.float64)
        if self.teacher.dialect.kind == VOTES:
            counts = found.sum(axis=0) + SMOOTHING
            return np.asarray(np.log(counts / counts.sum()))
        return np.asarray(log_softmax(log_softmax(found).mean(axis=0)))


class _Done:
    """Counts a text as done when all calls about it are."""

    def __init__(self, calls: int, on_rows: OnRows):
        self._calls, self._on_rows, self._left, self._lock = calls, on_rows, 0, threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            done, self._left = divmod(self._left + 1, self._calls)
            if done:
                self._on_rows(done)


def estimated_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """Return about how many tokens a chat has: one for every four characters, and a few for each message."""
    return sum(len(message["content"]) // 4 + 4 for message in messages)


def with_floor(scores: Array) -> Array:
    """Return log-probabilities in which no label is less probable than about `FLOOR`; rows of NaN stay.

    Examples
    --------
    >>> with_floor(np.log([[1 - 1e-9, 1e-9]])).round(3).tolist()
    [[-0.001, -6.909]]
    """
    return np.asarray(log_softmax(np.maximum(log_softmax(scores), np.log(FLOOR))))
