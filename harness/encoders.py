"""For plugins that offer families of encoders: their files, their networks, and the sentences of zero-shot heads.

`plugins/hf_encoders.py` is an example.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.data.prompts import Prompts, choose_prompts, list_sentences, read_prompts
from harness.model_folders import (
    ModelFolder,
    digest_files,
    digest_table,
    read_json,
    require_library,
    shorten_name,
)

if TYPE_CHECKING:
    from harness.training.encoder import FILTERS, EncoderNetwork, make_zero_shot_head

__all__ = [
    "FILTERS",
    "EncoderNetwork",
    "ModelFolder",
    "Prompts",
    "choose_prompts",
    "digest_files",
    "digest_table",
    "list_sentences",
    "make_zero_shot_head",
    "read_json",
    "read_prompts",
    "require_library",
    "shorten_name",
]

LATE = ("FILTERS", "EncoderNetwork", "make_zero_shot_head")
"""Names whose module imports torch."""


def __getattr__(name: str) -> Any:
    if name in LATE:
        return getattr(import_module("harness.training.encoder"), name)
    raise AttributeError(f"module 'harness.encoders' has no attribute '{name}'")
