"""What servers with the chat API understand, from the best to what all of them can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LOGPROBS, VOTES = "logprobs", "votes"
_VOTE_TOKENS = 16


@dataclass(frozen=True)
class Dialect:
    """What a server understands.

    Attributes
    ----------
    kind : ``logprobs`` or ``votes``
    top : log-probabilities of that many tokens
    limit : name of the limit of the tokens of an answer
    """

    kind: str = LOGPROBS
    top: int = 20
    limit: str = "max_tokens"

    def body(self, messages: list[dict[str, str]], number: int) -> dict[str, Any]:
        """Return a request; `number` counts the requests about a text."""
        if self.kind == LOGPROBS:
            asks = {self.limit: 1, "temperature": 0, "logprobs": True, "top_logprobs": self.top}
            return {"messages": messages, **asks}
        return {"messages": messages, self.limit: _VOTE_TOKENS, "temperature": 1, "seed": number}


DIALECTS = [
    Dialect(kind, top, limit)
    for kind, top in ((LOGPROBS, 20), (LOGPROBS, 5), (VOTES, 0))
    for limit in ("max_tokens", "max_completion_tokens")
]
