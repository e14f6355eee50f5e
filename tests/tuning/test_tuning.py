"""Members that share a frozen model: every tuning method with every model family."""

from __future__ import annotations

import pickle
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from families import FAMILIES
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from tiny_text import LABELS, news_rows
from transformers import AutoModelForMaskedLM, FlaubertConfig, FlaubertWithLMHeadModel, OPTConfig, OPTForCausalLM

from pet.backbones.load import load_tokenizer
from pet.backbones.masked import MaskedLM
from pet.backbones.trained import load_masked_lm
from pet.cloze.pvp import PVP, bind_pattern
from pet.cloze.ragged import Ragged
from pet.cloze.tokens import TokenTable
from pet.errors import PetError
from pet.members.scoring import score_rows
from pet.members.training import ClozeData, train_member
from pet.recipe import Recipe, make_recipe
from pet.task.grammar import Field, Mask, Soft, parse_template
from pet.task.pattern import Pattern
from pet.task.task import Task
from pet.task.verbalizer import Verbalizer
from pet.tuning import prefix_layers, soft
from pet.tuning.freeze import freeze
from pet.tuning.lora import find_targets
from pet.tuning.members import (
    LEARNED,
    Backbone,
    attach,
    check_tuning,
    encoder_options,
    read_member,
    save_member,
    start_member,
)
from pet.tuning.methods import METHODS as TUNING_METHODS
from pet.tuning.vectors import start_ids

ROWS = news_rows()
GOLD = np.array([LABELS.index(row["label"]) for row in ROWS])
PATTERN = "{soft:it was} {mask} {soft:2}: {text}"
METHODS = [name for name, method in TUNING_METHODS.items() if not method.trains_backbone(method.config())]
RATES = {"lora": 5e-3, "bitfit": 1e-2, "prompt": 2e-2, "p-tuning": 3e-3, "prefix": 5e-3}
CPU = torch.device("cpu")

every_family = pytest.mark.parametrize("name", list(FAMILIES))
every_method = pytest.mark.parametrize("method", METHODS)

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe_of(method: str, **changes: Any) -> Recipe:
    small = {"prompt_length": 5, "prefix_length": 3, "prefix_hidden": 16, "lora_rank": 2}
    quick = {"steps": 10, "labeled_batch": 4, "unlabeled_batch": 1, "max_length": 48, "warmup": 0.0}
    return make_recipe("default", {"tuning": method, **small, **quick, **changes})


def bound(folder: Path, recipe: Recipe, pattern: str = PATTERN, **options: Any) -> PVP:
    words = Verbalizer({label: (label.lower(),) for label in LABELS})
    template = parse_template(pattern, ["text"])
    return bind_pattern(
        Pattern(template, words), LABELS, load_tokenizer(str(folder)), recipe.encoding.max_length,
        **(options or encoder_options(recipe.tuning)),
    )  # fmt: skip


def tokens_of(pvp: PVP, texts: list[str]) -> TokenTable:
    (key,) = pvp.encoder.keys
    ids = pvp.encoder.plain.encode(texts, space_before=key.space_before, continuation=key.continuation)
    return {key: Ragged.from_rows(ids)}


def open_backbone(folder: Path) -> Backbone:
    """A tiny model with weights as large as trained ones; with fresh ones a prompt has almost no effect."""
    model = load_masked_lm(str(folder))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)
    return Backbone(model, str(folder), f"hash of {folder}")


def scores(lm: MaskedLM, folder: Path, pvp: PVP, accelerator: Any, max_tokens: int = 4096) -> np.ndarray:
    texts = [" ".join([row["text"]] * (1 + i % 3)) for i, row in enumerate(ROWS[:12])]
    return score_rows(lm, load_tokenizer(str(folder)), pvp, tokens_of(pvp, texts), accelerator, max_tokens=max_tokens)


def loss_of(lm: MaskedLM, tokenizer: Any, pvp: PVP, tokens: TokenTable, accelerator: Any) -> float:
    found = torch.from_numpy(score_rows(lm, tokenizer, pvp, tokens, accelerator, max_tokens=4096))
    return float(torch.nn.functional.cross_entropy(found, torch.from_numpy(GOLD[:4])))


@dataclass
class Trained:
    """A trained member, and the model before training."""

    model: Path
    recipe: Recipe
    pvp: PVP
    backbone: Backbone
    before: dict[str, torch.Tensor]
    losses: tuple[float, float]
    trained: list[str]
    after: dict[str, torch.Tensor]
    scores: np.ndarray
    folder: Path


@pytest.fixture(scope="module")
def member(family_model, accelerator, tmp_path_factory):
    """``member(family, method, **changes)``: a trained and saved member, made once."""
    made: dict[Any, Trained] = {}

    def make(name: str, method: str, **changes: Any) -> Trained:
        key = (name, method, *sorted(changes.items()))
        if key not in made:
            if method == "lora":
                pytest.importorskip("peft")
            model, recipe = family_model(name), recipe_of(method, **changes)
            pvp, backbone = bound(model, recipe), open_backbone(model)
            before = {k: v.clone() for k, v in backbone.model.named_parameters()}
            tokens = tokens_of(pvp, [row["text"] for row in ROWS])
            lm = start_member(backbone, recipe.tuning, pvp, [tokens], 7, CPU)
            trained = [k for k, v in lm.model.named_parameters() if v.requires_grad]
            few = tokens_of(pvp, [row["text"] for row in ROWS[:4]])  # of each label one: every batch holds them all
            data = ClozeData(few, GOLD[:4], tokens)
            tokenizer = load_tokenizer(str(model))
            first = loss_of(lm, tokenizer, pvp, few, accelerator)
            train_member(lm, pvp, data, recipe.with_settings(learning_rate=RATES[method]), 7, accelerator)
            losses = (first, loss_of(lm, tokenizer, pvp, few, accelerator))
            after = {k: v.clone() for k, v in lm.model.named_parameters()}
            found = scores(lm, model, pvp, accelerator)
            folder = tmp_path_factory.mktemp("member")
            save_member(backbone, recipe.tuning, folder)
            made[key] = Trained(model, recipe, pvp, backbone, before, losses, trained, after, found, folder)
        return made[key]

    return make


# --- training and saving -----------------------------------------------------------------------------


@every_family
@every_method
def test_the_loss_falls_and_frozen_weights_stay(member, name: str, method: str):
    done = member(name, method)
    assert done.losses[1] < done.losses[0]
    assert done.trained
    plain = {key.replace(".base_layer.", "."): value for key, value in done.after.items() if key not in done.trained}
    assert len(plain) == len(done.before) - (len(done.trained) if method == "bitfit" else 0)
    for key, value in plain.items():
        assert torch.equal(value, done.before[key]), key
    if method == "bitfit":
        assert all(key.endswith("bias") for key in done.trained)
    done.backbone.restore()
    now = dict(done.backbone.model.named_parameters())
    assert now.keys() == done.before.keys()
    assert all(torch.equal(value, now[key]) and not now[key].requires_grad for key, value in done.before.items())


def test_lora_at_other_matrices(family_model, accelerator, tmp_path: Path):
    pytest.importorskip("peft")
    folder = family_model("bert")
    layer = [f"attention.self.{name}" for name in ("query", "key", "value")]
    layer += ["attention.output.dense", "intermediate.dense", "output.dense"]
    targets = find_targets(open_backbone(folder).model, "all")
    assert targets == [f"bert.encoder.layer.{i}.{name}" for i in (0, 1) for name in layer]
    some = find_targets(open_backbone(folder).model, "key, output.dense")
    names = ("attention.self.key", "attention.output.dense", "output.dense")
    assert sorted(some) == sorted(f"bert.encoder.layer.{i}.{name}" for i in (0, 1) for name in names)
    with pytest.raises(PetError, match=r"called 'queries'; names end in dense, key, query, value"):
        find_targets(open_backbone(folder).model, "key,queries")
    # A member knows where its numbers belong.
    recipe = recipe_of("lora", lora_targets="key,output.dense")
    pvp, backbone = bound(folder, recipe), open_backbone(folder)
    lm = start_member(backbone, recipe.tuning, pvp, [], 7, CPU)
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    expected = scores(lm, folder, pvp, accelerator)
    save_member(backbone, recipe.tuning, tmp_path)
    found = scores(attach(open_backbone(folder), read_member(tmp_path), "m"), folder, pvp, accelerator)
    np.testing.assert_array_equal(found, expected)


@every_family
@pytest.mark.parametrize("method", ["full", "lora", "bitfit"])
def test_frozen_layers_are_not_trained_and_those_above_are(family_model, name: str, method: str):
    if method == "lora":
        pytest.importorskip("peft")
    folder, recipe = family_model(name), recipe_of(method, freeze_layers=1)
    backbone, pvp = open_backbone(folder), bound(folder, recipe)
    if name == "albert":
        with pytest.raises(PetError, match=r"freeze_layers: .* albert"):
            freeze(backbone.model, 1)
        return
    if method == "full":
        freeze(backbone.model, 1)
    else:
        start_member(backbone, recipe.tuning, pvp, [], 7, CPU)
    learning = {key: value.requires_grad for key, value in backbone.model.named_parameters()}
    below = [key for key in learning if re.search(r"[.](layer|layers)[.]0[.]|embeddings[.]", key)]
    above = [key for key in learning if re.search(r"[.](layer|layers)[.]1[.]", key)]
    assert len(below) > 5
    assert not any(learning[key] for key in below if "rel_embeddings" not in key)
    if method == "full":
        assert all(learning[key] for key in above)
    elif name != "modernbert" or method == "lora":  # which has no biases in its layers
        assert any(learning[key] for key in above)


def test_all_parts_of_a_layer_are_frozen_if_a_model_lists_them_apart():
    config = FlaubertConfig(vocab_size=50, emb_dim=8, n_layers=3, n_heads=2, max_position_embeddings=16)
    model = FlaubertWithLMHeadModel(config)
    freeze(model, 2)
    learning = {key: value.requires_grad for key, value in model.named_parameters()}
    found = {key: re.search(r"(?:attentions|ffns|norm[12])\.(\d)", key) for key in learning}
    layers = {key: int(match[1]) for key, match in found.items() if match}
    assert len(layers) > 20 and all(learning[key] == (layer == 2) for key, layer in layers.items())


def test_the_last_norm_is_trained_where_it_comes_before_the_layers():
    config = OPTConfig(vocab_size=50, hidden_size=8, num_hidden_layers=2, ffn_dim=16, num_attention_heads=2)
    model = OPTForCausalLM(config)
    freeze(model, 1)
    learning = {key: value.requires_grad for key, value in model.named_parameters()}
    assert learning["model.decoder.final_layer_norm.weight"]
    assert not learning["model.decoder.layers.0.final_layer_norm.weight"]
    assert not learning["model.decoder.embed_positions.weight"]


@pytest.mark.parametrize("layers", [2, 3])
def test_at_least_one_layer_must_be_trained(family_model, layers: int):
    with pytest.raises(PetError, match="has 2 layers"):
        freeze(load_masked_lm(str(family_model("bert"))), layers)


def test_freeze_layers_is_refused_for_methods_that_train_nothing_in_layers():
    with pytest.raises(PetError, match=r"freeze_layers .*prompt"):
        recipe_of("prompt", freeze_layers=1)


def expected_numbers(done: Trained, method: str) -> int:
    model = done.backbone.model
    width = model.get_input_embeddings().weight.shape[1]
    if method == "bitfit":
        return sum(value.numel() for key, value in done.before.items() if key.endswith("bias"))
    if method == "lora":
        ends = ("query", "value", "q_lin", "v_lin", "query_proj", "value_proj", ".q", ".v", "Wqkv")
        linear = [m for key, m in model.named_modules() if isinstance(m, torch.nn.Linear) and key.endswith(ends)]
        return sum(done.recipe.tuning.config.rank * (m.in_features + m.out_features) for m in linear)
    return {"prompt": 5 * width, "p-tuning": len(done.pvp.encoder.learned) * width, "prefix": 3 * 2 * 2 * 32}[method]


@every_family
@every_method
def test_a_saved_member_has_only_trained_numbers_and_gives_the_same_scores(member, accelerator, name: str, method: str):
    done = member(name, method)
    with safe_open(done.folder / LEARNED, "np") as file:
        numbers = sum(file.get_tensor(key).size for key in file.keys())  # noqa: SIM118
        arrays = len(list(file.keys()))
    done.backbone.restore()
    assert numbers == expected_numbers(done, method)
    assert [path.name for path in done.folder.iterdir()] == [LEARNED]
    size = (done.folder / LEARNED).stat().st_size
    assert 4 * numbers <= size <= 4 * numbers + 600 + 200 * arrays  # the rest is names and shapes
    # A network in front of the numbers is folded away, and the scores are those of training time, bit for bit.
    again = attach(open_backbone(done.model), read_member(done.folder), "here")
    assert not any(value.requires_grad for value in again.model.parameters())
    np.testing.assert_array_equal(scores(again, done.model, done.pvp, accelerator), done.scores)


@every_family
@every_method
def test_scores_do_not_depend_on_the_batch(member, accelerator, name: str, method: str):
    done = member(name, method)
    lm = attach(done.backbone, read_member(done.folder), "here")
    alone = scores(lm, done.model, done.pvp, accelerator, max_tokens=1)
    np.testing.assert_allclose(alone, done.scores, atol=1e-4)


@every_family
def test_members_of_different_methods_share_one_backbone(member, accelerator, name: str):
    done = [member(name, method) for method in ("bitfit", "prompt", "prefix", "p-tuning")]
    backbone = open_backbone(done[0].model)
    for one in [*done, *reversed(done)]:
        lm = attach(backbone, read_member(one.folder), "here")
        np.testing.assert_array_equal(scores(lm, one.model, one.pvp, accelerator), one.scores)


@every_family
@every_method
def test_training_can_continue_from_a_member(member, accelerator, name: str, method: str):
    done = member(name, method)
    lm = start_member(done.backbone, done.recipe.tuning, done.pvp, [], 8, CPU, before=read_member(done.folder))
    assert any(value.requires_grad for value in lm.model.parameters())
    np.testing.assert_array_equal(scores(lm, done.model, done.pvp, accelerator), done.scores)


# --- initial values of vectors -------------------------------------------------------------------------


@every_family
def test_soft_words_start_as_their_embeddings(family_model, accelerator, name: str):
    """Before the first step, p-tuning gives the same scores as a pattern with these words."""
    model, recipe = family_model(name), recipe_of("p-tuning")
    pattern = "{soft:it was} {mask}: {text} {soft:news}"
    hard, learned = bound(model, recipe, pattern, soft=False), bound(model, recipe, pattern)
    backbone = open_backbone(model)
    plain = scores(MaskedLM(backbone.model), model, hard, accelerator)
    lm = start_member(backbone, recipe.tuning, learned, [], 7, CPU)
    np.testing.assert_allclose(scores(lm, model, learned, accelerator), plain, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"prompt_init": "labels"}, ["world", "sports", "business", "technology"]),
        ({"prompt_init": "words", "prompt_words": "good news"}, ["good", "news", "good", "news", "good", "news"]),
        ({"prompt_init": "random"}, [None] * 6),
    ],
)
def test_vectors_start_as_the_settings_say(tiny_model, changes: dict[str, str], expected: list[Any]):
    recipe = recipe_of("prompt", prompt_length=6, **changes)
    pvp, tokenizer = bound(tiny_model, recipe), load_tokenizer(str(tiny_model))
    tokens = tokens_of(pvp, ["the zebra the zebra the"])
    ids = start_ids(pvp, recipe.tuning.start, [tokens], np.random.default_rng(0))
    found = [None if i is None else tokenizer.convert_ids_to_tokens(i) for i in ids]
    assert found[: len(expected)] == expected
    assert set(ids[len(expected) :]) <= set(next(iter(tokens.values())).values.tolist())


@pytest.mark.parametrize("kind", ["Longformer", "BigBird", "GPTBigCode"])
def test_prefix_tuning_refuses_unsupported_attention(kind):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = getattr(transformers, f"{kind}Config")(**sizes, vocab_size=50)
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config)
    with pytest.raises(PetError, match=rf"--tuning prefix: .*{config.model_type}"):
        prefix_layers.check_model(model)


def test_a_few_vectors_start_from_one_word_of_each_label(tiny_model):
    recipe = recipe_of("prompt", prompt_length=5, prompt_init="labels")
    words = {"World": ("world", "terrible"), "Sports": ("sports", "good"), "Business": ("business",)}
    tokenizer = load_tokenizer(str(tiny_model))
    pattern = Pattern(parse_template("{mask}: {text}", ["text"]), Verbalizer({**words, "Technology": ("technology",)}))
    pvp = bind_pattern(pattern, LABELS, tokenizer, 64, **encoder_options(recipe.tuning))
    found = tokenizer.convert_ids_to_tokens(start_ids(pvp, recipe.tuning.start, [], np.random.default_rng(0)))
    assert found == ["world", "sports", "business", "technology", "terrible"]


def test_frequent_words_are_drawn_once_and_never_special_ones(tiny_model):
    recipe = recipe_of("prompt")
    pvp = bound(tiny_model, recipe)
    ids = start_ids(pvp, recipe.tuning.start, [tokens_of(pvp, [row["text"] for row in ROWS])], np.random.default_rng(0))
    assert len(set(ids)) == 5
    assert not set(ids) & set(load_tokenizer(str(tiny_model)).all_special_ids)


def test_random_vectors_are_within_prompt_range(tiny_model):
    recipe = recipe_of("prompt", prompt_init="random", prompt_range=0.25, prompt_length=40)
    pvp = bound(tiny_model, recipe, "{mask}: {text}", before=40)
    lm = start_member(open_backbone(tiny_model), recipe.tuning, pvp, [], 7, CPU)
    values = soft.learned_values(lm.model)
    assert values is not None
    assert 0.24 < float(values.abs().max()) <= 0.25


@every_method
def test_the_seed_determines_initial_values(tiny_model, method: str):
    if method == "lora":
        pytest.importorskip("peft")

    def begin(seed: int) -> dict[str, torch.Tensor]:
        recipe = recipe_of(method)
        pvp = bound(tiny_model, recipe)
        tokens = tokens_of(pvp, [row["text"] for row in ROWS])
        lm = start_member(open_backbone(tiny_model), recipe.tuning, pvp, [tokens], seed, CPU)
        return {key: value.clone() for key, value in lm.model.named_parameters() if value.requires_grad}

    first, again, other = begin(1), begin(1), begin(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert method == "bitfit" or any(not torch.equal(first[key], other[key]) for key in first)


# --- variants ----------------------------------------------------------------------------------------


def test_p_tuning_with_an_mlp(member, accelerator):
    done = member("bert", "p-tuning", prompt_encoder="mlp")
    assert done.losses[1] < done.losses[0]
    assert not any("lstm" in key for key in done.trained)
    again = attach(done.backbone, read_member(done.folder), "here")
    np.testing.assert_array_equal(scores(again, done.model, done.pvp, accelerator), done.scores)


def test_p_tuning_of_the_whole_model(tiny_model, accelerator, tmp_path: Path):
    recipe = recipe_of("p-tuning", tune_backbone=True)
    pvp, backbone = bound(tiny_model, recipe), open_backbone(tiny_model)
    tokens = tokens_of(pvp, [row["text"] for row in ROWS])
    lm = start_member(backbone, recipe.tuning, pvp, [tokens], 7, CPU)
    train_member(lm, pvp, ClozeData(tokens, GOLD, None), recipe.with_settings(learning_rate=1e-3), 7, accelerator)
    expected = scores(lm, tiny_model, pvp, accelerator)
    save_member(backbone, recipe.tuning, tmp_path)
    lm.model.save_pretrained(tmp_path)
    _, info = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    own = Backbone(load_masked_lm(str(tmp_path)), "own", "another")
    assert not torch.equal(
        own.model.get_input_embeddings().weight, open_backbone(tiny_model).model.get_input_embeddings().weight
    )
    np.testing.assert_array_equal(
        scores(attach(own, read_member(tmp_path), "here"), tiny_model, pvp, accelerator), expected
    )


def test_words_at_the_positions_of_a_prefix_do_not_matter(member):
    """Every layer uses learned keys and values there."""
    done = member("bert", "prefix")
    lm = attach(done.backbone, read_member(done.folder), "here")
    ids = torch.tensor([[-1, -2, -3, 2, 4, 9, 3]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    where = torch.tensor([0]), torch.tensor([4])
    with torch.no_grad():
        first = lm.features(batch, *where)
        lm.model.bert.embeddings.word_embeddings.weight[0] += 1  # what is looked up for the prefix
        second = lm.features(batch, *where)
        lm.model.bert.embeddings.word_embeddings.weight[0] -= 1
        lm.model.bert.embeddings.word_embeddings.learned.values[0, 1, 1] += 1
        third = lm.features(batch, *where)
    assert torch.equal(first, second)
    assert not torch.allclose(first, third)


@every_method
def test_a_member_can_be_pickled(member, accelerator, method: str):
    """`PetClassifier` without a student is pickled with its members."""
    done = member("bert", method)
    lm = attach(done.backbone, read_member(done.folder), "here")
    again = pickle.loads(pickle.dumps(lm))
    np.testing.assert_array_equal(scores(again, done.model, done.pvp, accelerator), done.scores)


# --- refusals ----------------------------------------------------------------------------------------


def test_another_backbone_is_refused(member, family_model):
    done = member("bert", "prompt")
    other = Backbone(load_masked_lm(str(family_model("electra"))), "electra", "0123456789abcdef")
    with pytest.raises(PetError, match=r"p1-r1: .*bert.* electra .*hash 0123456789ab\)"):
        attach(other, read_member(done.folder), "p1-r1")


def test_a_damaged_file_is_refused(member, tmp_path: Path):
    done = member("bert", "prompt")
    with pytest.raises(PetError, match=LEARNED):
        read_member(tmp_path)
    data = (done.folder / LEARNED).read_bytes()
    for damaged in (data[:50], data[:-10], b"", b"{}"):
        (tmp_path / LEARNED).write_bytes(damaged)
        with pytest.raises(PetError, match="train it again"):
            read_member(tmp_path)
    shutil.copy(family := done.model / "model.safetensors", tmp_path / LEARNED)
    assert family.exists()
    with pytest.raises(PetError, match="train it again"):
        read_member(tmp_path)


def test_p_tuning_names_patterns_without_soft_tokens(tiny_model):
    model = load_masked_lm(str(tiny_model))
    task = Task.from_dict(
        {"task": "t", "fields": ["text"], "labels": ["a", "b"], "verbalizer": {"a": "good", "b": "bad"},
         "patterns": ["{text} {mask}", "{text} {soft:2} {mask}"]}
    )  # fmt: skip
    with pytest.raises(PetError) as caught:
        check_tuning(recipe_of("p-tuning").tuning, task, model)
    (problem,) = caught.value.problems
    assert "'{text} {mask}'" in problem
    assert "{soft:3}" in problem
    check_tuning(recipe_of("p-tuning", tune_backbone=True).tuning, task, model)
    check_tuning(recipe_of("prompt").tuning, task, model)


def test_lora_without_its_library(monkeypatch):
    import pet.tuning.lora

    monkeypatch.setattr(pet.tuning.lora, "is_installed", lambda name: False)
    with pytest.raises(PetError, match=r"pip install 'pattern-exploiting-training\[lora\]'"):
        pet.tuning.lora.check_peft()


@pytest.mark.parametrize("method", ["prefix", "lora"])
def test_unsupported_attention_is_named(tiny_model, method: str):
    from pet.tuning.attention import find_projections

    model = load_masked_lm(str(tiny_model))
    for layer in model.bert.encoder.layer:
        layer.attention.self.query = torch.nn.Identity()
    with pytest.raises(PetError, match=f"--tuning {method}: the attention of a bert model"):
        find_projections(model, method)


def test_settings_of_tuning_are_checked():
    for changes, said in (
        ({"tuning": "lorra"}, "lorra.*full, lora, bitfit, prompt, p-tuning or prefix"),
        ({"prompt_encoder": "gru"}, "gru.*lstm or mlp"),
        ({"prompt_init": "words"}, "prompt_init=words.*prompt_words"),
        ({"prompt_words": "a b"}, "prompt_init=words.*prompt_words"),
        ({"prompt_length": "0"}, "prompt_length is 0"),
    ):
        with pytest.raises(PetError, match=said):
            make_recipe("default", changes)


# --- patterns ----------------------------------------------------------------------------------------


def test_soft_places_of_a_pattern():
    template = parse_template("{soft: it   was } {mask}{soft:3} || {text}", ["text"])
    assert template.segments == (
        (Soft(0, "it was"), Mask(space_before=True), Soft(3)),
        (Field("text"),),
    )
    assert template.is_soft
    assert not parse_template("{mask} {text}", ["text"]).is_soft
    assert template.render({"text": "T"}) == "{soft:it was} [MASK]{soft:3} || T"


def test_soft_words_are_plain_words_for_other_methods(tiny_model):
    recipe = recipe_of("full")
    with_soft = bound(tiny_model, recipe, "{soft:it was} {mask} {soft:4} {text}", soft=False)
    words = bound(tiny_model, recipe, "it was {mask} {text}", soft=False)
    tokens = tokens_of(words, ["The team won."])
    found, expected = with_soft.encoder.encode(tokens), words.encoder.encode(tokens)
    np.testing.assert_array_equal(found.ids.values, expected.ids.values)
    np.testing.assert_array_equal(found.ordinary, expected.ordinary)


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations([*range(5), "mask", "text"]),
    before=st.integers(0, 6),
    size=st.integers(30, 48),
    words=st.lists(st.integers(0, 60), min_size=1, max_size=5),
)
def test_the_mask_and_learned_vectors_survive_truncation(tiny_model, order, before, size, words):
    pieces = {"mask": "{mask}", "text": "{text}", 0: "news", 1: "{soft:2}", 2: "{soft:it was}", 3: "{soft:1}", 4: "{b}"}
    template = parse_template(" ".join(pieces[part] for part in order), ["text", "b"])
    pattern = Pattern(template, Verbalizer({label: (label.lower(),) for label in LABELS}))
    tokenizer = load_tokenizer(str(tiny_model))
    encoder = bind_pattern(pattern, LABELS, tokenizer, size, before=before, soft=True).encoder
    rows = Ragged.from_rows([[20] * count for count in words])
    encoded = encoder.encode(dict.fromkeys(encoder.keys, rows))
    learned = before + 5
    assert len(encoder.learned) == learned
    for row in range(len(words)):
        ids = encoded.ids[row]
        assert len(ids) <= size
        assert ids[encoded.mask_position[row]] == tokenizer.mask_token_id
        assert ids[ids < 0].tolist() == list(range(-1, -learned - 1, -1))
        assert (ids[:before] < 0).all()
    assert not encoded.ordinary[encoded.ids.values < 0].any()
