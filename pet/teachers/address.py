"""The address of a teacher: the base URL of a server, and a model on it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pet.errors import PetError
from pet.settings import shorten

KIND = "openai"
KEY = "PET_TEACHER_KEY"  # environment variable; KEY_NAME for the member NAME
_OPENAI, _OPENAI_KEY = "https://api.openai.com", "OPENAI_API_KEY"
_EXAMPLE = f"{KIND}:http://127.0.0.1:8080/v1#MODEL"
_LONGEST = 2000


@dataclass(frozen=True)
class Address:
    """A model on a server.

    Attributes
    ----------
    url : base URL, without a slash at the end; ``/chat/completions`` is appended
    model : name of the model on the server
    """

    url: str
    model: str

    def __str__(self) -> str:
        return f"{self.url}#{self.model}"

    @property
    def is_local(self) -> bool:
        """True if the server is on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def parse_address(text: str) -> Address:
    """Parse ``URL#MODEL``.

    Raises
    ------
    PetError
        If it is not an HTTP address, names no model, or contains a password or a query, which would end up in files.

    Examples
    --------
    >>> parse_address("http://127.0.0.1:8080/v1/#smol")
    Address(url='http://127.0.0.1:8080/v1', model='smol')
    """
    shown = f"member {KIND}:{shorten(text)}"
    url, _, model = text.partition("#")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise PetError(f"{shown}: not a URL ({error}); write {_EXAMPLE}") from None
    if parts.username is not None or parts.password is not None or parts.query:
        # The text may be a secret, so it is not repeated.
        raise PetError(
            f"member {KIND}: the URL has a user name, a password or a query, and would be written to the run; remove "
            f"it, and set the environment variable {KEY} to the server's key"
        )
    if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isprintable() or " " in url:
        raise PetError(f"{shown}: not an HTTP address; write {_EXAMPLE}")
    if not model.strip() or not model.isprintable() or len(text) > _LONGEST:
        raise PetError(f"{shown}: the name of the model is missing or invalid; write {_EXAMPLE}")
    return Address(url.rstrip("/"), model.strip())


def member_name(model: str) -> str:
    """Return the name of the member for a model, which is also the name of its folder.

    Examples
    --------
    >>> member_name("HuggingFaceTB/SmolLM2 135M")
    'SmolLM2-135M'
    """
    name = re.sub(r"[^\w.-]+", "-", model.rstrip("/").rpartition("/")[2]).strip(".-")
    return name[:60] or KIND


def find_key(address: Address, name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the key for a server, which comes from the environment only; None if there is none.

    Parameters
    ----------
    address : the server; only that of OpenAI gets ``OPENAI_API_KEY``
    name : name of the member
    environment : default: that of the process

    Raises
    ------
    PetError
        If the key would be sent to another machine without encryption, or is not printable ASCII.
    """
    variables = os.environ if environment is None else environment
    own = f"{KEY}_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"
    places = [own, KEY, *([_OPENAI_KEY] if (address.url + "/").startswith(_OPENAI + "/") else [])]
    place = next((place for place in places if variables.get(place, "").strip()), None)
    if place is None:
        return None
    key = variables[place].strip()
    if not (key.isascii() and key.isprintable()):
        raise PetError(f"the environment variable {place} is not a key: it has characters that no key has; correct it")
    if address.url.startswith("http:") and not address.is_local:
        raise PetError(
            f"member {name}: {address.url} is not encrypted, and the key in {place} would be sent to it; use https, or "
            f"unset {place}"
        )
    return key
