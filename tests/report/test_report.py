"""Tables and model cards: correct figures, and no text breaks out of its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hostile_report import HOSTILE, metrics

from pet.evaluate import evaluate
from pet.report.card import CardTask, student_card
from pet.report.tables import (
    comparison_table,
    differences_table,
    format_metrics,
    legend,
    majority_line,
    summarize,
    text_table,
)
from pet.statistics import paired

# ---- tables


def test_a_text_table_aligns_columns_by_display_width():
    rows = [["a", 1, 0.12345], ["情感", 10, None]]
    assert text_table(rows, ["name", "n", "f"]).splitlines() == [
        "name   n      f",
        "----  --  -----",
        "a      1  0.123",
        "情感  10      -",
    ]
    assert text_table([], ["name", "n"]) == "name  n\n----  -"
    with pytest.raises(ValueError):
        text_table([["a"]], ["name", "n"])


def test_summarize_gives_mean_and_sample_deviation_over_seeds():
    runs = [{"accuracy": value, "macro_f1": 0.5, "mcc": None} for value in (0.7, 0.8, 0.9)]
    summary = summarize(runs)
    assert summary["accuracy"] == {"mean": pytest.approx(0.8), "std": pytest.approx(0.1), "n": 3}
    assert summary["macro_f1"]["std"] == 0.0
    assert "mcc" not in summary and "ece" not in summary
    assert summarize(runs[:1])["accuracy"] == {"mean": 0.7, "std": None, "n": 1}
    assert summarize([]) == {}


def test_summarize_gives_mean_and_deviation_of_each_level():
    def run(*shares: float) -> dict[str, object]:
        return {"levels": [{"labels": 2, "accuracy": share, "macro_f1": share / 2} for share in shares]}

    first, second = summarize([run(0.6, 0.3), run(0.8, 0.3)])["levels"]
    assert first["labels"] == 2 and second["accuracy"] == {"mean": pytest.approx(0.3), "std": 0.0, "n": 2}
    assert first["accuracy"] == {"mean": pytest.approx(0.7), "std": pytest.approx(0.02**0.5), "n": 2}
    assert first["macro_f1"]["mean"] == pytest.approx(0.35)
    assert summarize([run(0.6)])["levels"][0]["accuracy"] == {"mean": 0.6, "std": None, "n": 1}
    assert "levels" not in summarize([run(0.6), {}])


def test_a_comparison_table_shows_means_and_deviations():
    one = {"accuracy": 0.5, "macro_f1": 0.25, "mcc": 0.0, "ece": 0.125}
    other = {"accuracy": 0.75, "macro_f1": 0.25, "mcc": -0.5, "ece": 0.125}
    table = comparison_table({"supervised": one, "student": [one, other], "none": {}})
    assert table.splitlines() == [
        "result      accuracy       macro F1       MCC             ECE",
        "----------  -------------  -------------  --------------  -------------",
        "supervised  0.500          0.250          0.000           0.125",
        "student     0.625 ± 0.177  0.250 ± 0.000  -0.250 ± 0.354  0.125 ± 0.000",
        "none        -              -              -               -",
    ]


def test_the_spread_over_seeds_is_beside_the_interval_over_texts():
    one = {"n": 10, "accuracy": 0.5, "accuracy_interval": [0.25, 0.75]}
    other = {"n": 10, "accuracy": 0.75, "accuracy_interval": [0.5, 1.0]}
    row = comparison_table({"student": [one, other]}).splitlines()[2]
    assert "0.625 ± 0.177 [0.375, 0.875]" in row
    assert "2 runs" in legend([one, other]) and "10 test texts" in legend([one, other])
    assert "seed" not in legend(one) and "95%" in legend(one) and "95%" not in legend({"n": 1})


def test_paired_differences_have_a_sign_an_interval_and_a_probability():
    gold = np.array([0, 1] * 20)
    found = {"result": "student", "others": {"a": paired(gold, gold, 1 - gold, 2), "b": paired(gold, gold, gold, 2)}}
    head, _, first, second = differences_table([found]).splitlines()
    assert head.split() == ["student", "minus", "accuracy", "P(better)", "macro", "F1", "P(better)"]
    assert first.startswith("a ") and "+1.000 [+0." in first and first.count("> 0.99") == 2
    assert second.split()[1] == "+0.000" and second.split()[4] == "0.50"
    other = {"result": "student", "others": {"a": paired(gold, gold, gold, 2)}}
    assert "+0.500 ± 0.707 [" in differences_table([found, other])


def test_the_metrics_of_a_task_come_first():
    one = {"accuracy": 0.5, "macro_f1": 0.25, "mcc": 0.75, "ece": 0.125}
    head, _, row = comparison_table({"student": one}, ["mcc", "accuracy"]).splitlines()
    assert head.split() == ["result", "MCC", "accuracy", "macro", "F1", "ECE"]
    assert row.split() == ["student", "0.750", "0.500", "0.250", "0.125"]


def test_the_majority_line_names_the_most_frequent_gold_label_and_its_share():
    result = evaluate(np.eye(3)[[0, 1, 2, 0, 0]], [2, 1, 2, 0, 2], ["a", "b", "c"])
    assert "'c'" in majority_line(result) and "0.600" in majority_line(result)


def test_formatted_metrics_are_aligned_and_safe_for_a_terminal():
    labels = ["World", "体育", "a\x1b[31m"]
    assert format_metrics(evaluate([[1.0, 0.0, 0.0]], [0], labels)).startswith("1 example, ")
    lines = format_metrics(evaluate(np.eye(3)[[0, 1, 1, 1, 2, 0]], [0, 0, 1, 1, 2, 2], labels)).splitlines()
    assert lines[0] == (
        "6 examples, accuracy 0.667 [0.300, 0.903], macro F1 0.656 [0.291, 0.906], MCC 0.522, ECE 0.333"
    )
    assert lines[2:] == [
        "",
        "label      precision  recall     F1  support",
        "---------  ---------  ------  -----  -------",
        "World          0.500   0.500  0.500        2",
        "体育           0.667   1.000  0.800        2",
        "a\\x1b[31m      1.000   0.500  0.667        2",
        "",
        "gold \\ predicted  World  体育  a\\x1b[31m",
        "----------------  -----  ----  ---------",
        "World                 1     1          0",
        "体育                  0     2          0",
        "a\\x1b[31m             1     0          1",
    ]


def test_labels_that_do_not_fit_side_by_side_are_counted_from_1():
    lines = format_metrics(evaluate(np.eye(2), [0, 1], ["a" * 90, "2"])).splitlines()
    assert [line.split() for line in lines[-2:]] == [["1", "a" * 90, "1", "0"], ["2", "2", "0", "1"]]


# ---- model cards


def front_matter(card: str) -> tuple[dict[str, Any], str]:
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert match
    return yaml.safe_load(match[1]), card[match.end() :]


def hostile_card() -> str:
    task = CardTask(
        name="<b>news</b>\n---\nx: y",
        labels=HOSTILE,
        description=HOSTILE[0] + HOSTILE[4],
        patterns=HOSTILE,
        reads=HOSTILE[11] + HOSTILE[0],
    )
    return student_card(
        task,
        "pet",
        "/home/somebody/secret/models/minilm",
        facts={"note": HOSTILE[11], "pipe | name": "a | b", "nothing": None, "labeled examples": 10},
        metrics=metrics(HOSTILE),
    )


def test_no_label_breaks_the_front_matter():
    data, _ = front_matter(hostile_card())
    assert set(data) == {"library_name", "pipeline_tag", "tags", "widget", "pet", "model-index"}
    assert data["pet"] == {"task": "<b>news</b>\n---\nx: y", "method": "pet", "labels": HOSTILE}
    assert not [row for row in data["widget"] if row["text"] in HOSTILE]


def test_the_hub_reads_figures_with_their_intervals():
    hub = pytest.importorskip("huggingface_hub")
    figures = {"n": 7, "accuracy": 0.5, "accuracy_interval": [0.25, 0.75], "macro_f1": 0.25, "per_class": {}}
    card = hub.ModelCard(student_card(CardTask(name="t", labels=["a"]), "pet", "mini-en", metrics=figures))
    found = {result.metric_type: result for result in card.data.eval_results}
    assert set(found) == {"accuracy", "f1"} and found["accuracy"].metric_value == 0.5
    assert "[0.250, 0.750]" in found["accuracy"].metric_name and "7" in found["f1"].dataset_name
    assert card.data.base_model is None  # the embedded model is not on the hub


def test_huggingface_hub_can_parse_the_card():
    hub = pytest.importorskip("huggingface_hub")
    text = hostile_card().encode("utf-8", "replace").decode("utf-8")
    assert hub.RepoCard(text).data.to_dict()["pet"]["labels"][:3] == HOSTILE[:3]


def test_texts_in_the_card_are_escaped():
    _, body = front_matter(hostile_card())
    assert "<" not in body
    assert not re.search(r"(?<!\\)\[link", body) and not re.search(r"(?<!\\)`code", body)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", body)
    assert [line for line in body.splitlines() if line.startswith("#")] == [
        "# \\<b\\>news\\</b\\> \\-\\-\\- x\\: y".replace("\\<", "&lt;").replace("\\>", "&gt;"),
        "## Labels",
        "## Usage",
        "## Training",
        "## Results on 40 test examples",
        "## Limitations",
    ]
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in body.splitlines() if line.startswith("|")}
    assert columns == {3, 6}
    assert body.count("\n- ") == 2 * len(HOSTILE)


def test_texts_in_the_card_render_as_plain_text():
    markdown = pytest.importorskip("markdown_it")
    _, body = front_matter(hostile_card())
    page = markdown.MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z0-9]+)", page))
    assert tags <= {"h1", "h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    assert page.count("<code") == 2  # `pet` and the example
    for text in (HOSTILE[0], HOSTILE[10], HOSTILE[11], HOSTILE[12], HOSTILE[13]):
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        assert page.count(escaped) >= 2, text


def test_the_card_shows_labels_usage_facts_and_metrics():
    reads, patterns = "{headline} {body}", ["{headline} {mask}"]
    card = student_card(
        CardTask(name="agnews", labels=["World", "Sports"], patterns=patterns, text_pair=True, reads=reads),
        "supervised",
        "microsoft/deberta-v3-small",
        facts={"labeled examples": 10},
        metrics={"n": 7, "accuracy": 0.5, "per_class": {}},
    )
    data, body = front_matter(card)
    assert data["base_model"] == "microsoft/deberta-v3-small"
    for part in [
        "- 0: World",
        "- 1: Sports",
        "text_pair",
        r"\{headline\} \{body\}",
        "| labeled examples | 10 |",
        "| accuracy | 0.500 |",
    ]:
        assert part in body
    assert "Patterns" not in body and "MCC" not in body


def test_the_card_shows_only_the_last_part_of_a_local_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, body = front_matter(hostile_card())
    assert "minilm" in body and "somebody" not in body
    # a folder whose path looks like a hub name
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "small").mkdir(parents=True)
    data, body = front_matter(student_card(CardTask(name="t", labels=["a"]), "pet", "models/small", metrics={}))
    assert "base_model" not in data and "| base model | small |" in body
    assert "Results" not in body
