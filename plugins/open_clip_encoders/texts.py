"""Heads made of sentences, by an encoder's text tower."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness import Task, WeightsError, read_prompts

from .files import TEXT_CONFIG, Towers

if TYPE_CHECKING:
    from torch import Tensor, nn


def make_text_head(at: Towers, tensors: Mapping[str, Tensor], task: Task, name: str) -> dict[str, Tensor]:
    """The head of the text tower: what `prompts` say of each label."""
    from harness import make_zero_shot_head

    chosen = read_prompts(name).choose(task.labels)
    tower = make_text_tower(at, tensors)
    tokenize = make_tokenizer(at)
    return make_zero_shot_head(chosen, lambda texts: tower(tokenize(texts)), float(tensors["logit_scale"].exp()))


def make_text_tower(at: Towers, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The tower of texts with its weights. Raises `WeightsError` where some are missing."""
    import torch
    from open_clip.hf_model import HFTextEncoder
    from open_clip.model import CLIPTextCfg, _build_text_tower

    config = copy.deepcopy(at.read_config())
    said = CLIPTextCfg(**config["text_cfg"])
    with torch.random.fork_rng(devices=[]):
        if said.hf_model_name:
            tower = HFTextEncoder(
                said.hf_model_name,
                output_dim=config["embed_dim"],
                config=read_text_config(at, said.hf_model_name),
                pooler_type=said.hf_pooler_type,
                proj_type=said.hf_proj_type,
                pretrained=False,
            )
        else:
            said.output_tokens = False
            tower = _build_text_tower(config["embed_dim"], said, config.get("quick_gelu", False))
    given = {name.removeprefix("text."): tensor for name, tensor in tensors.items() if name.startswith("text.")}
    unused = () if said.hf_pooler_type == "cls_pooler" else ("transformer.pooler.",)
    found = tower.load_state_dict(given, strict=False)
    lacking = [name for name in found.missing_keys if not name.startswith(unused)]
    wrong = [*lacking, *(name for name in found.unexpected_keys if not name.endswith("position_ids"))]
    if wrong:
        raise WeightsError(f"the text tower of model '{at.name}' does not fit its weights, first text.{wrong[0]}")
    whole: nn.Module = tower.eval()
    return whole


def read_text_config(at: Towers, name: str) -> Any:
    """The configuration of a text tower of transformers, from the folder or the local cache.

    Raises `WeightsError` where it is in neither.
    """
    from transformers import AutoConfig

    here = at.folder.has(TEXT_CONFIG) and "model_type" in at.folder.read(TEXT_CONFIG)
    place = at.folder.find() if here else name
    try:
        return AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except Exception:  # noqa: BLE001 - whatever the library raises
        raise WeightsError(
            f"the text tower of model '{at.name}' is a '{name}', whose {TEXT_CONFIG} is not here; put it into the "
            "folder, or start the run where the hub can be reached"
        ) from None


def make_tokenizer(at: Towers) -> Callable[[list[str]], Tensor]:
    """The tokenizer of the folder, or open_clip's own. Raises `WeightsError` where the folder lacks it."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    length, more = at.text("context_length") or 77, at.text("tokenizer_kwargs") or {}
    if not at.text("hf_tokenizer_name"):
        return SimpleTokenizer(context_length=length, **more)  # type: ignore[no-any-return]
    try:
        return HFTokenizer(  # type: ignore[no-any-return]
            str(at.folder.find()),
            context_length=length,
            tokenizer_mode=at.text("tokenizer_mode"),
            local_files_only=True,
            trust_remote_code=False,
            **more,
        )
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        raise WeightsError(
            f"model '{at.name}' has no tokenizer in its folder: {str(error).partition(chr(10))[0]}"
        ) from None
