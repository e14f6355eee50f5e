"""The plot of `review.py`: accuracy by labels given, one small diagram for each data set, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

Curves = Mapping[str, Mapping[str, Sequence[tuple[int, float, float]]]]
COLORS = {"suggest": "#0b6e4f", "random": "#555555", "entropy": "#b3541e"}
DASHES = {"suggest": "", "random": "6 3", "entropy": "2 3"}
WIDTH, HEIGHT, LEFT, TOP, COLUMNS = 250, 190, 44, 34, 4
INNER_WIDTH, INNER_HEIGHT = WIDTH - LEFT - 14, HEIGHT - TOP - 34


def plot(curves: Curves) -> str:
    """Return an SVG document.

    Parameters
    ----------
    curves : data set -> strategy -> (labels given, accuracy, standard error)
    """
    rows = -(-len(curves) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT + 30
    parts = [_panel(name, own, number) for number, (name, own) in enumerate(curves.items())]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">\n<title>Accuracy by number of labels</title>\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n{"".join(parts)}{_legend(rows * HEIGHT + 14)}</svg>\n'
    )


def _panel(name: str, curves: Mapping[str, Sequence[tuple[int, float, float]]], number: int) -> str:
    points = [point for line in curves.values() for point in line]
    most = max((count for count, *_ in points), default=0) or 1
    low = min(accuracy - error for _, accuracy, error in points)
    high = max(accuracy + error for _, accuracy, error in points)
    low, high = low - 0.01, max(high + 0.01, low + 0.05)

    def across(count: int) -> float:
        return LEFT + INNER_WIDTH * count / most

    def down(accuracy: float) -> float:
        return TOP + INNER_HEIGHT * (high - accuracy) / (high - low)

    lines = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(name)} examples</text>\n']
    for step in range(3):
        value = low + (high - low) * step / 2
        y = down(value)
        lines.append(f'<path d="M{LEFT} {y:.1f}h{INNER_WIDTH}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{100 * value:.0f}%</text>\n')
    for count in sorted({count for count, *_ in points}):
        lines.append(f'<text x="{across(count):.1f}" y="{HEIGHT - 16}" text-anchor="middle">{count}</text>\n')
    for strategy, line in curves.items():
        color = COLORS[strategy]
        path = " ".join(f"{across(count):.1f},{down(accuracy):.1f}" for count, accuracy, _ in line)
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2" '
            f'stroke-dasharray="{DASHES[strategy]}"/>\n'
        )
        for count, accuracy, error in line:
            x = across(count)
            lines.append(
                f'<path d="M{x:.1f} {down(accuracy - error):.1f}V{down(accuracy + error):.1f}" stroke="{color}">'
                f"<title>{strategy}, {count} labels: {100 * accuracy:.1f}%</title></path>\n"
            )
    x, y = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
    return f'<g transform="translate({x} {y})">\n{"".join(lines)}</g>\n'


def _legend(y: float) -> str:
    parts, x = [], LEFT
    for strategy, color in COLORS.items():
        parts.append(
            f'<path d="M{x} {y}h28" stroke="{color}" stroke-width="2" stroke-dasharray="{DASHES[strategy]}"/>'
            f'<text x="{x + 34}" y="{y + 4}">{strategy}</text>\n'
        )
        x += 110
    return f'{"".join(parts)}<text x="{x}" y="{y + 4}">labels given; bars: one standard error</text>\n'
