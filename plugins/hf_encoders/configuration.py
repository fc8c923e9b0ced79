"""What an encoder's configuration says of its network."""

from __future__ import annotations

from typing import Any

from .transform import find_side

CLASS_TOKEN = {
    *("vit", "vit_msn", "deit", "beit", "data2vec-vision", "clip_vision_model", "chinese_clip_vision_model"),
    *("dinov2", "dinov2_with_registers", "dinov3_vit"),
}
"""Kinds whose first token stands for the whole image."""
STACKED = {*CLASS_TOKEN, "siglip_vision_model"}
"""Kinds whose layers are run one after another, so that none needs what comes after it."""
UNSUITED = {
    "vit_mae": "hides patches at random",
    "siglip2_vision_model": "takes patches with their places, and no images",
}
"""Kinds that give no embedding of an image alone, and why."""


def is_composite(config: Any) -> bool:
    """Whether a model has a text tower beside the one of images."""
    return hasattr(config, "vision_config") and hasattr(config, "text_config")


def vision_of(config: Any) -> Any:
    """The configuration of the tower of images."""
    return config.vision_config if is_composite(config) else config


def config_size(config: Any) -> int | None:
    """The size of images that position embeddings are for; None where the network has none."""
    vision = vision_of(config)
    return find_side(getattr(vision, "image_size", None)) if hasattr(vision, "num_attention_heads") else None


def count_prefix(config: Any) -> int:
    """Tokens before those of patches: class token, distillation token, registers."""
    vision = vision_of(config)
    if vision.model_type not in CLASS_TOKEN:
        return 0
    return 1 + int(vision.model_type == "deit") + int(getattr(vision, "num_register_tokens", 0))
