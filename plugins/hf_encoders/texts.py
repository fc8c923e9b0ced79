"""Heads made of sentences, by an encoder's text tower."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from harness import Task, WeightsError, read_prompts

from .files import Pretrained, quiet

if TYPE_CHECKING:
    from torch import Tensor


def make_text_head(at: Pretrained, whole: Any, task: Task, name: str) -> dict[str, Tensor]:
    """The head of the text tower: what `prompts` say of each label."""
    from harness import make_zero_shot_head

    chosen = read_prompts(name).choose(task.labels)
    return make_zero_shot_head(chosen, partial(embed_texts, at, whole), float(whole.logit_scale.detach().exp()))


def embed_texts(at: Pretrained, whole: Any, texts: list[str]) -> Tensor:
    """Embeddings (n, D) of n sentences, by the tokenizer in the model's folder.

    Raises `WeightsError` where there is none.
    """
    from transformers import AutoTokenizer

    config = whole.config.text_config
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(at.folder.find(), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        raise WeightsError(f"model '{at.name}' has no tokenizer in its folder: {str(error).splitlines()[0]}") from None
    fill = "max_length" if whole.config.model_type.startswith("siglip") else True  # as SigLIP was trained
    tokens = tokenizer(
        texts, padding=fill, truncation=True, max_length=config.max_position_embeddings, return_tensors="pt"
    )
    tokens = {key: tokens[key] for key in ("input_ids", "attention_mask") if key in tokens}
    found = whole.get_text_features(**tokens)
    embedded: Tensor = getattr(found, "pooler_output", found)
    return embedded
