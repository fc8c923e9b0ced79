"""Tiny random encoders, saved by the libraries' own functions in their own formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIZE = 28
SIDES = {"height": SIZE, "width": SIZE}
TOWER: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIZE,
    "patch_size": 7,
}
WORDS = "chest x ray showing without there is no the of heart lung a an mass nodule effusion edema fluid . - in"
TEXT: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def save_encoders(folder: Path) -> None:
    """Save `dino`, `vit`, `siglip` and `clip` in transformers' format, `open` and `biomed` in open_clip's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        save_hf(folder)
        save_open_clip(folder)


def save_hf(folder: Path) -> None:
    import transformers as t

    images = {
        "dino": t.Dinov2Model(t.Dinov2Config(**TOWER, mlp_ratio=2)),
        "vit": t.ViTModel(t.ViTConfig(**TOWER)),
        "siglip": t.SiglipModel(t.SiglipConfig(vision_config=TOWER, text_config=TEXT | {"hidden_size": 24})),
        # the text tower pools at the tokenizer's [SEP]: at [CLS], all sentences would be alike
        "clip": t.CLIPModel(
            t.CLIPConfig(vision_config=TOWER, text_config=TEXT | {"eos_token_id": 3}, projection_dim=12)
        ),
    }
    transforms = {
        "dino": t.BitImageProcessor(
            size={"shortest_edge": SIZE}, crop_size=SIDES, image_mean=[0.5] * 3, image_std=[0.25] * 3
        ),
        "vit": t.ViTImageProcessor(size=SIDES),
        "siglip": t.SiglipImageProcessor(size=SIDES),
        "clip": t.CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size=SIDES),
    }
    for name, model in images.items():
        model.save_pretrained(folder / name)
        transforms[name].save_pretrained(folder / name)
    for name in ("siglip", "clip"):
        save_tokenizer(folder / name)


def save_open_clip(folder: Path) -> None:
    from open_clip.model import CLIP, CustomTextCLIP
    from safetensors.torch import save_file
    from transformers import BertConfig

    plain = {"image_size": SIZE, "layers": 2, "width": 32, "patch_size": 7, "head_width": 16}
    words: dict[str, Any] = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config: dict[str, Any] = {"embed_dim": 16, "vision_cfg": plain, "text_cfg": words}
    (folder / "open").mkdir()
    save_file(CLIP(**config).state_dict(), folder / "open" / "open_clip_model.safetensors")
    write_open_clip_config(folder / "open", config)

    bert = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    timm = {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 160}
    words = {
        "hf_model_name": bert,
        "hf_tokenizer_name": bert,
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 32,
    }
    config = {"embed_dim": 16, "vision_cfg": timm, "text_cfg": words}
    BertConfig(**TEXT).save_pretrained(folder / "biomed")
    here = words | {"hf_model_name": str(folder / "biomed"), "hf_model_pretrained": False}
    whole = CustomTextCLIP(**config | {"text_cfg": here})
    torch.save(whole.state_dict(), folder / "biomed" / "open_clip_pytorch_model.bin")
    write_open_clip_config(folder / "biomed", config)
    save_tokenizer(folder / "biomed")


def write_open_clip_config(folder: Path, config: dict[str, Any]) -> None:
    transform = {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    text = json.dumps({"model_cfg": config, "preprocess_cfg": transform})
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    words = [*special.values(), *WORDS.split()]
    made = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=made, **special).save_pretrained(folder)
