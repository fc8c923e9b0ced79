"""What is taken of an encoder's output as an image's embedding."""

from __future__ import annotations

from typing import Any, Literal

from harness import UsageError

from .configuration import CLASS_TOKEN, is_composite, vision_of
from .files import Pretrained

Pool = Literal["auto", "cls", "mean", "pooler", "projection"]


def choose_pooling(at: Pretrained, config: Any, pooling: Pool, layer: int, prompts: str | None) -> str:
    """The pooling that is meant. Raises `UsageError` for one that the encoder does not have."""
    has_token = vision_of(config).model_type in CLASS_TOKEN
    layers = getattr(vision_of(config), "num_hidden_layers", None)
    if prompts is not None:
        if not is_composite(config):
            raise UsageError(
                f"model '{at.name}' has no text tower that prompts could be read by; leave model.prompts out"
            )
        if pooling not in ("auto", "projection") or layer != -1:
            raise UsageError(
                "model.prompts are held against the encoder's output: leave model.pooling and model.layer out"
            )
        return "projection"
    if pooling == "projection" and not is_composite(config):
        raise UsageError(f"model '{at.name}' has no text tower, and so no projection; choose another model.pooling")
    if pooling == "cls" and not has_token:
        raise UsageError(f"model '{at.name}' has no class token; set model.pooling to mean or pooler")
    if layer > -1 or (layers is not None and layer < -layers):
        raise UsageError(
            f"model.layer of '{at.name}' counts from the last one: between -{layers or 1} and -1, got {layer}"
        )
    if pooling in ("pooler", "projection") and layer != -1:
        raise UsageError(
            f"the {pooling} of '{at.name}' is of its last layer; leave model.layer out or set model.pooling=mean"
        )
    if pooling != "auto":
        return pooling
    if has_token and not is_composite(config):
        return "cls"
    return "pooler" if layer == -1 else "mean"
