"""The HTTP interface of `pet serve`: /predict, /health and /metrics."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pet.data.values import is_unicode
from pet.errors import PetError, TextError
from pet.review.guard import LOCAL, hostname
from pet.serving.batches import Batcher, Busy
from pet.serving.figures import Figures
from pet.serving.model import Served
from pet.store.json_reader import parse_json

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_KNOWN = {"inputs", "parameters"}


@dataclass(frozen=True)
class Limits:
    """What a request may cost.

    Parameters
    ----------
    body : bytes of a request
    texts : texts of a request
    seconds : time for reading a request, and again for answering it
    batch : texts of a batch
    waiting : texts that may wait
    """

    body: int = 1_000_000
    texts: int = 256
    seconds: float = 30.0
    batch: int = 64
    waiting: int = 2048


class _Refused(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def make_app(served: Served, limits: Limits, token: str = "") -> tuple[Starlette, Batcher]:
    """Return the ASGI application and what computes its batches.

    Parameters
    ----------
    served : the model
    limits : what a request may cost
    token : secret that every request must bring as ``Authorization: Bearer TOKEN``. Without one, the name in ``Host``
        must be local, and no page of another site may ask
    """
    figures = Figures()
    batcher = Batcher(served.probabilities, limits.batch, limits.waiting, figures.note_batch)

    async def predict(request: Request) -> Response:
        return JSONResponse(await _predict(request, served, limits, batcher, figures))

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "labels": list(served.labels), "fields": list(served.fields)})

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(figures.text(batcher.waiting), media_type="text/plain; version=0.0.4")

    def guarded(
        answer: Callable[[Request], Awaitable[Response]], path: str
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            begun, status = time.perf_counter(), 500  # unless it is answered
            try:
                response = await _answered(request, answer, token)
                response.headers.update(_HEADERS)
                status = response.status_code
                return response
            finally:
                figures.note_request(path, status, time.perf_counter() - begun)

        return endpoint

    routes = [
        Route("/predict", guarded(predict, "/predict"), methods=["POST"]),
        Route("/health", guarded(health, "/health")),
        Route("/metrics", guarded(metrics, "/metrics")),
    ]
    return Starlette(routes=routes), batcher


async def _answered(request: Request, answer: Callable[[Request], Awaitable[Response]], token: str) -> Response:
    try:
        _check_sender(request, token)
        return await answer(request)
    except _Refused as error:
        return JSONResponse({"error": str(error)}, error.status)
    except ClientDisconnect:
        return Response(status_code=499)


def _check_sender(request: Request, token: str) -> None:
    if token:
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise _Refused(401, "send the header Authorization: Bearer TOKEN")
        return
    if hostname(request.headers.get("host", "")) not in LOCAL:
        raise _Refused(421, "this address is not served here")
    if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise _Refused(403, "requests from web pages are refused")


async def _predict(request: Request, served: Served, limits: Limits, batcher: Batcher, figures: Figures) -> list[Any]:
    try:
        body = await asyncio.wait_for(_body(request, limits.body), limits.seconds)
    except asyncio.TimeoutError:
        raise _Refused(408, f"the request took longer than {limits.seconds:g} seconds") from None
    rows, top, single = read_request(body, served.fields, limits.texts, len(served.labels))
    if not rows:
        return []
    try:
        found = await asyncio.wait_for(batcher.submit(rows), limits.seconds)
    except Busy:
        raise _Refused(503, "too many texts are waiting; try again later") from None
    except asyncio.TimeoutError:
        raise _Refused(504, f"no answer within {limits.seconds:g} seconds; try again later") from None
    except PetError as error:
        raise _Refused(400 if isinstance(error, TextError) else 500, str(error)) from None
    figures.note_texts(len(rows))
    answers = [ranked(served.labels, row, top) for row in found]
    return answers[0] if single else answers


async def _body(request: Request, most: int) -> bytes:
    """Read a body without ever holding more than `most` bytes."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise _Refused(413, f"a request may have {most} bytes")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise _Refused(413, f"a request may have {most} bytes")
    return bytes(body)


def read_request(
    body: bytes, fields: tuple[str, ...], most: int, labels: int
) -> tuple[list[dict[str, str]], int, bool]:
    """Parse the body of /predict.

    Parameters
    ----------
    body : JSON with ``inputs``: a text, an object with a text for each field, or a list of them; and optionally
        ``parameters`` with ``top_k``: number of labels to return, null for all
    fields : fields of the model; a single text is for a model with one field
    most : number of texts that a request may have
    labels : number of labels

    Returns
    -------
    rows, number of labels to return, and whether there is one input that is not in a list

    Examples
    --------
    >>> read_request(b'{"inputs": ["good", "bad"], "parameters": {"top_k": 1}}', ("text",), 10, 3)
    ([{'text': 'good'}, {'text': 'bad'}], 1, False)
    """
    try:
        given = parse_json(body.decode("utf-8"), "the request", 'send {"inputs": "a text"}')
    except UnicodeDecodeError as error:
        raise _Refused(400, f"the request is not in UTF-8 (byte {error.start + 1}); encode it in UTF-8") from None
    except PetError as error:
        raise _Refused(400, str(error)) from None
    if not isinstance(given, dict) or "inputs" not in given or set(given) - _KNOWN:
        raise _Refused(400, "send an object with the key inputs, and optionally parameters")
    inputs, parameters = given["inputs"], given.get("parameters") or {}
    if not isinstance(parameters, dict) or set(parameters) - {"top_k"}:
        raise _Refused(400, "parameters: the only one is top_k")
    top = parameters.get("top_k")
    if top is not None and (type(top) is not int or top < 1):
        raise _Refused(400, "top_k: must be 1 or more, or null for all labels")
    single = not isinstance(inputs, list)
    texts = [inputs] if single else inputs
    if len(texts) > most:
        raise _Refused(413, f"a request may have {most} texts")
    return [_row(text, fields, number) for number, text in enumerate(texts, 1)], min(top or labels, labels), single


def _row(text: Any, fields: tuple[str, ...], number: int) -> dict[str, str]:
    if isinstance(text, str) and len(fields) == 1:
        text = {fields[0]: text}
    known = isinstance(text, Mapping) and set(text) == set(fields)
    if not known or not all(isinstance(value, str) for value in text.values()):
        alone, names = "a text, or " if len(fields) == 1 else "", ", ".join(fields)
        wanted = f"{alone}an object with a text for each field ({names}), and no other keys"
        raise _Refused(400, f"input {number}: must be {wanted}")
    if not all(map(is_unicode, text.values())):  # tokenizers fail on it, and all requests of a batch would
        raise _Refused(400, f"input {number}: contains half a character (a lone surrogate such as \\ud83d); remove it")
    return {name: text[name] for name in fields}


def ranked(labels: tuple[str, ...], row: NDArray[Any], top: int) -> list[dict[str, Any]]:
    """Return the most probable labels, in the shape of a text-classification pipeline."""
    order = (-row).argsort(kind="stable")[:top]
    return [{"label": labels[place], "score": float(row[place])} for place in order]
