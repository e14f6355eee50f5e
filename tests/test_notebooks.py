"""The notebooks in examples/: they have no outputs, run from beginning to end, and their results make sense."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SECONDS = 600  # of a cell, on a busy machine
# What holds at the end of a notebook, in its own variables.
HOLDS = {
    "tickets": """
baselines = result.table().loc[["embeddings", "tfidf"], "accuracy"]
assert result.table().loc["pet student", "accuracy"] > max(0.78, baselines.max()), result.table()
assert "pet student" in result._repr_html_()
assert list(classifier.predict(tickets)) == ["billing", "bug", "login", "cancellation"]
assert [found["label"] for found in classify(tickets)] == list(classifier.predict(tickets))
assert len(labels) == 400
""",
    "no-labels": """
assert zero_shot.score(test, test["label"]) > 0.8
assert ipet.score(test, test["label"]) > 0.88
assert generations["accepted"].all() and len(generations) == 2
""",
    "teacher": """
assert figures["accuracy"] > 0.8
members = result.members()
(name,) = [name for name in members.index if TEACHER.endswith(name)]
assert 0 < members.loc[name, "labeled"] < 0.05 and 0 <= members.loc[name, "weight"] < 1
assert (labels["confidence"].head(20) > 0.5).all()
""",
}


def read(name: str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))
    return notebook


def test_every_notebook_is_checked_and_listed() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(HOLDS)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({name}.ipynb)" in readme for name in HOLDS)


@pytest.mark.parametrize("name", HOLDS)
def test_a_notebook_has_no_outputs_and_short_cells(name: str) -> None:
    cells = read(name)["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(len("".join(cell["source"]).splitlines()) <= 20 for cell in code)
    assert len([cell for cell in cells if cell["cell_type"] == "markdown"]) >= len(code) // 2
    assert len({cell["id"] for cell in cells}) == len(cells)


@pytest.mark.parametrize("name", HOLDS)
def test_links_of_a_notebook_lead_to_files(name: str) -> None:
    text = "".join("".join(cell["source"]) for cell in read(name)["cells"] if cell["cell_type"] == "markdown")
    links = [part.split(")")[0].split("#")[0] for part in text.split("](")[1:]]
    assert all((EXAMPLES / link).is_file() for link in links), links


@pytest.mark.slow
@pytest.mark.notebook
@pytest.mark.timeout(4 * SECONDS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.llm] if name == "teacher" else []) for name in HOLDS]
)
def test_a_notebook_runs_and_its_results_make_sense(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import nbformat
    from nbclient import NotebookClient

    teacher = f"openai:{request.getfixturevalue('llm_address')}" if name == "teacher" else ""
    monkeypatch.setenv("PET_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "examples"
    place.mkdir()
    shutil.copytree(EXAMPLES.parent / "data", tmp_path / "data")
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = f"TEACHER = {teacher!r}"
    notebook.cells.append(nbformat.v4.new_code_cell(HOLDS[name]))  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": place}})
    client.execute()
