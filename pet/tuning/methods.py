"""The tuning methods. To add one, write its file and list it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pet.tuning import bitfit, full, lora, p_tuning, prefix, prompt
from pet.tuning.method import Method

_MODULES = (full, lora, bitfit, prompt, p_tuning, prefix)
METHODS: Mapping[str, Method[Any]] = {module.METHOD.name: module.METHOD for module in _MODULES}
