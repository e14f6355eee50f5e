"""Where prompts are kept."""

from __future__ import annotations

DEFAULT_LIBRARY = "prompts"  # folder of trained prompts, unless another one is named
