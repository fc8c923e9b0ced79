"""How other libraries call the tensors of networks that are the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Spelling:
    """A way to call a network's tensors."""

    about: str
    """Whose names they are, in words; empty for the network's own."""
    patterns: Mapping[str, str | Callable[[re.Match[str]], str]] = field(default_factory=dict)
    """Regular expression over a whole own name -> what it is called; the first that fits."""

    def spell(self, name: str) -> str:
        """Return what a tensor of the network is called."""
        for pattern, replacement in self.patterns.items():
            match = re.fullmatch(pattern, name)
            if match:
                return match.expand(replacement) if isinstance(replacement, str) else replacement(match)
        return name


OWN = Spelling("")
OLD_DENSENET = Spelling(
    "the names of old DenseNets",
    {r"(.*denselayer\d+\.(?:norm|relu|conv))(\d.*)": r"\1.\2"},
)
VIT = Spelling(
    "torchvision's names of a ViT",
    {
        r"cls_token": r"class_token",
        r"pos_embed": r"encoder.pos_embedding",
        r"patch_embed\.proj(.*)": r"conv_proj\1",
        r"blocks\.(\d+)\.norm([12])(.*)": r"encoder.layers.encoder_layer_\1.ln_\2\3",
        r"blocks\.(\d+)\.attn\.qkv\.(.*)": r"encoder.layers.encoder_layer_\1.self_attention.in_proj_\2",
        r"blocks\.(\d+)\.attn\.proj(.*)": r"encoder.layers.encoder_layer_\1.self_attention.out_proj\2",
        r"blocks\.(\d+)\.mlp\.fc1(.*)": r"encoder.layers.encoder_layer_\1.mlp.0\2",
        r"blocks\.(\d+)\.mlp\.fc2(.*)": r"encoder.layers.encoder_layer_\1.mlp.3\2",
        r"norm\.(.*)": r"encoder.ln.\1",
        r"head\.(.*)": r"heads.head.\1",
    },
)
OLD_VIT = Spelling(
    "torchvision's earlier names of a ViT",
    {
        **VIT.patterns,
        r"blocks\.(\d+)\.mlp\.fc1(.*)": r"encoder.layers.encoder_layer_\1.mlp.linear_1\2",
        r"blocks\.(\d+)\.mlp\.fc2(.*)": r"encoder.layers.encoder_layer_\1.mlp.linear_2\2",
    },
)
CONVNEXT = Spelling(
    "torchvision's names of a ConvNeXt",
    {
        r"stem(.*)": r"features.0\1",
        r"stages\.(\d+)\.downsample(.*)": lambda m: f"features.{2 * int(m[1])}{m[2]}",
        r"stages\.(\d+)\.blocks\.(\d+)\.(\w+)(.*)": lambda m: _spell_convnext(*m.groups()),
        r"head\.norm(.*)": r"classifier.0\1",
        r"head\.fc(.*)": r"classifier.2\1",
    },
)
EFFICIENTNET = Spelling(
    "torchvision's names of an EfficientNet",
    {
        r"conv_stem(.*)": r"features.0.0\1",
        r"bn1(.*)": r"features.0.1\1",
        r"blocks\.0\.(\d+)\.(.*)": lambda m: f"features.1.{m[1]}.block.{_spell_mbconv(m[2], 1)}",
        r"blocks\.(\d+)\.(\d+)\.(.*)": lambda m: f"features.{int(m[1]) + 1}.{m[2]}.block.{_spell_mbconv(m[3], 0)}",
        r"conv_head(.*)": r"features.8.0\1",
        r"bn2(.*)": r"features.8.1\1",
        r"classifier(.*)": r"classifier.1\1",
    },
)


def list_spellings(network: nn.Module) -> list[Spelling]:
    """Return every way to call a network's tensors, its own names first."""
    children = {
        re.escape(name) + r"\.(.*)": rf"{number}.\1" for number, (name, _) in enumerate(network.named_children())
    }
    numbers = Spelling("the numbers of a Sequential", children)
    return [OWN, OLD_DENSENET, VIT, OLD_VIT, CONVNEXT, EFFICIENTNET, numbers]


def _spell_convnext(stage: str, block: str, part: str, rest: str) -> str:
    parts = {"gamma": "layer_scale", "conv_dw": "block.0", "norm": "block.2"}
    if part == "mlp":
        part, rest = {"fc1": "block.3", "fc2": "block.5"}[rest[1:4]], rest[4:]
    return f"features.{2 * int(stage) + 1}.{block}.{parts.get(part, part)}{rest}"


def _spell_mbconv(name: str, missing: int) -> str:
    """A block's tensor: expansion, depthwise, squeeze and projection, of which the first may be missing."""
    part, _, rest = name.partition(".")
    if part == "se":
        inner, _, rest = rest.partition(".")
        return f"{2 - missing}.{'fc1' if inner == 'conv_reduce' else 'fc2'}.{rest}"
    expand, depthwise, project = 0, 1 - missing, 3 - missing
    places = {"conv_dw": (depthwise, 0), "conv_pwl": (project, 0), "bn3": (project, 1)}
    if missing:
        places |= {"bn1": (depthwise, 1), "conv_pw": (project, 0), "bn2": (project, 1)}
    else:
        places |= {"conv_pw": (expand, 0), "bn1": (expand, 1), "bn2": (depthwise, 1)}
    place = places.get(part)
    return f"{place[0]}.{place[1]}.{rest}" if place else name
