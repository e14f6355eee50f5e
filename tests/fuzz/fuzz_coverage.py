"""Fuzz one target, guided by coverage: ``python tests/fuzz/fuzz_coverage.py TARGET [libFuzzer options] [CORPUS]``.

This needs atheris (``pip install atheris``), which has wheels for Linux only and is no dependency of the tests. Inputs
are changed as in ``fuzz.py``; those that reach new code of the package join the corpus.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

with atheris.instrument_imports(include=["pet", "yaml"]):
    from fuzz_inputs import mutate, seeds
    from fuzz_targets import check


def main() -> None:
    target, pool = sys.argv[1], seeds(sys.argv[1])

    def one_input(data: bytes) -> None:
        # libFuzzer has its own time limit (-timeout=10), and makes inputs of its own, such as an empty one.
        check(target, data, limit=0)

    def change(data: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)
        return mutate(data if len(data) > 1 else draw.choice(pool), pool, draw)[:most]

    atheris.Setup([sys.argv[0], "-max_len=100000", *sys.argv[2:]], one_input, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
