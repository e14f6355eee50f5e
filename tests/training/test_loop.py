"""The training loop."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from pet.errors import PetError
from pet.training.device import Accelerator, make_accelerator
from pet.training.loop import Course, Schedule, make_optimizer, parameter_groups, rate_factor, train


class Regression(nn.Module):
    """Mean squared error of a small network with a norm in it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 1))
        self.calls = 0

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return ((self.layers(batch) - batch.sum(dim=1, keepdim=True)) ** 2).mean()


def _model(seed: int = 0) -> Regression:
    torch.manual_seed(seed)
    return Regression()


def _stream(size: int, seed: int = 0) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randn(size, 4, generator=generator)


def _weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


# --- learning rate -----------------------------------------------------------------------------------


def test_without_warmup_the_rate_falls_from_one_to_zero():
    assert [rate_factor(step, 4, 0.0) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_with_warmup_the_rate_rises_then_falls():
    # round(10 * 0.3) = 3 steps rise by quarters, the peak comes with the fourth, then 7 equal steps down
    expected = [1 / 4, 2 / 4, 3 / 4, *(n / 7 for n in range(7, 0, -1)), 0.0]
    assert [rate_factor(step, 10, 0.3) for step in range(11)] == pytest.approx(expected)


def test_the_rate_is_defined_for_warmup_only_and_for_a_single_step():
    assert [rate_factor(step, 3, 1.0) for step in range(3)] == pytest.approx([0.25, 0.5, 0.75])
    assert rate_factor(0, 1, 0.1) == 1.0


def test_the_optimizer_uses_the_scheduled_rate(accelerator, monkeypatch):
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *args: object, **options: object) -> object:
        seen.append(self.param_groups[0]["lr"])
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train(_model(), _stream(2), Schedule(steps=4, learning_rate=0.1), accelerator)
    assert seen == pytest.approx([0.1, 0.075, 0.05, 0.025])


# --- updates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "accumulation"), [(0, 1), (1, 1), (7, 1), (10, 3), (23, 2)])
def test_training_makes_exactly_the_given_number_of_updates(accelerator, steps, accumulation):
    model, told = _model(), []
    schedule = Schedule(steps=steps, learning_rate=1e-3, accumulation=accumulation)
    history = train(model, _stream(2), schedule, accelerator, lambda step, loss: told.append((step, loss)))
    assert [step for step, _ in told] == list(range(1, steps + 1))
    assert model.calls == steps * accumulation
    assert [loss for _, loss in told if loss is not None] == history
    assert len(history) == -(-steps // 10)
    assert not model.training


def test_zero_updates_leave_the_model_unchanged(accelerator):
    model = _model()
    before = _weights(model)
    assert train(model, _stream(2), Schedule(steps=0, learning_rate=1.0), accelerator) == []
    assert torch.equal(_weights(model), before)


def test_accumulated_micro_batches_equal_one_large_batch(accelerator):
    large = [next(_stream(8, seed)) for seed in range(5)]
    small = [part for batch in large for part in batch.split(2)]
    results, losses = [], []
    for batches, accumulation in ((large, 1), (small, 4)):
        model = _model()
        schedule = Schedule(steps=5, learning_rate=1e-2, accumulation=accumulation, max_grad_norm=0.5)
        losses += train(model, iter(batches), schedule, accelerator)
        results.append(_weights(model))
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-5)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert (results[0] - _weights(_model())).abs().max() > 1e-3


def test_reported_losses_are_means(accelerator):
    model = _model()
    batches = [next(_stream(4, seed)) for seed in range(24)]
    with torch.no_grad():
        each = [float(model(batch)) for batch in batches]
    # at a rate of 0 the weights stay
    history = train(model, iter(batches), Schedule(steps=12, learning_rate=0.0, accumulation=2), accelerator)
    assert history == pytest.approx([sum(each[:20]) / 20, sum(each[20:]) / 4], rel=1e-5)


def test_gradients_are_clipped_to_the_norm(accelerator, monkeypatch):
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *args: object, **options: object) -> object:
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train(_model(), (100 * b for b in _stream(2)), Schedule(steps=3, learning_rate=0.0), accelerator)
    train(_model(), _stream(2), Schedule(steps=1, learning_rate=0.0, max_grad_norm=1e6), accelerator)
    assert norms[:3] == pytest.approx([1.0] * 3, rel=1e-3)
    assert norms[3] > 1.5  # it was not so small by itself


def test_training_reduces_the_loss(accelerator):
    history = train(_model(), _stream(32), Schedule(steps=200, learning_rate=2e-2), accelerator)
    assert history[-1] < 0.2 * history[0]


# --- continuing and stopping -------------------------------------------------------------------------


def _continued(accelerator, schedule: Schedule, steps: list[int]) -> torch.Tensor:
    """Weights after a training in pieces: each one ends after some updates and hands on the optimizer's state."""
    model, batches, done = _model(), [next(_stream(2, seed)) for seed in range(sum(steps))], 0
    rates = [schedule.learning_rate * rate_factor(step, sum(steps), schedule.warmup) for step in range(sum(steps))]
    state = None
    for count in steps:
        optimizer = make_optimizer(model, schedule, accelerator)
        if state is not None:
            optimizer.load_state_dict(state)
        course = Course(iter(rates[done : done + count]), optimizer, done)
        train(model, iter(batches[done:]), schedule, accelerator, course=course)
        state, done = copy.deepcopy(optimizer.state_dict()), done + count
    return _weights(model)


def test_a_training_in_pieces_equals_one_in_a_single_run(accelerator):
    schedule = Schedule(steps=23, learning_rate=1e-2, warmup=0.2)
    model = _model()
    train(model, (next(_stream(2, seed)) for seed in itertools.count()), schedule, accelerator)
    assert torch.equal(_continued(accelerator, schedule, [23]), _weights(model))
    assert torch.equal(_continued(accelerator, schedule, [4, 10, 9]), _weights(model))


def test_given_learning_rates_end_the_training_and_steps_go_on_counting(accelerator):
    schedule, told = Schedule(steps=0, learning_rate=1e-2), []
    model = _model()
    course = Course(iter([1e-2] * 13), make_optimizer(model, schedule, accelerator), step=4)
    history = train(
        model, _stream(2), schedule, accelerator, lambda step, loss: told.append((step, loss)), None, course
    )
    assert [step for step, _ in told] == list(range(5, 18))
    assert [step for step, loss in told if loss is not None] == [10]
    assert len(history) == 2  # the last stretch, too


def test_divergence_after_the_last_check_is_an_error(accelerator):
    schedule, model = Schedule(steps=0, learning_rate=1e-2), _model()
    course = Course(iter([1e-2] * 3), make_optimizer(model, schedule, accelerator))
    with pytest.raises(PetError, match="nan at step 3"):
        train(model, itertools.repeat(torch.full((2, 4), float("nan"))), schedule, accelerator, course=course)


# --- decay -------------------------------------------------------------------------------------------


def test_weight_decay_excludes_vectors():
    model = _model()
    model.layers[3].weight.requires_grad_(False)
    decaying, others = parameter_groups(model, 0.25)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.25, 0.0)
    assert [p is model.layers[0].weight for p in decaying["params"]] == [True]
    assert {tuple(p.shape) for p in others["params"]} == {(8,), (1,)}
    assert len(others["params"]) == 4  # two biases, weight and bias of the norm


def test_without_gradients_only_matrices_decay(accelerator):
    class Nothing(Regression):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(batch) * 0.0

    torch.manual_seed(0)
    model = Nothing()
    before = copy.deepcopy(model)
    train(model, _stream(2), Schedule(steps=2, learning_rate=0.1, weight_decay=0.5), accelerator)
    # AdamW takes lr * decay of a weight at each update, at rates of 0.1 and 0.05
    shrunk = (1 - 0.1 * 0.5) * (1 - 0.05 * 0.5)
    torch.testing.assert_close(model.layers[0].weight, before.layers[0].weight * shrunk)
    for name in ("layers.0.bias", "layers.1.weight", "layers.1.bias", "layers.3.bias"):
        assert torch.equal(model.get_parameter(name), before.get_parameter(name))


# --- accidents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training(accelerator, value):
    batches = itertools.chain([torch.ones(2, 4)] * 3, itertools.repeat(torch.full((2, 4), value)))
    with pytest.raises(PetError, match=r"(nan|inf) at step 10.*learning rate"):
        train(_model(), batches, Schedule(steps=50, learning_rate=1e-3), accelerator)


def test_the_same_seed_gives_the_same_bytes(accelerator):
    class Dropping(Regression):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(nn.functional.dropout(batch, 0.3, self.training))

    def trained(seed: int) -> bytes:
        torch.manual_seed(0)
        model = Dropping()
        torch.manual_seed(seed)
        train(model, _stream(4), Schedule(steps=12, learning_rate=1e-2, accumulation=2), accelerator)
        return _weights(model).numpy().tobytes()

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


# --- devices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta"])
def test_an_unavailable_device_is_rejected(device):
    with pytest.raises(PetError, match=f"device {device}"):
        make_accelerator(device)


def test_an_unknown_precision_is_rejected():
    with pytest.raises(PetError, match=r"precision 'int8'.*bf16"):
        make_accelerator("cpu", "int8")
    with pytest.raises(PetError, match="fp16 requires a CUDA GPU"):
        make_accelerator("cpu", "fp16")


def test_fp16_scales_losses_and_skips_an_update_with_infinite_gradients(monkeypatch):
    """On a CPU, to which `make_accelerator` does not give fp16, but which computes it as a GPU does."""
    scales = []
    update = torch.amp.GradScaler.update
    monkeypatch.setattr(torch.amp.GradScaler, "update", lambda self: (update(self), scales.append(self.get_scale()))[0])
    model, accelerator = _model(), Accelerator(torch.device("cpu"), "fp16")
    history = train(model, _stream(32), Schedule(steps=60, learning_rate=2e-2), accelerator)
    assert history[-1] < 0.7 * history[0]
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert len(scales) == 60 and scales[0] > 1
    scales.clear()
    before = _weights(model)
    train(model, (30 * batch for batch in _stream(2)), Schedule(steps=1, learning_rate=1e-2), accelerator)
    assert torch.equal(_weights(model), before) and scales == [0.5 * 65536]


def test_bf16_trains_on_the_cpu():
    model = _model()
    schedule = Schedule(steps=60, learning_rate=2e-2)
    history = train(model, _stream(32), schedule, make_accelerator("cpu", "bf16"))
    assert history[-1] < 0.7 * history[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_bf16_that_a_gpu_only_emulates_is_not_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert make_accelerator("auto", "auto").precision == "fp32"
