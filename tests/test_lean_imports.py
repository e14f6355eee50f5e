"""The command imports the models of transformers without the compiler, and other programs import them whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import transformers

PROGRAM = """
import sys
from pet import lean_imports
if sys.argv[1] == "lean":
    lean_imports.allow()
import torch
from pet.backbones.load import load_model
from pet.compat import save_model
from transformers import AutoModelForMaskedLM

model, _ = load_model(sys.argv[2], AutoModelForMaskedLM)
layer = torch.nn.Linear(2, 2)
optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
save_model(model, sys.argv[3])
print([name in sys.modules for name in ("torch._dynamo.eval_frame", "accelerate", "sympy", "torch._decomp")])
ids = torch.tensor([[2, 5, 6, 3]])
print(model(ids).logits.double().sum().item(), layer.weight.grad.sum().item())
compiled = torch.compile(lambda x: x + 1, backend="eager")
print(compiled(torch.ones(1)).item(), torch._dynamo.config.disable)
from transformers.utils import is_accelerate_available
print(is_accelerate_available())
from transformers.models import bert, t5
print(bert.BertModel.__name__, t5.T5Config.__name__)
with torch.device("meta"):
    print(torch.empty(2, 3).normal_().shape, torch.arange(3).device)
"""

UNUSUAL = """
from pet import lean_imports
lean_imports.allow()
import torch

def make():
    with torch.device("meta"):
        layers = torch.nn.Linear(2, 2), torch.nn.Embedding(3, 2)
        return layers, torch.arange(4), torch.linalg.householder_product(torch.ones(3, 2), torch.ones(2))

layers, counted, product = lean_imports.build(make)
print(counted.shape[0], product.shape[1], layers[0].weight.is_meta, torch.arange(2).tolist())
"""


@pytest.mark.skipif(transformers.__version__ < "5", reason="only transformers 5 imports the compiler")
def test_a_lean_process_computes_the_same_and_can_still_compile(tiny_model: Path, tmp_path: Path) -> None:
    said = {}
    for mode in ("lean", "whole"):
        command = [sys.executable, "-c", PROGRAM, mode, str(tiny_model), str(tmp_path / mode)]
        said[mode] = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    assert said["lean"][0] == "[False, False, False, False]"
    assert said["whole"][0] == "[True, True, True, True]"
    assert said["lean"][1:] == said["whole"][1:]
    saved = [(tmp_path / mode / "model.safetensors").read_bytes() for mode in said]
    assert saved[0] == saved[1]


def test_a_model_that_needs_more_than_layers_is_built_with_the_rest_of_torch() -> None:
    command = [sys.executable, "-c", UNUSUAL]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.split() == ["4", "2", "True", "[0,", "1]"]
