"""Pages: one HTML file from templates, readable without scripts, that loads nothing.

The templates escape every value. What is left for attackers are characters that reorder or hide text, which are shown
as escapes. The content security policy names the hashes of the style and of the script: text that slipped through
could still not run, load or send anything.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pet.terminal import visible

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_CHARACTERS = 600  # of a field of a text


def render(template: str, **values: Any) -> str:
    """Return a page.

    Parameters
    ----------
    template : name of a file in ``templates/``
    values : plain values for it; texts are escaped
    """
    page: str = _environment().get_template(template).render(values)
    return page


_ABOUT_ESTIMATED = (
    "“Estimated” corrects the predicted shares by how often each label is mistaken for another one in labeled texts "
    "that members left out. In brackets: 95% interval."
)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    environment.globals["policy"] = _policy(style, script)
    environment.globals["about_estimated"] = _ABOUT_ESTIMATED
    environment.filters |= {"percent": percent, "figure": figure}  # type: ignore[dict-item]
    return environment


def _policy(style: str, script: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )


def _shown(value: Any) -> Any:
    """Return a value of a template as it is printed: control characters become escapes, and blanks have quotes."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return visible(f"'{value}'" if value.isspace() else value)


def short(text: str) -> str:
    """Return the beginning of a text that a page shows."""
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS].rstrip()} …"


def percent(share: float, digits: int = 1) -> str:
    """Format a share in percent.

    Examples
    --------
    >>> percent(0.9104), percent(0.5, 0)
    ('91.0%', '50%')
    """
    return f"{100 * share:.{digits}f}%"


def figure(value: Any) -> Any:
    """Format a number of a table; other values stay.

    Examples
    --------
    >>> figure(0.91), figure(1e-05), figure(None), figure(7), figure("x")
    ('0.910', '1e-05', '–', 7, 'x')
    """
    if value is None:
        return "–"
    if isinstance(value, float):
        # Three decimals are enough for metrics, but would turn settings such as 1e-05 into 0.
        return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else repr(value)
    return value
