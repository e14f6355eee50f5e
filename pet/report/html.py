"""report.html of a run: one self-contained file without scripts or external resources."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pet.report.generations import generation_rows, generations_overview
from pet.report.tables import Metrics, comparison_rows, first_seed, headline, is_multi_label, majority_line
from pet.terminal import visible

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
th, td { padding: .2rem .6rem; border: 1px solid #ddd; text-align: left; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } th { background: #f5f5f5; }
.track { width: 14rem; height: .8rem; background: #eee; position: relative; }
.bar { height: 100%; background: #4a7ebb; }
.mark { position: absolute; top: -2px; bottom: -2px; width: 2px; background: #c33; }
.note { background: #fff6dd; padding: .3rem .6rem; }
"""
# A second line of defense: even text that slipped through the escaping could not run, load or send anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


# Columns of the table of class ratios -> their headers.
_RATIO = {
    "labeled": "labeled texts", "predicted": "predicted", "target": "corrected to", "estimated": "estimated",
    "low": "at least", "high": "at most",
}  # fmt: skip


def html_report(result: Mapping[str, Any]) -> str:
    """Return the HTML report of a run.

    Parameters
    ----------
    result : mapping
        Any of these keys; absent or empty ones are omitted from the report.

        - ``task``, ``method``: str
        - ``config``: mapping of plain values, nested to any depth
        - ``messages``, ``advice``: sequences of str, warnings and recommendations of the run
        - ``members``: mapping, name -> metrics; ``ensemble``, ``student``: metrics. Metrics are results of
          `pet.evaluate.evaluate`, or a sequence of them, one per seed; confusion matrix and reliability
          diagram then show the first seed.
        - ``baselines``: mapping, other method -> mapping with ``student`` or ``ensemble`` as above
        - ``class_ratio``: shares of the labels; see `pet.run.ratio_figures`
        - ``generations``: one entry per iPET generation, and ``labels``, the label names;
          see `pet.report.generations`

    Returns
    -------
    str
        HTML. Every text in `result` is escaped; control characters are shown as escapes, such as ``\\u202e``.
    """
    title = f"{result.get('task', 'run')}: {result.get('method', 'pet')}"
    body = [f"<h1>{_isolated(title)}</h1>"]
    body += [
        f'<p class="note">{_isolated(message)}</p>'
        for message in (*(result.get("messages") or ()), *(result.get("advice") or ()))
    ]
    results, task = _results(result), result.get("config", {}).get("settings", {}).get("task", {})
    if task.get("descriptions"):
        body += ["<h2>Labels</h2>", _table(["label", "meaning"], [list(row) for row in task["descriptions"].items()])]
    if results:
        shown = task.get("metrics", ())
        header = ["result", *headline(shown, multi_label=is_multi_label(results)).values()]
        body += ["<h2>Results</h2>", _table(header, comparison_rows(results, shown))]
        first = first_seed(next(iter(results.values())))
        body += [f"<p>{_isolated(majority_line(first))}</p>"] if first.get("per_class") else []
    for name in ("student", "ensemble"):
        if result.get(name):
            body += _details(name, first_seed(result[name]))
    body += _class_ratio(result.get("class_ratio") or {})
    body += _generations(result.get("generations") or (), result.get("labels") or ())
    if result.get("config"):
        body += ["<h2>Config</h2>", _table(["key", "value"], [list(row) for row in _flat(result["config"])])]
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_escape(title)}</title><style>{_STYLE}</style>"
    )
    content = "\n".join(body)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{content}\n</body></html>\n'


def _results(result: Mapping[str, Any]) -> dict[str, Metrics | Sequence[Metrics]]:
    found: dict[str, Metrics | Sequence[Metrics]] = {}
    for name, baseline in (result.get("baselines") or {}).items():
        metrics = baseline.get("student") or baseline.get("ensemble")
        if metrics:
            found[f"baseline {name}"] = metrics
    members = result.get("members") or {}
    found.update({f"member {name}": metrics for name, metrics in members.items() if metrics})
    found.update({name: result[name] for name in ("ensemble", "student") if result.get(name)})
    return found


def _details(name: str, metrics: Metrics) -> list[str]:
    per_class = metrics.get("per_class") or {}
    parts = [f"<h2>{_escape(name.capitalize())}</h2>"]
    if per_class:
        columns = ["precision", "recall", "f1", "support"]
        rows = [[label, *(row.get(column) for column in columns)] for label, row in per_class.items()]
        parts.append(_table(["label", *columns], rows))
    if metrics.get("confusion"):
        labels = list(per_class) or [str(i) for i in range(len(metrics["confusion"]))]
        rows = [[label, *counts] for label, counts in zip(labels, metrics["confusion"], strict=True)]
        parts += ["<h3>Confusion matrix</h3>", _table(["gold \\ predicted", *labels], rows)]
    if metrics.get("calibration"):
        parts += _reliability(metrics["calibration"])
    return parts


def _reliability(calibration: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a reliability diagram: a bar for the accuracy of each bin and a mark at its mean confidence."""
    rows = []
    for row in calibration:
        if not row["n"]:
            continue
        bar = f'<div class="bar" style="width:{_percent(row["accuracy"])}"></div>'
        mark = f'<div class="mark" style="left:{_percent(row["confidence"])}"></div>'
        rows.append(
            f"<tr><td>{float(row['lower']):.2f} to {float(row['upper']):.2f}</td>"
            f'<td class="number">{int(row["n"])}</td><td class="number">{float(row["accuracy"]):.3f}</td>'
            f'<td><div class="track">{bar}{mark}</div></td></tr>'
        )
    names = ["confidence", "examples", "accuracy", "accuracy (bar), confidence (mark)"]
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"
    return ["<h3>Reliability</h3>", f'<div class="wide"><table>{head}{"".join(rows)}</table></div>']


def _class_ratio(figures: Mapping[str, Any]) -> list[str]:
    """Return a table of the shares of each label that `pet.run.ratio_figures` reports."""
    columns = [name for name in _RATIO if figures.get(name)]
    if not columns:
        return []
    rows = [[label, *(figures[name].get(label) for name in columns)] for label in figures[columns[0]]]
    title = "<h2>Class ratio of the unlabeled texts</h2>"
    return [title, _table(["label", *(_RATIO[name] for name in columns)], rows)]


def _percent(share: float) -> str:
    return f"{100 * min(max(float(share), 0.0), 1.0):.1f}%"


def _generations(history: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[str]:
    if not history:
        return []
    header, rows = generations_overview(history)
    parts = ["<h2>Generations</h2>", _table(header, rows)]
    for entry in history:
        _, *of_labels = generation_rows([entry], labels)
        columns = [name for name in of_labels[0] if any(row[name] is not None for row in of_labels)]
        columns.remove("generation")
        title = f"<h3>Generation {int(entry['generation'])}</h3>"
        decision = [f"<p>{_isolated(line)}</p>" for line in _verdict(entry)]
        parts += [title, *decision, _table(columns, [[row[name] for name in columns] for row in of_labels])]
    return parts


def _verdict(entry: Mapping[str, Any]) -> list[str]:
    """Say whether a generation is used, and why it is the last."""
    lines = [f"{'Accepted' if entry['accepted'] else 'Not accepted'}: {entry['reason']}."] if "reason" in entry else []
    return [*lines, *([f"The last generation: {entry['ended']}."] if "ended" in entry else [])]


def _flat(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, config


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{_isolated(name)}</th>" for name in header)
    lines = ["<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows]
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        # Three decimals are enough for metrics, but would turn settings such as 1e-05 into 0.
        text = f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else repr(value)
        return f'<td class="number">{text}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="number">{value}</td>'
    return f"<td>{_isolated('-' if value is None else value)}</td>"


def _escape(value: object) -> str:
    # Control characters are invalid in HTML even as references, and bidirectional ones would reorder the page.
    return html.escape(visible(str(value)))


def _isolated(value: object) -> str:
    """Escape text, and keep right-to-left text from reordering its surroundings."""
    text = _escape(value)
    return f"<bdi>{text}</bdi>" if any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text) else text
