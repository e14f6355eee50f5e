"""A run says how far it is as a whole, and about how long it still takes."""

from __future__ import annotations

import io
from pathlib import Path

from small_run import QUICK, TASK, write_inputs

from pet.progress import Reporter
from pet.run.outlook import Costs, Outlook, outlook_of
from pet.run.resolve import resolve
from pet.run.settings import RunSettings
from pet.task.task import Task

COSTS = Costs(["g0/a", "g0/b", "g1/a"], [100, 100, 200], scored=600, student=50, batch=4, student_batch=16)


def test_the_rest_is_estimated_from_what_was_measured_so_far() -> None:
    outlook = Outlook(COSTS)
    # 1 s an update of 4 texts, so 1/12 s to score a text and 4 s an update of the student.
    assert outlook("train g0/a", 40, 40.0) == "member 1 of 3; about 12 min left in all"  # 60 + 300 + 3 * 50 + 200 s
    outlook.ended("train g0/a", 100, 100.0)
    outlook.ended("score pool with g0/a", 600, 600.0)  # slower than expected
    assert outlook("train g0/b", 0, 0.0) == "member 2 of 3; about 28 min left in all"  # 300 + 2 * 600 + 200 s
    assert outlook("score pool with g1/a", 300, 300.0) == "member 3 of 3; about 8 min left in all"  # 300 + 200 s
    assert outlook("train student", 25, 50.0) == "student; about 50 s left in all"


def test_other_tasks_say_nothing_and_unknown_speeds_are_not_guessed() -> None:
    outlook = Outlook(COSTS)
    assert outlook("embed pool with encoder", 5, 1.0) == "" and outlook("train baselines/x", 1, 1.0) == ""
    assert outlook("train g0/b", 0, 0.0) == "member 2 of 3"


def test_a_reporter_shows_it_beside_the_task() -> None:
    now, stream = [0.0], io.StringIO()
    reporter = Reporter("plain", stream, clock=lambda: now[0])
    reporter.outlook = Outlook(COSTS)
    with reporter.task("train g0/a", 100) as bar:
        now[0] = 40.0
        bar.update(40, loss=0.5)
    assert "40/100 steps (40%)  1:00 left  loss 0.5  [member 1 of 3; about 12 min left in all]" in stream.getvalue()


def test_a_run_knows_its_members_and_their_work(tiny_model: Path, tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    given = {"max_length": "64", **dict(text.split("=") for text in QUICK if "=" in text)}
    (tmp_path / "task.yaml").write_text(TASK, encoding="utf-8")
    files = {name: str(inputs / f"{file}.jsonl") for name, file in (("train", "train"), ("unlabeled", "pool"))}
    task = Task.load(inputs / "task.yaml").to_dict()
    teacher = ("openai:http://127.0.0.1:1/v1#m",)  # a server, whose speed says nothing about the others
    settings = RunSettings(
        task=task, test=None, model=str(tiny_model), settings=given, device="cpu", members=teacher, **files
    )
    outlook = outlook_of(resolve(settings, Reporter("quiet")))
    assert outlook is not None
    costs = outlook._costs
    assert (costs.members, costs.scored, costs.student) == (["g0/p1-r1", "g0/p2-r1"], 16, 4)
    assert costs.updates == [costs.updates[0]] * 2 and costs.updates[0] >= 3
