"""Geometry of charts: numbers in, positions out. The templates draw them as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pet.evaluate import chance_ece
from pet.statistics import wilson
from pet.terminal import counted

WIDTH, HEIGHT = 320, 200  # a phone shows this without shrinking the letters
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 8, 10, 38


@dataclass(frozen=True)
class Chart:
    """A drawing and its description.

    Attributes
    ----------
    title, description : what is shown, and what it says; read aloud by screen readers
    x_name, y_name : of the axes
    x_ticks, y_ticks : (position, text)
    bars : (x, y, width, height)
    lines : each a list of points "x,y", as the attribute of a polyline
    bands : as `lines`, of areas
    points : (x, y, low, high): a circle, and the ends of its interval
    guides : (x1, y1, x2, y2), for comparison
    table : header and rows with the numbers
    """

    title: str
    description: str
    x_name: str = ""
    y_name: str = ""
    x_ticks: Sequence[tuple[float, str]] = ()
    y_ticks: Sequence[tuple[float, str]] = ()
    bars: Sequence[tuple[float, float, float, float]] = ()
    lines: Sequence[str] = ()
    bands: Sequence[str] = ()
    points: Sequence[tuple[float, float, float, float]] = ()
    guides: Sequence[tuple[float, float, float, float]] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = field(default=())

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM


def _x(share: float) -> float:
    return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)


_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def _percents(place: Any) -> list[tuple[float, str]]:
    return [(place(share), f"{100 * share:.0f}%") for share in _SHARES]


def histogram(title: str, x_name: str, counts: Mapping[str, int]) -> Chart:
    """Return bars with the number of texts in each class, from left to right.

    Examples
    --------
    >>> chart = histogram("Confidence", "confidence", {"0 to 0.5": 1, "0.5 to 1": 3})
    >>> len(chart.bars), chart.rows[1]
    (2, ('0.5 to 1', 3, '75.0%'))
    """
    total, most, number = sum(counts.values()), max([*counts.values(), 1]), len(counts)
    bars = []
    for position, count in enumerate(counts.values()):
        left, right = _x((position + 0.08) / number), _x((position + 0.92) / number)
        bars.append((left, _y(count / most), round(right - left, 1), round(_y(0) - _y(count / most), 1)))
    names = list(counts)
    shown = sorted({0, number // 2, number - 1}) if number > 6 else range(number)
    ticks = [(_x((position + 0.5) / number), names[position]) for position in shown]
    if all(" to " in name for name in names):  # classes: their ends, between the bars
        ends = [names[0].split(" to ")[0], *(name.split(" to ")[1] for name in names)]
        ticks = [(_x(position / number), ends[position]) for position in (0, number // 2, number)]
    largest = max(counts, key=lambda name: counts[name])
    return Chart(
        title,
        f"{counted(total, 'text')}; the highest bar, {largest}, has {counts[largest]}.",
        x_name,
        "texts",
        ticks,
        [(_y(0), "0"), (_y(1), f"{most}")],
        bars,
        header=[x_name, "texts", "share"],
        rows=[(name, count, f"{100 * count / max(total, 1):.1f}%") for name, count in counts.items()],
    )


def reliability(calibration: Sequence[Mapping[str, Any]], ece: float) -> Chart:
    """Return accuracy over confidence, with the 95% interval of each class; see `pet.evaluate.evaluate`."""
    points, rows = [], []
    for row in calibration:
        if row["n"]:
            low, high = wilson(round(row["accuracy"] * row["n"]), row["n"])
            points.append((_x(min(row["confidence"], 1)), _y(row["accuracy"]), _y(low), _y(high)))
            span = f"{row['lower']:.2f} to {row['upper']:.2f}"
            rows.append((span, row["n"], row["confidence"], row["accuracy"], f"{low:.3f} to {high:.3f}"))
    return Chart(
        "Reliability",
        f"On the diagonal, a confidence of 80% means 80% right. Points below it are overconfident. The expected "
        f"calibration error is {ece:.3f}; with perfect calibration it would still be about "
        f"{chance_ece(calibration):.3f} by chance.",
        "confidence",
        "accuracy",
        _percents(_x),
        _percents(_y),
        points=points,
        guides=[(_x(0), _y(0), _x(1), _y(1))],
        header=["confidence", "texts", "mean confidence", "accuracy", "95% interval"],
        rows=rows,
    )


def coverage(curve: Sequence[Mapping[str, Any]]) -> Chart:
    """Return accuracy over the share of texts that are answered, the most confident first.

    Parameters
    ----------
    curve : for each point ``n`` texts, ``right`` ones, the ``share`` of all texts, and the lowest ``confidence``
    """
    ends = [wilson(row["right"], row["n"]) for row in curve]
    best = [(_x(row["share"]), _y(row["right"] / row["n"])) for row in curve]
    band = [(x, _y(high)) for (x, _), (_, high) in zip(best, ends, strict=True)]
    band += [(x, _y(low)) for (x, _), (low, _) in reversed(list(zip(best, ends, strict=True)))]
    first, last = curve[0], curve[-1]
    return Chart(
        "Accuracy against coverage",
        f"Of all texts, {100 * last['right'] / last['n']:.1f}% are right; of the most confident "
        f"{100 * first['share']:.0f}%, {100 * first['right'] / first['n']:.1f}%. The band is the 95% interval.",
        "share of texts answered",
        "accuracy",
        _percents(_x),
        _percents(_y),
        lines=[_points(best)],
        bands=[_points(band)],
        header=["share of texts", "texts", "accuracy", "95% interval", "confidence at least"],
        rows=[
            (f"{100 * row['share']:.0f}%", row["n"], row["right"] / row["n"], f"{low:.3f} to {high:.3f}",
             row["confidence"])
            for row, (low, high) in zip(curve, ends, strict=True)
        ],
    )  # fmt: skip


def losses(title: str, values: Sequence[float | None]) -> Chart:
    """Return a loss curve."""
    known = [(number, value) for number, value in enumerate(values) if value is not None]
    most = max([value for _, value in known] + [1e-9])
    last = max(len(values) - 1, 1)
    line = [(_x(number / last), _y(max(value, 0.0) / most)) for number, value in known]
    ends = f"It falls from {known[0][1]:.3f} to {known[-1][1]:.3f}." if known else "It has no finite values."
    if known and known[-1][1] >= known[0][1]:
        ends = f"It goes from {known[0][1]:.3f} to {known[-1][1]:.3f}."
    return Chart(
        title,
        ends,
        "training",
        "loss",
        [(_x(0), "start"), (_x(1), "end")],
        [(_y(0), "0"), (_y(1), f"{most:.3g}")],
        lines=[_points(line)],
        header=["reading", "mean loss"],
        rows=[(number + 1, value) for number, value in enumerate(values)],
    )


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def span(low: float, middle: float, high: float, scale: float) -> dict[str, float]:
    """Return the positions of an interval around 0 in a drawing of width 120: from -scale to +scale."""
    place = lambda value: round(60 + 58 * max(-1.0, min(1.0, value / scale)), 1)  # noqa: E731
    return {"low": place(low), "middle": place(middle), "high": place(high)}
