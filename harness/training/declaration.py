"""What the initial weights of a row were made from, as its model or its weight file declares it."""

from __future__ import annotations

from pathlib import Path

from harness.choices import Choices
from harness.data.pretraining import UNKNOWN, PretrainingSource, find_sources, read_declaration, unite
from harness.training.weight_file import read_seen


def list_seen(choices: Choices) -> tuple[PretrainingSource, ...]:
    """What a row's network has seen before its training; nothing where it begins from random weights.

    What declares nothing is unknown. Raises `UnknownNameError` or `UsageError` for a declaration that means nothing.
    """
    model, weights = choices.model, choices.recipe.weights
    own = find_sources(model.pretrained_on, f"model '{model.name}'")
    unknown = find_sources([UNKNOWN], "")
    if weights == "pretrained" and model.origin is not None and model.origin.weights is not None:
        own = unite((*own, *(read_declaration(model.origin.weights) or ())))
    if weights in ("imagenet", "pretrained"):
        return own or unknown
    brought = own if model.pretrained is None else ()
    return brought if weights == "random" else unite((*brought, *(_read_file(Path(weights).expanduser()) or unknown)))


def _read_file(path: Path) -> tuple[PretrainingSource, ...]:
    """What a weight file says itself, and what a file beside it declares."""
    if not path.is_file():
        return ()
    return unite((*read_seen(path), *(read_declaration(path) or ())))
