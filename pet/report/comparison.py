"""What `pet compare` prints, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pet.report.pages import render, short
from pet.report.tables import NAMES, interval, legend, probability, text_table
from pet.terminal import clean, fit

_LISTED = 10  # changed texts that are printed
_SHOWN = 300  # changed texts on a page
_WIDTH = 100


def run_header(found: Mapping[str, Any]) -> list[str]:
    """Return the columns of `run_rows`."""
    return ["run", *(NAMES[name] for name in _figures(found)), "minus the first", "P(better)", "fixed", "broken"]


def _figures(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return the two figures of each run; the first one is compared."""
    return "micro_f1" if "micro_f1" in found["runs"][0]["figures"] else "accuracy", "macro_f1"


def comparison_lines(found: Mapping[str, Any]) -> str:
    """Format the result of `pet.review.compare.compare_runs` for a terminal."""
    changed = found["changed"]
    parts = [f"{text_table(run_rows(found), run_header(found))}\n{legend(found['runs'][0]['figures'])}"]
    more = f"; the first {_LISTED}" if len(changed) > _LISTED else ""
    lines = [f"Texts whose label changed: {len(changed)} of {found['n']}{more}"]
    lines += [f"  {_line(text)}" for text in changed[:_LISTED]]
    return "\n\n".join([*parts, "\n".join(lines)])


def _line(text: Mapping[str, Any]) -> str:
    labels = " -> ".join(clean(label) for label in text["labels"])
    values = " | ".join(" ".join(value.split()) for value in text["fields"].values())
    return f"{labels} (gold {clean(text['gold'])})  {fit(clean(values), _WIDTH)}"


def run_rows(found: Mapping[str, Any]) -> list[list[Any]]:
    """Return one row per run, in the columns of `run_header`."""
    rows = []
    for run in found["runs"]:
        figures, difference = run["figures"], run.get("difference")
        row: list[Any] = [run["run"]]
        row += [f"{figures[name]:.3f} {interval(figures[f'{name}_interval'])}" for name in _figures(found)]
        if difference is None:
            row += [None] * 4
        else:
            main = difference[_figures(found)[0]]
            row.append(f"{main['difference']:+.3f} {interval(main['interval'], '+')}")
            row += [probability(main["better"]), run["fixed"], run["broken"]]
        rows.append(row)
    return rows


def comparison_page(found: Mapping[str, Any]) -> str:
    """Return a page of the result of `pet.review.compare.compare_runs`. Every text is escaped."""
    runs: Sequence[Mapping[str, Any]] = found["runs"]
    changed = [
        {
            "fields": _fields(text["fields"]),
            "gold": text["gold"],
            "said": list(zip((run["run"] for run in runs), text["labels"], text["confidences"], strict=True)),
        }
        for text in found["changed"][:_SHOWN]
    ]
    per_label = [run["figures"]["per_class"] for run in runs]
    labels = [
        [label, *(figures[label]["f1"] for figures in per_label), per_label[0][label]["support"]]
        for label in found["labels"]
    ]
    return render(
        "compare.html",
        title=f"{len(runs)} runs on the same {found['n']} test texts",
        header=run_header(found),
        rows=run_rows(found),
        legend=legend(runs[0]["figures"]),
        label_header=["label", *(f"F1 of {run['run']}" for run in runs), "support"],
        labels=labels,
        changed=changed,
        total=len(found["changed"]),
        n=found["n"],
    )


def _fields(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name if len(fields) > 1 else "", short(text)) for name, text in fields.items()]
