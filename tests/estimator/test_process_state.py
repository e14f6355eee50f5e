"""Fitting and predicting inside a process that does other things: what is borrowed is given back."""

from __future__ import annotations

import csv
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.utils as hub
import numpy as np
import pytest
import tiny_text
import torch
import transformers

import pet as package
from pet import ComputeOptions, DistillOptions, PetClassifier, distill_file, label_file, make_recipe, predict_file
from pet.members.training import MemberObjective

ROWS = tiny_text.news_rows()
TEXTS, TOPICS = [row["text"] for row in ROWS], [row["label"] for row in ROWS]
TRAIN, POOL, NEW = slice(0, 8), slice(8, 16), slice(16, 24)
QUICK = {"max_length": 64, "repetitions": 1, "steps": 2, "student_steps": 2, "supervised_steps": 2, "labeled_batch": 2}
THREADS = 16


def make(model: Path, method: str = "pet", **settings: Any) -> PetClassifier:
    return PetClassifier(
        patterns=["{text} It was {mask}.", "{mask}: {text}"],
        verbalizer={label: label.lower() for label in tiny_text.LABELS},
        model=str(model),
        method=method,
        settings=QUICK | settings,
        device="cpu",
        precision="fp32",
    )


@pytest.fixture(scope="module")
def student(tiny_model: Path) -> PetClassifier:
    """A classifier that predicts with a student."""
    return make(tiny_model).fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])


@pytest.fixture(scope="module")
def ensemble(tiny_model: Path) -> PetClassifier:
    """A classifier that predicts with members that share one model."""
    return make(tiny_model, tuning="bitfit").fit(TEXTS[TRAIN], TOPICS[TRAIN])


def process_state() -> dict[str, Any]:
    """What a program may have set for its whole process."""
    root = logging.getLogger()
    return {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's generator": np.random.get_state()[1].tobytes(),  # type: ignore[index,union-attr]  # noqa: NPY002
        "Python's generator": random.getstate(),
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "threads": {thread.name for thread in threading.enumerate() if not thread.daemon},
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "umask": _umask(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "warning filters": list(warnings.filters),
        "log": (root.level, list(root.handlers), logging.root.manager.disable),
        "verbosity": (transformers.utils.logging.get_verbosity(), datasets.utils.logging.get_verbosity()),
        "bars": [
            transformers.utils.logging.is_progress_bar_enabled(),
            datasets.are_progress_bars_disabled(),
            hub.are_progress_bars_disabled(),
        ],
        "caching": datasets.is_caching_enabled(),
        "csv": csv.field_size_limit(),
        "determinism": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic),
        "precision": (torch.get_float32_matmul_precision(), torch.get_default_dtype()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        "hooks": (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr),
        "recursion": sys.getrecursionlimit(),
    }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def changed(before: dict[str, Any]) -> list[str]:
    after = process_state()
    return [name for name in before if before[name] != after[name]]


@pytest.fixture
def unusual(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A host with settings of its own, which are not the defaults that a careless library would restore."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("LOCAL_RANK", "0")
    verbosity = transformers.utils.logging.get_verbosity(), datasets.utils.logging.get_verbosity()
    limit = csv.field_size_limit(1234)
    transformers.utils.logging.set_verbosity_info()
    datasets.utils.logging.set_verbosity_info()
    torch.manual_seed(5)
    yield
    csv.field_size_limit(limit)
    transformers.utils.logging.set_verbosity(verbosity[0])
    datasets.utils.logging.set_verbosity(verbosity[1])


@pytest.mark.usefixtures("one_thread", "unusual")
@pytest.mark.parametrize("tuning", ["full", "prompt"])
def test_a_fit_and_predictions_leave_the_process_as_it_was(tiny_model: Path, student: PetClassifier, tuning: str):
    before = process_state()
    found = make(tiny_model, tuning=tuning).fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])
    assert changed(before) == []
    found.predict_proba(TEXTS[NEW])
    assert changed(before) == []


@pytest.mark.usefixtures("one_thread", "unusual")
@pytest.mark.parametrize("method", ["supervised", "zero-shot"])
def test_other_methods_leave_the_process_as_it_was(tiny_model: Path, student: PetClassifier, method: str):
    before = process_state()
    make(tiny_model, method).fit(TEXTS[TRAIN], TOPICS[TRAIN]).predict(TEXTS[NEW])
    assert changed(before) == []


@pytest.mark.usefixtures("one_thread", "unusual")
def test_functions_on_files_leave_the_process_as_it_was(workplace: Path, tiny_model: Path, tmp_path: Path):
    run, data, cpu = workplace / "runs" / "reviews", str(workplace / "test.jsonl"), ComputeOptions(device="cpu")
    before = process_state()
    label_file(run, data, tmp_path / "labels.jsonl", compute=cpu)
    assert changed(before) == []
    predict_file(str(run), data, tmp_path / "predictions.csv", compute=cpu)
    assert changed(before) == []
    options = DistillOptions(recipe=make_recipe("default", {"student_steps": 2, "max_length": 64}))
    distill_file(tmp_path / "labels.jsonl", data, str(tiny_model), tmp_path / "student", options=options, compute=cpu)
    assert changed(before) == []


@pytest.mark.usefixtures("one_thread")
def test_a_fit_that_fails_leaves_the_process_as_it_was(
    tiny_model: Path, student: PetClassifier, monkeypatch: pytest.MonkeyPatch
):
    def diverging(self: MemberObjective, batch: object) -> torch.Tensor:
        return next(self.parameters()).sum() * float("nan")

    monkeypatch.setattr(MemberObjective, "forward", diverging)
    before = process_state()
    with pytest.raises(package.PetError, match="diverged"):
        make(tiny_model).fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])
    assert changed(before) == []


@pytest.mark.usefixtures("one_thread")
def test_the_random_state_of_the_host_does_not_change_the_result(tiny_model: Path, student: PetClassifier):
    torch.manual_seed(99)
    random.seed(99)
    again = make(tiny_model).fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL])
    np.testing.assert_array_equal(again.predict_proba(TEXTS[NEW]), student.predict_proba(TEXTS[NEW]))


@pytest.mark.usefixtures("one_thread")
def test_an_accelerator_of_the_host_keeps_its_precision(student: PetClassifier):
    accelerate = pytest.importorskip("accelerate")
    from accelerate.state import AcceleratorState, GradientState, PartialState

    try:
        own = accelerate.Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=3)
        states = [dict(kind._shared_state) for kind in (AcceleratorState, GradientState, PartialState)]
        student.predict(TEXTS[NEW])
        assert own.mixed_precision == "bf16" and own.gradient_accumulation_steps == 3
        assert [dict(kind._shared_state) for kind in (AcceleratorState, GradientState, PartialState)] == states
        another = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
        with another.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


# ---- threads and processes ---------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", ["student", "ensemble"])
def test_predictions_from_many_threads_are_those_of_one(request: pytest.FixtureRequest, kind: str):
    classifier: PetClassifier = request.getfixturevalue(kind)
    tables = [TEXTS[start : start + 6] for start in range(THREADS)]  # of different lengths
    expected = [classifier.predict_proba(table) for table in tables]
    before = process_state()
    start = threading.Barrier(THREADS)

    def predict(number: int) -> list[Any]:
        start.wait()
        return [classifier.predict_proba(tables[(number + i) % THREADS]) for i in range(3)]

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(predict, range(THREADS)))
    for number, probabilities in enumerate(found):
        for i, one in enumerate(probabilities):
            np.testing.assert_array_equal(one, expected[(number + i) % THREADS])
    assert changed(before) == []


@pytest.mark.usefixtures("one_thread")
def test_fits_in_two_threads_give_the_results_of_one(tiny_model: Path, student: PetClassifier):
    def fit(_: int) -> Any:
        torch.set_num_threads(1)
        return make(tiny_model).fit(TEXTS[TRAIN], TOPICS[TRAIN], unlabeled=TEXTS[POOL]).predict_proba(TEXTS[NEW])

    expected = student.predict_proba(TEXTS[NEW])
    before = process_state()
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(fit, range(2)):
            np.testing.assert_array_equal(found, expected)
    assert changed(before) == []


@pytest.mark.usefixtures("one_thread")
def test_predictions_do_not_wait_for_a_fit(student: PetClassifier):
    from pet.process import BORROWED

    with BORROWED, ThreadPoolExecutor(1) as pool:  # as a thread that trains
        pool.submit(student.predict, TEXTS[NEW]).result(timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", ["student", "ensemble"])
def test_a_forked_process_predicts(request: pytest.FixtureRequest, kind: str):
    """As the workers of a web server that has loaded the classifier before it forks, even while it predicts."""
    classifier: PetClassifier = request.getfixturevalue(kind)
    torch.set_num_threads(2)
    request.addfinalizer(lambda: torch.set_num_threads(1))
    expected = classifier.predict_proba(TEXTS)
    held, done = threading.Event(), threading.Event()
    lock = classifier._fitted.predictor._lock

    def hold() -> None:
        with lock:
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of any fork with threads
        child = context.Process(target=lambda: queue.put(classifier.predict_proba(TEXTS)), daemon=True)
        child.start()
    done.set()
    holder.join()
    child.join(60)
    assert child.exitcode == 0
    np.testing.assert_allclose(queue.get(), expected, atol=1e-6)  # of one thread instead of two


@pytest.mark.usefixtures("one_thread")
def test_joblib_threads_predict(student: PetClassifier):
    joblib = pytest.importorskip("joblib")
    expected = [student.predict_proba([text]) for text in TEXTS[NEW]]
    predict = joblib.delayed(student.predict_proba)
    found = joblib.Parallel(n_jobs=4, backend="threading")(predict([text]) for text in TEXTS[NEW])
    for one, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, wanted)


@pytest.mark.slow
def test_joblib_processes_fit_and_predict(tiny_model: Path, student: PetClassifier):
    joblib = pytest.importorskip("joblib")
    expected = student.predict_proba(TEXTS[NEW])
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(student.predict_proba)(TEXTS[NEW]) for _ in range(2))
        fitted = joblib.Parallel(n_jobs=2)(
            joblib.delayed(make(tiny_model).fit)(TEXTS[TRAIN], TOPICS[TRAIN], TEXTS[POOL]) for _ in range(2)
        )
    for one in (*found, *(one.predict_proba(TEXTS[NEW]) for one in fitted)):
        np.testing.assert_allclose(one, expected, atol=1e-6)


@pytest.mark.usefixtures("one_thread")
def test_an_asynchronous_server_predicts(student: PetClassifier):
    import asyncio

    async def serve() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(student.predict_proba, [text]) for text in TEXTS[NEW]))

    for found, text in zip(asyncio.run(serve()), TEXTS[NEW], strict=True):
        np.testing.assert_array_equal(found, student.predict_proba([text]))
