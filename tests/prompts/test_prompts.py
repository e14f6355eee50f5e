"""Trained prompts: the library, similarity measures, mixtures and projection."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES
from safetensors.torch import save_file
from small_run import TASK, write_inputs, write_rows
from tiny_text import LABELS, news_rows

from pet.backbones.load import load_tokenizer
from pet.backbones.trained import load_masked_lm
from pet.errors import PetError
from pet.prompts.library import (
    Prompt,
    as_name,
    check_backbone,
    check_name,
    find_prompt,
    list_prompts,
    read_prompt,
    write_prompt,
)
from pet.prompts.mixture import mixture_batches, turns
from pet.prompts.neurons import activated, neuron_layers
from pet.prompts.projection import apply_map, explained, fit_map, shared_words
from pet.prompts.ranking import Candidate, blend, ranked
from pet.prompts.session import Session, open_session, read_labeled, train_on
from pet.prompts.similarity import mean_cosine, neuron_overlap, normalized_weights, pair_cosine, weighted_mean
from pet.task.task import Task
from pet.tuning.members import Backbone

pytestmark = pytest.mark.usefixtures("one_thread")
ABOUT: dict[str, Any] = {
    "kind": "run",
    "tasks": [{"task": "news", "patterns": []}],
    "steps": 3,
    "examples": 12,
    "metrics": {"accuracy": 0.5},
    "origin": {},
}
SMALL = {"prompt_length": 3, "max_length": 48, "labeled_batch": 4, "steps": 6, "query_steps": 4}
OTHER = TASK.replace("task: topics", "task: other").replace('  - "{mask}: {text}"\n', "")


def a_prompt(name: str = "news", rows: Any = ((1, 0), (0, 1)), fingerprint: str = "abc") -> Prompt:
    return Prompt(name, np.array(rows, dtype=np.float32), "model", fingerprint, ABOUT)


def small_session(model: Path, **changes: Any) -> Session:
    return open_session(str(model), {**SMALL, **changes}, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_inputs(tmp_path_factory.mktemp("prompts") / "in")
    (folder / "other.yaml").write_text(OTHER, encoding="utf-8")
    return folder


# --- the library -------------------------------------------------------------------------------------


def test_a_prompt_round_trips_through_the_library(tmp_path: Path):
    written = a_prompt()
    place = write_prompt(tmp_path / "library", written)
    assert sorted(p.name for p in place.iterdir()) == ["learned.safetensors", "prompt.json"]
    read = read_prompt(place)
    np.testing.assert_array_equal(read.vectors, written.vectors)
    assert (read.name, read.backbone, read.fingerprint, read.about) == ("news", "model", "abc", ABOUT)
    assert read.digest == written.digest
    assert write_prompt(tmp_path / "library", written) == place  # the same prompt again
    assert [p.name for p in list_prompts(tmp_path / "library")] == ["news"]


def test_equal_prompts_are_saved_as_equal_bytes(tmp_path: Path):
    for library in ("a", "b"):
        write_prompt(tmp_path / library, a_prompt())
    for file in ("learned.safetensors", "prompt.json"):
        assert (tmp_path / "a/news" / file).read_bytes() == (tmp_path / "b/news" / file).read_bytes()


def test_the_digest_depends_on_the_vectors_and_their_model():
    assert a_prompt("other name").digest == a_prompt().digest
    assert a_prompt(fingerprint="abd").digest != a_prompt().digest
    assert a_prompt(rows=((1, 0), (0, 2))).digest != a_prompt().digest
    assert a_prompt(rows=((1, 0, 0, 1),)).digest != a_prompt().digest


def test_another_prompt_with_the_same_name_is_rejected(tmp_path: Path):
    write_prompt(tmp_path, a_prompt())
    with pytest.raises(PetError, match=r"already exists.*--name"):
        write_prompt(tmp_path, a_prompt(rows=((2, 2), (2, 2))))
    assert read_prompt(tmp_path / "news").vectors[0, 0] == 1


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "a\\b", ".hidden", "-x", "a b", "x" * 101, "a\n"])
def test_a_name_is_never_a_path(tmp_path: Path, name: str):
    with pytest.raises(PetError, match="a name may contain"):
        check_name(name)
    with pytest.raises(PetError):
        write_prompt(tmp_path / "library", a_prompt(name))
    assert not (tmp_path / "library").exists()
    assert check_name(as_name(name))


def test_a_prompt_is_found_by_name_then_by_folder(tmp_path: Path):
    write_prompt(tmp_path / "library", a_prompt())
    write_prompt(tmp_path / "elsewhere", a_prompt("sst2"))
    assert find_prompt("news", tmp_path / "library").name == "news"
    assert find_prompt(str(tmp_path / "elsewhere" / "sst2"), tmp_path / "library").name == "sst2"
    with pytest.raises(PetError, match=r"neither in the library nor a folder.*: news"):
        find_prompt("agnews", tmp_path / "library")
    with pytest.raises(PetError, match=r"library .* not found.*pet prompts add"):
        list_prompts(tmp_path / "nowhere")


def test_every_damaged_prompt_is_reported_and_others_stay_usable(tmp_path: Path):
    for name in ("news", "sound", "sst2"):
        write_prompt(tmp_path, a_prompt(name))
    for name in ("news", "sst2"):
        (tmp_path / name / "prompt.json").write_text("{}")
    with pytest.raises(PetError) as caught:
        list_prompts(tmp_path)
    assert [("news" in text, "sst2" in text) for text in caught.value.problems] == [(True, False), (False, True)]
    assert find_prompt("sound", tmp_path).name == "sound"
    with pytest.raises(PetError, match="news, sound, sst2"):
        find_prompt("agnews", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": {"name": "model", "hash": "xyz"}}, "vectors"),
        ({"shape": [2, 3]}, "vectors"),
        ({"format": 2}, "format"),
        ({"tasks": [{"task": 1, "patterns": []}]}, "tasks"),
        ({"metrics": []}, "metrics"),
        ({"steps": "many"}, "steps"),
    ],
)
def test_a_modified_note_is_rejected(tmp_path: Path, change: dict[str, Any], message: str):
    place = write_prompt(tmp_path, a_prompt())
    note = json.loads((place / "prompt.json").read_text())
    (place / "prompt.json").write_text(json.dumps(note | change))
    with pytest.raises(PetError, match=message):
        read_prompt(place)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"backbone": 1}, "backbone"), ({"fingerprint": None}, "fingerprint"), ({"options": []}, "options")],
)
def test_vectors_without_a_model_are_rejected(tmp_path: Path, change: dict[str, Any], message: str):
    place = write_prompt(tmp_path, a_prompt())
    about = {"backbone": "model", "fingerprint": "abc", "options": {"tuning": "prompt"}} | change
    numbers = {"vectors": torch.ones(2, 2)}
    save_file(numbers, place / "learned.safetensors", {"pet": json.dumps(about)})
    with pytest.raises(PetError, match=message):
        read_prompt(place)


def test_vectors_that_are_not_finite_are_rejected(tmp_path: Path):
    place = write_prompt(tmp_path, a_prompt(rows=((1, 0), (0, np.nan))))
    with pytest.raises(PetError, match="NaN or infinite"):
        read_prompt(place)


def test_a_prompt_of_another_model_is_rejected_with_both_names():
    check_backbone(a_prompt(), "mine", "abc")
    with pytest.raises(PetError, match=r"model model \(hash abc\), not mine \(hash xyz\).*--project-prompt"):
        check_backbone(a_prompt(), "mine", "xyz")


# --- similarity: worked out by hand --------------------------------------------------------------------


def test_cosines_match_values_worked_out_by_hand():
    a = np.array([[2.0, 0.0], [0.0, 2.0]])  # mean (1, 1)
    b = np.array([[3.0, 0.0]])
    assert mean_cosine(a, b) == pytest.approx(0.7071067811865475)
    assert pair_cosine(a, b) == pytest.approx(0.5)  # (1 + 0) / 2
    assert pair_cosine(a, a) == pytest.approx(0.5)  # (1 + 0 + 0 + 1) / 4
    assert mean_cosine(a, a) == pytest.approx(1.0)
    assert mean_cosine(a, -b) == pytest.approx(-0.7071067811865475)
    assert mean_cosine(np.array([[1.0, 0.0], [-1.0, 0.0]]), b) == 0.0  # the mean is 0


def test_neuron_overlap_matches_values_worked_out_by_hand():
    a = np.array([True, True, False, False, True, True])
    b = np.array([True, False, True, False, False, False])
    assert neuron_overlap(a, b) == pytest.approx(1 / np.sqrt(4 * 2))
    assert neuron_overlap(a, a) == pytest.approx(1.0)
    assert neuron_overlap(a, ~a) == 0.0


def test_weights_are_proportional_to_similarity():
    np.testing.assert_allclose(normalized_weights([0.6, 0.2]), [0.75, 0.25])
    np.testing.assert_allclose(normalized_weights([0.5, -0.5]), [1.0, 0.0])
    np.testing.assert_allclose(normalized_weights([-0.1, 0.0]), [0.5, 0.5])


def test_the_weighted_mean_matches_values_worked_out_by_hand():
    mean = weighted_mean([np.array([[4.0, 0.0]]), np.array([[0.0, 8.0]])], np.array([0.75, 0.25]))
    np.testing.assert_array_equal(mean, np.array([[3.0, 2.0]], dtype=np.float32))
    assert mean.dtype == np.float32


def test_ranking_breaks_ties_by_loss_then_by_name():
    found = [
        Candidate("c", accuracy=0.5, loss=1.0, cosine=0.1),
        Candidate("b", accuracy=0.5, loss=1.0, cosine=0.3),
        Candidate("a", accuracy=0.5, loss=1.2, cosine=0.2),
        Candidate("d", accuracy=0.9, loss=2.0, cosine=0.2),
    ]
    assert [c.name for c in ranked(found, "zero-shot")] == ["d", "b", "c", "a"]
    assert [c.name for c in ranked(found, "cosine")] == ["b", "a", "d", "c"]


def test_a_blend_is_weighted_by_the_measure():
    prompts = [a_prompt("a", [[4, 0]]), a_prompt("b", [[0, 8]])]
    best = [Candidate("b", accuracy=0.1, cosine=0.6), Candidate("a", accuracy=0.9, cosine=0.2)]
    vectors, weights = blend(prompts, best, "cosine")
    assert weights == pytest.approx({"b": 0.75, "a": 0.25})
    np.testing.assert_allclose(vectors, [[1.0, 6.0]])
    with pytest.raises(PetError, match="1 and 2 vectors"):
        blend([*prompts, a_prompt("c")], [*best, Candidate("c", cosine=0.1)], "cosine")


# --- neurons -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FAMILIES))
def test_activated_neurons_are_found_in_every_family(family_model: Any, name: str):
    model = load_masked_lm(str(family_model(name)))
    with torch.no_grad():
        for parameter in model.parameters():  # with newly initialized weights a prompt has hardly any effect
            parameter.mul_(5 if parameter.ndim > 1 else 1)
    backbone, tokenizer = Backbone(model, name, "hash"), load_tokenizer(str(family_model(name)))
    plain = model.get_input_embeddings()
    width = plain.weight.shape[1]
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(3, width)), rng.normal(size=(3, width))
    states = activated(backbone, tokenizer, one)
    config = model.config
    layers = getattr(config, "num_hidden_layers", None) or config.n_layers
    size = getattr(config, "intermediate_size", None) or config.hidden_dim
    assert states.shape == (layers * size,)
    assert 0.1 < states.mean() < 0.9
    np.testing.assert_array_equal(states, activated(backbone, tokenizer, one))
    assert (states != activated(backbone, tokenizer, other)).any()
    assert type(model.get_input_embeddings()) is type(plain)  # the prompt is removed


def test_a_neuron_is_active_if_its_input_is_positive(tiny_model: Path):
    model = load_masked_lm(str(tiny_model))
    first = neuron_layers(model)[0]
    with torch.no_grad():
        first.weight.zero_()
        first.bias.copy_(torch.where(torch.arange(len(first.bias)) % 3 == 0, 0.5, -0.5))
    backbone, tokenizer = Backbone(model, "tiny", "hash"), load_tokenizer(str(tiny_model))
    states = activated(backbone, tokenizer, np.zeros((2, model.config.hidden_size)))
    np.testing.assert_array_equal(states[: len(first.bias)], np.arange(len(first.bias)) % 3 == 0)


# --- mixtures ----------------------------------------------------------------------------------------


def test_tasks_and_their_patterns_alternate():
    assert list(islice(turns([2, 1, 3]), 9)) == [
        (0, 0), (1, 0), (2, 0),
        (0, 1), (1, 0), (2, 1),
        (0, 0), (1, 0), (2, 2),
    ]  # fmt: skip


def test_batches_come_from_the_tasks_in_turn(tiny_model: Path, inputs: Path):
    session = small_session(tiny_model)
    first, second = (Task.load(inputs / name) for name in ("task.yaml", "other.yaml"))
    table = read_labeled(first, str(inputs / "train.jsonl"))
    sources = [session.source(first, table), session.source(second, table.select(range(4)))]
    batches = mixture_batches(session.plain_model(), sources, session.recipe, torch.device("cpu"), 0)
    taken = list(islice(batches, 5))
    assert [batch["part"] for batch in taken] == ["0-0", "1-0", "0-1", "1-0", "0-0"]
    assert sorted(taken[1]["labels"].tolist()) == [0, 1, 2, 3]  # all four rows of the smaller one
    assert (taken[0]["input_ids"][:, :3] == torch.tensor([-1, -2, -3])).all()


def test_one_prompt_learns_from_two_tasks(tiny_model: Path, inputs: Path):
    session = small_session(tiny_model)
    tasks = [Task.load(inputs / name) for name in ("task.yaml", "other.yaml")]
    before = {name: value.clone() for name, value in session.backbone.model.named_parameters()}
    tables = [(task, read_labeled(task, str(inputs / "train.jsonl"), examples=8)) for task in tasks]
    prompt = train_on(session, tables, "both", {"kind": "mixture", "origin": {}})
    again = train_on(small_session(tiny_model), tables, "both", {"kind": "mixture", "origin": {}})
    assert prompt.vectors.shape == (3, session.backbone.model.config.hidden_size)
    np.testing.assert_array_equal(prompt.vectors, again.vectors)
    assert prompt.tasks == "topics, other"
    assert (prompt.about["steps"], prompt.about["examples"]) == (6, 16)
    assert set(prompt.about["metrics"]["training_accuracy"]) == {"topics", "other"}
    after = dict(session.backbone.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    other = train_on(session, tables[:1], "one", {"kind": "mixture", "origin": {}})
    assert not np.array_equal(prompt.vectors, other.vectors)


# --- other models ------------------------------------------------------------------------------------


def test_a_linear_map_is_recovered():
    rng = np.random.default_rng(0)
    source, true, offset = rng.normal(size=(40, 5)), rng.normal(size=(5, 7)), rng.normal(size=7)
    target = source @ true + offset
    matrix = fit_map(source, target)
    np.testing.assert_allclose(matrix, np.vstack([true, offset]), atol=1e-10)
    fresh = rng.normal(size=(3, 5))
    np.testing.assert_allclose(apply_map(fresh, matrix), fresh @ true + offset, rtol=1e-5, atol=1e-5)
    assert explained(source, target) == pytest.approx(1.0)
    noise = explained(source, rng.normal(size=(40, 7)))
    assert noise is not None
    assert noise < 0.2


def test_a_map_needs_more_words_than_dimensions():
    with pytest.raises(PetError, match="5 words"):
        fit_map(np.ones((5, 5)), np.ones((5, 3)))


def test_shared_words_are_equal_in_both_models(family_model: Any):
    bert, roberta = (load_tokenizer(str(family_model(name))) for name in ("bert", "roberta"))
    ours, theirs = shared_words(bert, roberta)
    assert len(ours) > 100
    assert len(set(ours.tolist())) == len(ours)
    for here, there in zip(ours.tolist(), theirs.tolist(), strict=True):
        assert bert.decode([here]).strip() == roberta.decode([there]).strip()
    assert not set(ours.tolist()) & set(bert.all_special_ids)


def test_labels_follow_the_order_of_the_task(inputs: Path, tmp_path: Path):
    write_rows(tmp_path / "rows.jsonl", news_rows()[:4])
    table = read_labeled(Task.load(inputs / "task.yaml"), str(tmp_path / "rows.jsonl"))
    assert table["label"][:] == [LABELS.index(row["label"]) for row in news_rows()[:4]]
