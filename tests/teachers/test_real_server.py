"""Teachers against a real server: llama.cpp with a small language model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pet.errors import PetError
from pet.task.task import Task
from pet.teachers.access import Access
from pet.teachers.address import Address, parse_address
from pet.teachers.prompt import Example, Prompt
from pet.teachers.settings import TeacherSettings
from pet.teachers.teacher import Teacher

pytestmark = pytest.mark.llm
pytest.importorskip("httpx2")

TASK = Task.from_dict(
    {
        "task": "news",
        "description": "Topic of a sentence.",
        "fields": ["text"],
        "labels": ["sports", "business"],
        "verbalizer": {"sports": "sports", "business": "business"},
        "patterns": ["{text} {mask}"],
    }
)
EXAMPLES = (Example(("They lost 0:2 at home.",), 0), Example(("Shares fell by 3 %.",), 1))
TEXTS = [("The striker scored a goal.",), ("The bank raised its rates.",)]


def teacher_of(address: Address, folder: Path) -> Teacher:
    access = Access(frozenset([str(address)]), cache=str(folder), parallel=1, tries=2)
    return Teacher("t", address, Prompt(TASK, TeacherSettings(examples=2), EXAMPLES), access, "budget")


def test_a_real_server_gives_log_probabilities_of_every_label_once(llm_address: str, tmp_path: Path) -> None:
    teacher = teacher_of(parse_address(llm_address), tmp_path)
    with teacher.session() as session:
        assert session.probe().kind == "logprobs"
        scores = session.scores(TEXTS)
        assert session.budget.tokens > 50 * session.budget.calls
        calls = session.budget.calls
        np.testing.assert_array_equal(session.scores(TEXTS), scores)
        assert session.budget.calls == calls == 5
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)
    assert scores[0, 0] - scores[0, 1] > scores[1, 0] - scores[1, 1]  # sports more than business


def test_a_wrong_url_of_a_real_server_is_named(llm_address: str, tmp_path: Path) -> None:
    address = parse_address(re.sub(r"/v1#", "/v3#", llm_address))
    with pytest.raises(PetError, match=re.escape(address.url)), teacher_of(address, tmp_path).session() as session:
        session.probe()
