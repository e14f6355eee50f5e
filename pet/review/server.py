"""The page of `pet review`: its files, and what its script asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from pet.errors import PetError
from pet.review.guard import Guard
from pet.review.ledger import Conflict
from pet.review.session import LONGEST_SEARCH, MOST_SIMILAR, STATES, TO_DO, Filter, Review
from pet.store.json_reader import parse_json
from pet.store.schema import Check, list_of, record, text, whole

PAGE = Path(__file__).with_name("page")
MOST_ITEMS = 50
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_ROW, _LINE = whole(0, 2**40), whole(0, 2**40)
_MOST_ROWS = MOST_SIMILAR + 1
_ROWS = {"rows": list_of(_ROW, 1, _MOST_ROWS), "lines": list_of(_LINE, 1, _MOST_ROWS), "after": _LINE}
_NOTE = text(20_000)
DECIDE = record(
    {**_ROWS, "verdict": text(40)}, {"labels": list_of(whole(0, 2**31)), "note": _NOTE, "others_note": _NOTE}
)
UNDO = record(
    {"rows": list_of(_ROW, 0, _MOST_ROWS), "lines": list_of(_LINE, 0, _MOST_ROWS), "after": _LINE, "last": _LINE}
)


class _Refused(Exception):
    """A request that the page would not send."""


def make_app(review: Review, token: str) -> Guard:
    """Return the ASGI application of a review; its page is at ``/TOKEN/``."""
    routes = [
        Route("/", _page_file("review.html")),
        *(Route(f"/{path.name}", _page_file(path.name)) for path in sorted(PAGE.iterdir()) if path.suffix in _KINDS),
        Route("/api/about", _answering(review, _about)),
        Route("/api/texts", _answering(review, _texts)),
        Route("/api/state", _answering(review, _state)),
        Route("/api/similar", _answering(review, _similar)),
        Route("/api/decide", _answering(review, _decide), methods=["POST"]),
        Route("/api/undo", _answering(review, _undo), methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes), token)


def _page_file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def file(request: Request) -> Response:
        return FileResponse(PAGE / name, media_type=f"{_KINDS[Path(name).suffix]}; charset=utf-8")

    return file


def _answering(
    review: Review, answer: Callable[[Review, Request, bytes], dict[str, Any]]
) -> Callable[[Request], Awaitable[Response]]:
    # One request after another, in the thread of the server: the review needs no locks of its own.
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(answer(review, request, await request.body()))
        except _Refused as error:
            return JSONResponse({"error": str(error)}, 400)
        except Conflict as error:
            return JSONResponse({"error": str(error)}, 409)
        except PetError as error:
            return JSONResponse({"error": "\n".join(error.problems)}, 500)

    return endpoint


def _about(review: Review, request: Request, body: bytes) -> dict[str, Any]:
    return {**review.about(), **review.state(review.ledger.revision)}


def _texts(review: Review, request: Request, body: bytes) -> dict[str, Any]:
    given = request.query_params
    state, label = given.get("state", TO_DO), given.get("label", "")
    if state not in STATES:
        raise _Refused(f"state {state!r}: choose {', '.join(STATES)}")
    wanted = Filter(
        state,
        _number(label, len(review.task.labels) - 1) if label else None,
        given.get("search", "").strip()[:LONGEST_SEARCH],
    )
    start, count = _number(given.get("start", "0"), 2**40), _number(given.get("count", "20"), MOST_ITEMS)
    return review.page(wanted, start, count)


def _state(review: Review, request: Request, body: bytes) -> dict[str, Any]:
    return review.state(_number(request.query_params.get("after", "0"), 2**40))


def _similar(review: Review, request: Request, body: bytes) -> dict[str, Any]:
    row = _number(request.query_params.get("row", ""), len(review.ids) - 1)
    return review.similar(row, _number(request.query_params.get("count", "25"), MOST_SIMILAR))


def _decide(review: Review, request: Request, body: bytes) -> dict[str, Any]:
    given = _body(body, DECIDE, review)
    said = given["verdict"], given.get("labels", []), given.get("note", ""), given.get("others_note")
    replaced = review.decide(given["rows"], given["lines"], *said)
    others = [{"row": review.rows[one.now.id], **_said(one.before)} for one in replaced]
    # Before `state` reads what others append: they may decide about the same texts.
    made = [review.ledger.decisions.changed(review.ids[row]) for row in given["rows"]]
    return {**review.state(given["after"]), "replaced": others, "made": made}


def _said(before: Any) -> dict[str, Any]:
    return {"verdict": None if before is None else before.verdict, "labels": [] if before is None else before.labels}


def _undo(review: Review, request: Request, body: bytes) -> dict[str, Any]:
    given = _body(body, UNDO, review)
    made = dict(zip(given["rows"], given["lines"], strict=True))
    rows = review.undo(made) if made else review.undo_last(given["last"])
    return {**review.state(given["after"]), "rows": rows, "items": review.items(rows[:1])}


def _body(body: bytes, schema: Check, review: Review) -> dict[str, Any]:
    try:
        given: dict[str, Any] = parse_json(body.decode("utf-8"), "the request", "load the page again", schema)
    except (PetError, UnicodeDecodeError) as error:
        raise _Refused(str(error)) from None
    if len(given["rows"]) != len(given["lines"]):
        raise _Refused("rows and lines have different lengths")
    wrong = [row for row in given["rows"] if row >= len(review.ids)]
    if wrong or len(set(given["rows"])) < len(given["rows"]):
        raise _Refused(f"there is no text {wrong[0]}" if wrong else "a text is there twice")
    return given


def _number(given: str, most: int) -> int:
    if not given.isascii() or not given.isdigit() or len(given) > 15 or int(given) > most:
        raise _Refused(f"{given[:40]!r} is not a number from 0 to {most}")
    return int(given)
