"""Let only the person who started the server in: a token in the address, and checks of where a request comes from."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost")
LARGEST_BODY = 1_000_000  # bytes
# Nothing but this server's own script and style may run or load; no page may be framed, no form sent anywhere.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware: answers only requests whose path begins with the token, from a page of this server.

    The name in ``Host`` must be local, so that no other site's name can point here (DNS rebinding). A request that
    changes something must have this server as its ``Origin``, so that no other site can send it.

    Parameters
    ----------
    app : what to protect; it sees the path without the token
    token : the secret first part of the path
    """

    def __init__(self, app: ASGIApp, token: str):
        self._app, self._token = app, token.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
            return
        refused = self._refusal(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if refused is not None:
            await refused(scope, receive, with_headers)
            return
        rest = scope["path"].split("/", 2)[2]
        inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), "root_path": ""}
        await self._app(inner, receive, with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if hostname(host) not in LOCAL:
            return PlainTextResponse("This address is not served here.", 421)
        _, _, path = scope["path"].partition("/")
        token, slash, _ = path.partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token) or not slash:
            return PlainTextResponse("Not found. Open the address that pet review has printed.", 404)
        if origin is None and scope["method"] in ("GET", "HEAD"):
            return None
        if origin != f"http://{host}":
            return PlainTextResponse("Requests from other pages are refused.", 403)
        length = headers.get("content-length", "")
        if scope["method"] == "POST" and (not length.isdigit() or int(length) > LARGEST_BODY):
            return PlainTextResponse("The request is too large.", 413)
        return None


def hostname(host: str) -> str | None:
    """Return the name in a ``Host`` header, without the port; None if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
