"""Counters of `pet serve`, in the text format of Prometheus."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, field

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass
class _Histogram:
    bounds: tuple[float, ...]
    counts: Counter[int] = field(default_factory=Counter)
    total: float = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> list[str]:
        found, lines = 0, [f"# TYPE {name} histogram"]
        for place, bound in enumerate(self.bounds):
            found += self.counts[place]
            lines.append(f'{name}_bucket{{le="{bound:g}"}} {found}')
        whole = sum(self.counts.values())
        return [*lines, f'{name}_bucket{{le="+Inf"}} {whole}', f"{name}_sum {self.total:g}", f"{name}_count {whole}"]


@dataclass
class Figures:
    """What has been served so far."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    texts: int = 0
    seconds: _Histogram = field(default_factory=lambda: _Histogram(_SECONDS))
    batches: _Histogram = field(default_factory=lambda: _Histogram(_TEXTS))

    def note_request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests[path, status] += 1
        if path == "/predict":
            self.seconds.add(seconds)

    def note_texts(self, texts: int) -> None:
        """Count classified texts."""
        self.texts += texts

    def note_batch(self, texts: int) -> None:
        """Count a batch."""
        self.batches.add(texts)

    def text(self, waiting: int) -> str:
        """Return all figures; paths and statuses are the server's own, so nothing needs escaping."""
        lines = ["# TYPE pet_requests_total counter"]
        lines += [
            f'pet_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self.requests.items())
        ]
        lines += ["# TYPE pet_texts_total counter", f"pet_texts_total {self.texts}"]
        lines += ["# TYPE pet_waiting_texts gauge", f"pet_waiting_texts {waiting}"]
        lines += self.seconds.lines("pet_predict_seconds") + self.batches.lines("pet_batch_texts")
        return "\n".join(lines) + "\n"
