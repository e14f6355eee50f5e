"""Serve a model until Ctrl-C or SIGTERM."""

from __future__ import annotations

from collections.abc import Callable

from pet.errors import PetError
from pet.review.guard import LOCAL
from pet.review.serve import listen, quiet_server, until_stopped
from pet.serving.app import Limits, make_app
from pet.serving.model import Served

TOKEN = "PET_SERVE_TOKEN"  # environment variable
_GRACE = 30  # seconds for open requests at the end
_CONNECTIONS = 512


def serve(served: Served, host: str, port: int, limits: Limits, token: str, ready: Callable[[str], None]) -> None:
    """Serve a model; return after SIGINT (Ctrl-C) or SIGTERM, when open requests are answered.

    Parameters
    ----------
    served, limits, token : see `pet.serving.app.make_app`
    host : address to listen on; one that other machines can reach requires a token
    port : port to listen on; 0: a free one
    ready : called with the address when requests can be sent

    Raises
    ------
    PetError
        If the port cannot be used, the address requires a token, or no request could send the token.
    """
    if not (token.isascii() and token.isprintable()):
        raise PetError(f"{TOKEN}: has characters that a header cannot hold; use printable ASCII characters")
    if host not in LOCAL and not token:
        raise PetError(
            f"--host {host}: other machines could use the server; set a secret in the environment variable {TOKEN}, "
            "which requests must send as Authorization: Bearer SECRET, or leave out --host"
        )
    listening = listen(host, port)
    app, batcher = make_app(served, limits, token)
    server = quiet_server(app, _GRACE, limit_concurrency=_CONNECTIONS, timeout_keep_alive=15, backlog=_CONNECTIONS)
    with listening:
        try:
            until_stopped(server, listening, lambda: ready(f"http://{host}:{listening.getsockname()[1]}"))
        finally:
            batcher.close()
