"""Teachers in whole runs: who gets the texts, what is written, and how rows without an opinion are merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fake_server import FakeServer, fake_server, knowing
from small_run import QUICK, write_inputs, write_rows
from tiny_text import LABELS, news_rows

from pet.cli.main import main
from pet.ensemble.combine import Ensemble
from pet.ensemble.scale import Scale
from pet.ensemble.stacking import Prior, stack

pytest.importorskip("httpx2")

FILES = ["--train", "train.jsonl", "--unlabeled", "pool.jsonl"]
KEY = "sk-secret-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with fake_server(knowing({label.lower(): label for label in LABELS})) as running:
        yield running


@pytest.fixture(scope="module")
def place(server: FakeServer, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs, and a finished run that was taught."""
    folder = write_inputs(tmp_path_factory.mktemp("taught"))
    options = ["-m", str(tiny_model), *QUICK, "--set", "teacher_texts=9", "-o", "run"]
    result = pet(folder, "run", "task.yaml", "--teacher", f"openai:{server.address}", *FILES, *options)
    assert result.exit_code == 0, result.output
    return folder


def pet(folder: Path, *arguments: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PET_CACHE", str(folder / "cache"))
        patch.setenv("PET_TEACHER_KEY", KEY)
        return CliRunner().invoke(main, list(arguments))


def test_a_run_asks_about_the_labeled_texts_and_a_sample_of_the_pool(server: FakeServer, place: Path) -> None:
    scores = np.load(place / "run" / "g0" / "fake" / "pool-logits.npy")
    assert np.isfinite(scores).all(axis=1).sum() == 9 and np.isnan(scores).all(axis=1).sum() == 7
    assert np.isfinite(np.load(place / "run" / "g0" / "fake" / "train-logits.npy")).all()
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


def test_no_file_of_a_run_has_the_key(place: Path) -> None:
    files = [path for path in [*(place / "run").rglob("*"), *(place / "cache").iterdir()] if path.is_file()]
    assert len(files) > 10 and not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_run_from_elsewhere_sends_no_text_unless_its_teacher_is_named(server: FakeServer, place: Path) -> None:
    write_rows(place / "new.jsonl", [{"id": "n1", "text": "Unheard sports."}, {"id": "n2", "text": "Unheard world."}])
    label = ("label", "run", "--input", "new.jsonl", "--device", "cpu", "--force", "-o", "labels.jsonl")
    before = len(server.requests)
    with pytest.warns(UserWarning, match="abstains on 2 of 2 texts.*--teacher"):
        assert pet(place, *label).exit_code == 0
    assert len(server.requests) == before and votes(place) == [None, None]
    other = pet(place, *label, "--teacher", "openai:http://127.0.0.1:1/v1#other")
    assert other.exit_code != 0 and len(server.requests) == before
    assert pet(place, *label, "--teacher", f"openai:{server.address}").exit_code == 0
    assert len(server.requests) == before + 4 and votes(place) == ["Sports", "World"]


def votes(place: Path) -> list[str | None]:
    lines = (place / "labels.jsonl").read_text().splitlines()
    return [json.loads(line)["votes"].get("fake") for line in lines]


def test_a_check_says_what_a_teacher_costs_and_sends_no_text(server: FakeServer, place: Path) -> None:
    texts = [row["text"] for row in news_rows()]
    before = len(server.requests)
    options = ["--no-model", "--max-calls", "50", "--json"]
    result = pet(place, "check", "task.yaml", "--teacher", f"openai:{server.address}", *FILES, *options)
    (cost,) = json.loads(result.stdout)["teachers"]
    assert (cost["texts"], cost["calls"], cost["limited"]) == (28, 50, "--max-calls") and cost["tokens"] > 100
    assert not [text for text in texts for body in server.requests[before:] if text in json.dumps(body)]


def test_a_server_that_is_down_ends_a_run_before_anything_is_trained(place: Path, tiny_model: Path) -> None:
    with fake_server(lambda body: (404, {}, b"no such model")) as other:
        options = ["-m", str(tiny_model), *QUICK, "--teacher-cache", "empty", "-o", "down"]
        result = pet(place, "run", "task.yaml", "--teacher", f"openai:{other.address}", *FILES[:2], *options)
    assert result.exit_code != 0 and other.url in result.stderr
    assert not list((place / "down").glob("g0/p1-r1"))


def test_rows_without_an_opinion_are_merged_as_the_weights_were_learned() -> None:
    generator = np.random.default_rng(0)
    gold = generator.integers(0, 3, 40)
    scores = [generator.normal(size=(40, 3)) + 2 * np.eye(3)[gold] for _ in range(2)]
    scores[1][::2] = np.nan
    stacked = stack(["pattern", "rules:r"], scores, gold, {"pattern": Prior(0.8), "rules:r": Prior(0.2)})
    ensemble = Ensemble.of(["p", "r"], labels=3, weights=stacked.weights, rule="learned",
                           scales=[Scale.LOGITS, Scale.LOG_PROBABILITIES])  # fmt: skip
    logs = ensemble.merge(scores) / stacked.temperature
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(logs, stacked.log_probabilities, atol=1e-9)
