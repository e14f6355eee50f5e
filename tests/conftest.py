"""Fixtures for all tests: tiny models, easy data, and the project's shared folder."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import browser
import llm_server
import pytest
import tiny_text
from families import build_family
from hypothesis import HealthCheck, settings

# Tests must not use the network: a name that is not a local folder has to fail immediately.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Property tests try the same examples each time. Others: HYPOTHESIS_PROFILE=random pytest.
# How long an example takes depends on what else the machine does.
SLOW = [HealthCheck.too_slow]
settings.register_profile("fixed", derandomize=True, suppress_health_check=SLOW)
settings.register_profile("random", derandomize=False, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

SHARED = Path(__file__).resolve().parents[2] / "shared"
NO_SHARED = f"no folder {SHARED}: real models and data are not part of the repository"


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> Iterator[None]:
    """Leave what exists before a module, mostly libraries, out of garbage collections; runs ask for many of them."""
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "get_freeze_count", lambda: 1)  # counting a million objects takes 50 ms in every command
        yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def family_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``family_model(name)``: the directory of a family's tiny model, built on first use."""
    root = tmp_path_factory.mktemp("families")
    built: dict[str, Path] = {}

    def model(name: str) -> Path:
        if name not in built:
            built[name] = build_family(name, root / name)
        return built[name]

    return model


@pytest.fixture(scope="session")
def tiny_model(family_model: Callable[[str], Path]) -> Path:
    """The directory of a tiny BERT."""
    return family_model("bert")


@pytest.fixture(scope="session")
def tiny_gliclass(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny GLiClass model with random weights; requires the package gliclass."""
    import torch
    from gliclass import GLiClassModel, GLiClassModelConfig
    from transformers import AutoConfig, AutoTokenizer

    folder = tmp_path_factory.mktemp("gliclass")
    tokenizer, encoder = AutoTokenizer.from_pretrained(tiny_model), AutoConfig.from_pretrained(tiny_model)
    tokenizer.add_tokens(["<<LABEL>>", "<<SEP>>"], special_tokens=True)
    encoder.vocab_size = len(tokenizer)
    config = GLiClassModelConfig(
        encoder_config=encoder,
        encoder_model="bert",
        class_token_index=tokenizer.convert_tokens_to_ids("<<LABEL>>"),
        initializer_range=0.5,  # so that texts and labels matter
        prompt_first=False,
    )
    torch.manual_seed(0)
    GLiClassModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: for tiny models, synchronizing threads costs more than it saves."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def accelerator() -> Any:
    """CPU, float32."""
    from pet.training.device import make_accelerator

    return make_accelerator("cpu", "fp32")


@pytest.fixture
def news_rows() -> list[dict[str, str]]:
    """Forty rows ``{"id", "text", "label"}`` with four alternating topics; see `tiny_text.LABELS`."""
    return tiny_text.news_rows()


WriteRows = Callable[[str, Iterable[Mapping[str, Any]]], Path]


@pytest.fixture
def write_jsonl(tmp_path: Path) -> WriteRows:
    """``write_jsonl(name, rows)`` writes one JSON object per line to a file in the test's folder."""

    def write(name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def workplace(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the examples of the documentation assume; see `small_run.write_workplace`."""
    from small_run import write_workplace

    return write_workplace(tmp_path_factory.mktemp("workplace"), tiny_model)


@pytest.fixture(scope="module")  # an event loop runs in this thread as long as playwright does
def chromium() -> Iterator[Any]:
    """Headless Chromium (a playwright ``Browser``); tests with the marker `browser` are skipped without one."""
    with browser.launched() as started:
        yield started


@pytest.fixture
def watched(chromium: Any, request: pytest.FixtureRequest) -> Iterator[browser.Watched]:
    """A watched page in a new context; parametrize it indirectly with options of the context, such as `viewport`."""
    context = chromium.new_context(**getattr(request, "param", {}))
    context.set_default_timeout(10_000)
    yield browser.watch(context.new_page())
    context.close()


@pytest.fixture(scope="session")
def llm_address() -> Iterator[str]:
    """``URL#MODEL`` of a running llama.cpp server with a small model; tests that use it have the marker `llm`."""
    with llm_server.serving() as address:
        yield address


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real models and data next to the checkout; tests are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(NO_SHARED)
    return SHARED


# Modules with one of these names start runs or processes. They take longest.
LONG = ("PetClassifier", "QUICK", "fuzz_targets", "pet", "subprocess")


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist keep the order of files: by default, those with the fewest tests come last."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, begin with the files that take longest, so that no worker waits for another at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not any(hasattr(getattr(item, "module", None), name) for name in LONG))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
    if item.get_closest_marker("browser") and (why := browser.missing()):
        pytest.skip(why)
    if item.get_closest_marker("llm") and (why := llm_server.missing()):
        pytest.skip(why)
    if item.get_closest_marker("shared") and not SHARED.is_dir():
        pytest.skip(NO_SHARED)
