"""Teachers against a fake server: prompts, scores, and servers that are slow, busy, broken or hostile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_server import FakeServer, completion, fake_server, knowing, listed_labels

from pet.errors import PetError
from pet.task.task import Task
from pet.teachers.access import Access
from pet.teachers.address import find_key, parse_address
from pet.teachers.answer import read_logprobs, read_vote
from pet.teachers.dialect import Dialect
from pet.teachers.prompt import Example, Prompt, spare_examples
from pet.teachers.settings import TeacherSettings
from pet.teachers.teacher import Teacher, with_floor

pytest.importorskip("httpx2")

TASK = Task.from_dict(
    {
        "task": "reviews",
        "description": "Opinions of guests.",
        "fields": ["text"],
        "labels": ["bad", "good", "mixed"],
        "descriptions": {"mixed": "praise and complaints"},
        "verbalizer": {"bad": "terrible", "good": "great", "mixed": "okay"},
        "patterns": ["{text} It was {mask}."],
    }
)
WORDS = {"awful": "bad", "lovely": "good", "but": "mixed"}
TEXTS = [("An awful room.",), ("A lovely view.",), ("Small but clean.",)]
KEY = "sk-secret-0123456789"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server(knowing(WORDS)) as running:
        yield running


def teacher_of(server: FakeServer, folder: Path, settings: dict[str, Any] | None = None, **access: Any) -> Teacher:
    address = parse_address(server.address)
    how = {"addresses": frozenset([str(address)]), "cache": str(folder), "timeout": 5.0, "tries": 2} | access
    return Teacher("t", address, Prompt(TASK, TeacherSettings(**(settings or {}))), Access(**how), "budget")


def scores_of(teacher: Teacher, texts: list[tuple[str, ...]] = TEXTS) -> Any:
    with teacher.session() as session:
        return session.scores(texts)


@pytest.mark.parametrize("answers", ["numbers", "words"])
def test_rotated_orders_take_off_the_preference_for_the_first_place(tmp_path: Path, answers: str) -> None:
    with fake_server(knowing(WORDS, first=3.0)) as server:
        one = scores_of(teacher_of(server, tmp_path / "one", {"answers": answers, "orders": 1}))
        all_orders = scores_of(teacher_of(server, tmp_path / "all", {"answers": answers, "orders": 3}))
    expected = np.log(np.full((3, 3), 1.0) + np.eye(3) * (np.exp(2) - 1))
    assert one.argmax(axis=1).tolist() == [0, 0, 0]
    np.testing.assert_allclose(all_orders, expected - np.log(np.exp(2) + 2), atol=1e-9)


def test_each_text_is_asked_once_in_each_order_and_comes_last(server: FakeServer, tmp_path: Path) -> None:
    scores_of(teacher_of(server, tmp_path, {"orders": 2}))
    assert len(server.requests) == 6
    assert {tuple(listed_labels(body)) for body in server.requests} == {
        ("bad", "good", "mixed"),
        ("good", "mixed", "bad"),
    }
    system = server.requests[0]["messages"][0]["content"]
    assert "Opinions of guests." in system and "mixed: praise and complaints" in system and "bad: terrible" in system
    assert {body["messages"][-1]["content"] for body in server.requests} == {f"Text: {t[0]}\nLabel:" for t in TEXTS}
    assert all(body["model"] == "fake" and body["max_tokens"] == 1 for body in server.requests)


def test_a_label_without_a_named_token_gets_the_smallest_value_and_no_label_at_all_abstains(tmp_path: Path) -> None:
    tops = iter([{" Good": -0.1, "x": -4.0}, {"The": -0.1, "A": -3.0}])
    with fake_server(lambda body: completion("", next(tops))) as server:
        scores = scores_of(teacher_of(server, tmp_path, {"orders": 1}, parallel=1), TEXTS[:2])
    expected = np.array([-4.0, -0.1, -4.0])
    np.testing.assert_allclose(scores[0], expected - np.log(np.exp(expected).sum()))
    assert np.isnan(scores[1]).all()


def test_a_token_that_begins_two_names_counts_for_none(tmp_path: Path) -> None:
    task = Task.from_dict({**TASK.to_dict(), "labels": ["science", "sports"], "descriptions": {},
                           "verbalizer": {"science": "a", "sports": "b"}})  # fmt: skip
    with fake_server(lambda body: completion("", {"s": -0.1, "sci": -1.0, "spo": -2.0})) as server:
        teacher = teacher_of(server, tmp_path, {"orders": 1})
        teacher.prompt = Prompt(task, teacher.prompt.settings)
        assert np.diff(scores_of(teacher, TEXTS[:1])[0]) == pytest.approx(-1.0)


def test_without_log_probabilities_answers_are_votes(tmp_path: Path) -> None:
    said = {0: "good", 1: "Good.", 2: '"mixed" I think', 3: "I would say good", 4: "no idea"}
    with fake_server(lambda body: completion(said[body.get("seed", 0)])) as server:
        teacher = teacher_of(server, tmp_path, {"votes": 5})
        with teacher.session() as session:
            dialect = session.probe()
            scores = session.scores(TEXTS[:1])
    assert dialect.kind == "votes"
    np.testing.assert_allclose(np.exp(scores[0]), np.array([0.5, 3.5, 1.5]) / 5.5)
    assert all(body["temperature"] == 1 for body in server.requests if "seed" in body)


@pytest.mark.parametrize(
    ("labels", "said", "label"),
    [
        (("no", "yes"), "No.", "no"),
        (("no", "yes"), "I do not know", None),
        (("no", "yes"), "Nothing to say, yes", "yes"),
        (("no", "none"), "none of these", "none"),
        (("c", "c++"), "C++ code", "c++"),
        (("C#", "Java"), "C#", "C#"),
        (("C#", "Java", "C"), "**C#**", "C#"),
        (("C#", "Java", "C"), "The label is C#.", "C#"),
        (("C#", "Java", "C"), "C, not C#", "C"),
        (("C#", "Java", "C"), "Either Java or C", None),
        ((".NET", "Java"), ".NET", ".NET"),
        (("a*", "b*"), "`a*`", "a*"),
        (("sports", "business"), "```\nsports\n\nIt is not business.", "sports"),
        (("体育", "财经"), "我选择体育新闻", "体育"),
    ],
)
def test_a_name_within_another_word_is_no_vote(labels: tuple[str, ...], said: str, label: str | None) -> None:
    prompt = Prompt(named(labels), TeacherSettings(answers="words"))
    vote = read_vote(json.loads(completion(said)), prompt)
    assert (None if vote is None else labels[vote]) == label


@pytest.mark.parametrize(
    ("said", "mark"),
    [("A", "A"), ("A.", "A"), ("A) refund", "A"), ("A refund", None), ("I think it is C", "C"), ("I'd say D", "D")],
)
def test_an_article_is_no_mark(said: str, mark: str | None) -> None:
    prompt = Prompt(named(tuple(f"label {number}" for number in range(10))), TeacherSettings(answers="numbers"))
    vote = read_vote(json.loads(completion(said)), prompt)
    assert (None if vote is None else prompt.marks[vote]) == mark


def test_labels_of_which_one_begins_another_are_numbered(tmp_path: Path) -> None:
    for labels in (("no", "none"), ("1", "2", "10")):
        assert not Prompt(named(labels), TeacherSettings()).by_name
    assert Prompt(named(("no", "yes", "maybe")), TeacherSettings()).by_name
    prompt = Prompt(named(("no", "none")), TeacherSettings(answers="words"))
    assert read_logprobs(json.loads(completion("", {"No": -0.1, "none": -2.0})), prompt) == [-0.1, -2.0]
    prompt = Prompt(named((".NET", "C#")), TeacherSettings(answers="words"))
    assert read_logprobs(json.loads(completion("", {".": -0.1, "c#.": -2.0})), prompt) == [-0.1, -2.0]


def named(labels: tuple[str, ...]) -> Task:
    """A task with these labels."""
    words = {label: [f"word{number}"] for number, label in enumerate(labels)}
    return Task.from_dict(TASK.to_dict() | {"labels": list(labels), "descriptions": {}, "verbalizer": words})


def test_a_server_is_asked_in_the_dialect_that_it_understands(tmp_path: Path) -> None:
    def respond(body: dict[str, Any]) -> Any:
        if "max_tokens" in body:
            return 400, {}, b'{"error": "use max_completion_tokens"}'
        return (400, {}, b"at most 5") if body["top_logprobs"] > 5 else knowing(WORDS)(body)

    with fake_server(respond) as server, teacher_of(server, tmp_path).session() as session:
        assert session.probe() == Dialect("logprobs", 5, "max_completion_tokens")
        assert session.scores(TEXTS).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_busy_server_is_asked_again_after_a_pause(tmp_path: Path) -> None:
    answers: list[Any] = [(429, {"retry-after": "7"}, b"slow down"), (503, {}, b""), b"{not json"]

    with fake_server(lambda body: answers.pop(0) if answers else knowing(WORDS)(body)) as server:
        teacher, pauses = teacher_of(server, tmp_path, {"orders": 1}, tries=4, parallel=1), []
        with teacher.session() as session:
            assert session.client is not None
            session.client._sleep = pauses.append
            scores = session.scores(TEXTS)
            assert session.budget.calls == 6  # failed requests count
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]
    assert [0 < pause <= 60 for pause in pauses] == [True] * 3 and pauses[0] >= 7


def test_after_a_failure_the_same_request_goes_on_where_it_stopped(server: FakeServer, tmp_path: Path) -> None:
    well, broken = server.respond, []

    def fails(body: dict[str, Any]) -> Any:
        broken.append(body)
        return well(body) if len(broken) <= 2 else (500, {}, b"out of memory")

    server.respond = fails
    with pytest.raises(PetError) as caught:
        scores_of(teacher_of(server, tmp_path, {"orders": 1}, tries=1, parallel=1))
    assert all(part in str(caught.value) for part in (server.url, "500", "out of memory", "same command"))
    server.respond, before = well, len(server.requests)
    teacher = teacher_of(server, tmp_path, {"orders": 1})
    assert scores_of(teacher).argmax(axis=1).tolist() == [0, 1, 2]
    assert (len(server.requests) - before, teacher.outcome.cached) == (1, 2)
    scores_of(teacher_of(server, tmp_path, {"orders": 1}))
    assert len(server.requests) - before == 1


def test_the_cache_holds_no_text_and_no_key(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PET_TEACHER_KEY", KEY)
    scores_of(teacher_of(server, tmp_path))
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"lovely" not in written and KEY.encode() not in written and b"bad" not in written


def llama_cpp(path: str, name: str = "fake") -> dict[str, Any]:
    """What llama.cpp says about itself. The time of the answer says nothing about the model."""
    entry = {"id": name, "owned_by": "llamacpp", "created": time.time_ns(), "meta": {"n_params": 7, "size": 28}}
    return {"/v1/models": json.dumps({"data": [entry]}).encode(), "/props": json.dumps({"model_path": path}).encode()}


def test_servers_of_this_machine_share_answers_only_if_they_have_the_same_model(tmp_path: Path) -> None:
    asked = []
    for pages in [{}, {}, llama_cpp("/a.gguf"), llama_cpp("/b.gguf"), llama_cpp("/a.gguf", "x")]:
        with fake_server(knowing(WORDS)) as server:
            server.pages = pages
            scores_of(teacher_of(server, tmp_path, {"orders": 1}))
            asked.append(len(server.requests))
    assert asked == [3, 3, 3, 3, 0]


def test_a_server_that_comes_back_with_another_model_is_named(server: FakeServer, tmp_path: Path) -> None:
    server.pages = llama_cpp("/a.gguf")
    before = teacher_of(server, tmp_path)
    known = scores_of(before, TEXTS[:1])
    server.pages = llama_cpp("/b.gguf")
    after = teacher_of(server, tmp_path)
    after.origin = before.origin
    np.testing.assert_array_equal(scores_of(after, TEXTS[:1]), known)
    asked = len(server.requests)
    with pytest.raises(PetError) as caught:
        scores_of(after)
    assert all(part in str(caught.value) for part in ("member t", server.url, "fake")) and len(server.requests) == asked


def test_the_name_under_which_answers_are_kept_has_no_path(server: FakeServer, tmp_path: Path) -> None:
    server.pages = llama_cpp("/home/someone/a.gguf")
    teacher = teacher_of(server, tmp_path)
    scores_of(teacher)
    assert teacher.origin.startswith("local ") and "someone" not in teacher.origin


BROKEN = '{"choices": [{"message": {}, "logprobs": {"content": [%s]}}]}'
HOSTILE = {
    "no JSON": b"<html>",
    "NaN": (BROKEN % '{"top_logprobs": [{"token": "1", "logprob": NaN}]}').encode(),
    "a positive log-probability": completion("", {"1": 5.0}),
    "deep": b"[" * 100_000,
    "huge": b'"' + b"x" * (2 << 20) + b'"',
    "a list": b"[]",
    "no choices": b'{"choices": []}',
    "odd types": b'{"choices": [{"message": {"content": 5}}]}',
    "odd logprobs": (BROKEN % "5").encode(),
    "odd token": (BROKEN % '{"top_logprobs": [{"token": 1, "logprob": 0}]}').encode(),
    "compressed": (200, {"content-encoding": "gzip"}, b"\x1f\x8b"),
    "a redirect": (307, {"location": "http://192.0.2.1/v1"}, b""),
    "an odd status": (204, {}, b""),
    "an echo of the key": (401, {}, f"wrong key {KEY}".encode()),
    "terminal codes": (404, {}, b"\x1b[31mred"),
    "a truncated body": (200, {"content-length": "5000"}, b"{"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_is_one_message(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_TEACHER_KEY", KEY)
    with fake_server(lambda body: HOSTILE[name]) as server:
        teacher = teacher_of(server, tmp_path, tries=1, parallel=1, timeout=1.0)
        with pytest.raises(PetError) as caught:
            scores_of(teacher, TEXTS[:1])
    message = str(caught.value)
    assert len(message) < 1000 and message.isprintable() and KEY not in message and KEY not in repr(caught.value)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "a truncated body"])
def test_a_hostile_description_of_a_model_changes_nothing(name: str, server: FakeServer, tmp_path: Path) -> None:
    server.pages = {"/v1/models": HOSTILE[name], "/props": HOSTILE[name]}
    teacher = teacher_of(server, tmp_path, tries=1, parallel=1, timeout=1.0)
    assert scores_of(teacher).argmax(axis=1).tolist() == [0, 1, 2]
    assert teacher.origin == server.url


def test_a_server_that_trickles_is_given_up(tmp_path: Path) -> None:
    with fake_server(lambda body: b"") as server:
        teacher = teacher_of(server, tmp_path, tries=1, timeout=0.4)
        with teacher.session() as session:
            assert session.client is not None
            response = _Trickle()
            with pytest.raises(Exception, match="longer than"):
                session.client._read(response, time.monotonic() + 0.1)


class _Trickle:
    headers: dict[str, str] = {}  # noqa: RUF012

    def iter_raw(self) -> Iterator[bytes]:
        while True:
            time.sleep(0.03)
            yield b" "


def test_a_server_that_does_not_run_is_named(tmp_path: Path) -> None:
    with fake_server(lambda body: b"") as server:
        pass
    with pytest.raises(PetError) as caught:
        scores_of(teacher_of(server, tmp_path, tries=1))
    assert server.url in str(caught.value) and "running" in str(caught.value)


@pytest.mark.parametrize(("limit", "asked"), [({"max_calls": 4}, 4), ({"max_tokens": 25}, 3)])
def test_a_budget_ends_the_requests_and_outlives_the_process(
    server: FakeServer, tmp_path: Path, limit: dict[str, int], asked: int
) -> None:
    texts = [(f"A lovely view of {number}.",) for number in range(6)]
    scores = scores_of(teacher_of(server, tmp_path, {"orders": 1}, parallel=1, **limit), texts)
    assert len(server.requests) == asked
    assert np.isnan(scores).any(axis=1).tolist() == [False] * asked + [True] * (6 - asked)
    again = teacher_of(server, tmp_path, {"orders": 1}, parallel=1, **limit)
    np.testing.assert_array_equal(scores_of(again, texts), scores)
    assert len(server.requests) == asked and next(iter(limit)).replace("_", "-") in again.outcome.spent


def test_texts_go_nowhere_without_permission_but_answers_on_disk_are_used(server: FakeServer, tmp_path: Path) -> None:
    known = scores_of(teacher_of(server, tmp_path), TEXTS[:2])
    before = len(server.requests)
    scores = scores_of(teacher_of(server, tmp_path, addresses=frozenset(["http://other:1/v1#fake"])))
    np.testing.assert_array_equal(scores[:2], known)
    assert np.isnan(scores[2]).all() and len(server.requests) == before


def test_a_text_that_the_server_refuses_abstains(server: FakeServer, tmp_path: Path) -> None:
    well = server.respond
    server.respond = lambda body: (400, {}, b"too long") if "Small" in json.dumps(body) else well(body)
    teacher = teacher_of(server, tmp_path)
    assert np.isnan(scores_of(teacher)).any(axis=1).tolist() == [False, False, True]
    assert (teacher.outcome.refused, teacher.outcome.reason) == (2, "too long")


def test_a_labeled_text_is_never_an_example_for_itself() -> None:
    examples = [Example((f"text {number}",), number % 3) for number in range(12)]
    spare = spare_examples(examples, 3, 3)
    prompt = Prompt(TASK, TeacherSettings(examples=3), spare)
    for example in examples:
        shown = [message["content"] for message in prompt.messages(example.fields, (0, 1, 2))[1:-1:2]]
        assert len(shown) == 3 and prompt.messages(example.fields, (0, 1, 2))[-1]["content"] not in shown
    assert prompt.messages(("new",), (1, 2, 0))[2::2] == [
        {"role": "assistant", "content": label} for label in ("good", "mixed", "bad")
    ]


def test_no_label_is_ruled_out() -> None:
    assert np.exp(with_floor(np.array([[0.0, -50.0, -60.0], [np.nan] * 3])))[0].min() == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize(
    "text",
    ["ftp://host/v1#m", "http://host/v1", "http://user:pw@host/v1#m", "http://host/v1?key=pw#m", "127.0.0.1:80#m",
     "http://host:99999/v1#m", "http://[::1/v1#m", "#m", "http://ho st/v1#m", "http://host/v1#a\nb"],
)  # fmt: skip
def test_a_wrong_address_is_refused_without_repeating_secrets(text: str) -> None:
    with pytest.raises(PetError) as caught:
        parse_address(text)
    assert "pw" not in str(caught.value)


def test_keys_go_only_where_they_belong() -> None:
    openai, local, far = map(
        parse_address, ["https://api.openai.com/v1#gpt", "http://localhost:1/v1#m", "http://far.example/v1#m"]
    )
    only_openai = {"OPENAI_API_KEY": KEY}
    assert find_key(openai, "gpt", only_openai) == KEY
    assert find_key(local, "m", only_openai) is find_key(far, "m", only_openai) is None
    assert find_key(parse_address("https://api.openai.com.evil.example/v1#m"), "m", only_openai) is None
    assert find_key(local, "my-m", {"PET_TEACHER_KEY": "b", "PET_TEACHER_KEY_MY_M": "a"}) == "a"
    with pytest.raises(PetError, match="not encrypted") as caught:
        find_key(far, "m", {"PET_TEACHER_KEY": KEY})
    assert KEY not in str(caught.value)
