"""Serve the page of `pet review` on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from pet.errors import PetError
from pet.review.server import make_app
from pet.review.session import Review

ADDRESS = "127.0.0.1"
_GRACE = 1  # seconds for open requests at the end


def serve(review: Review, port: int, ready: Callable[[str], None], *, browser: bool = True) -> None:
    """Serve a review; return after SIGINT (Ctrl-C) or SIGTERM.

    Parameters
    ----------
    review : the review
    port : port to listen on; 0: a free one
    ready : called with the address of the page when it can be opened
    browser : also open it in the default browser

    Raises
    ------
    PetError
        If the port cannot be used.
    """
    listening = listen(ADDRESS, port)
    token = secrets.token_urlsafe(24)
    address = f"http://{ADDRESS}:{listening.getsockname()[1]}/{token}/"
    server = quiet_server(make_app(review, token), _GRACE)
    with listening:
        until_stopped(server, listening, lambda: _announce(address, ready, browser))


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0: a free one. PetError if that is impossible."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.bind((address, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise PetError(
            f"--port {port}: cannot listen on it ({getattr(error, 'strerror', None) or error}); name another port, or "
            "leave out --port to get a free one"
        ) from None
    listening.listen()  # from now on browsers wait until the server is ready
    return listening


def _announce(address: str, ready: Callable[[str], None], browser: bool) -> None:
    ready(address)
    if browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


class _Server(uvicorn.Server):
    """A server that leaves signals alone: uvicorn raises them again at its end, and Ctrl-C is how a review ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def quiet_server(app: ASGIApp, grace: int, **options: Any) -> uvicorn.Server:
    """Return a server that logs only errors and leaves signals alone.

    Parameters
    ----------
    app : the ASGI application
    grace : seconds for open requests at the end
    **options : more options of ``uvicorn.Config``
    """
    return _Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="none",
            loop="asyncio",
            http="h11",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=grace,
            **options,
        )
    )


def until_stopped(server: uvicorn.Server, listening: socket.socket, begin: Callable[[], None]) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM, after calling `begin`."""

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        begin()
        asyncio.run(server.serve(sockets=[listening]))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
