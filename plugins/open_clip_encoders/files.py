"""The files of an encoder, and what they say."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness import ModelFolder, WeightsError, require_library

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "open_clip_config.json"
TEXT_CONFIG = "config.json"
"""The configuration of a text tower of transformers, where it lies in the same folder."""
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
LEAST = 3
"""The open_clip version from which this is tested."""


class Towers:
    """Where an encoder's files lie, and what they say."""

    def __init__(self, name: str) -> None:
        self.model = name
        self.name = ModelFolder(name, CONFIG, WEIGHTS).name
        asked = name.partition("/")[2]
        self.architecture, _, self.tag = ("", "", "") if "/" in asked else asked.partition(".")

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def folder(self) -> ModelFolder:
        """Its files. Raises `WeightsError` for an architecture that is named without weights."""
        if not self.architecture:
            return ModelFolder(self.model, CONFIG, WEIGHTS)
        hub = (self.published or {}).get("hf_hub", "").strip("/")
        if hub.count("/") != 1:
            raise WeightsError(
                f"model '{self.name}' names no weights of the hub; write open-clip/{self.architecture}.TAG with a tag "
                "that open_clip lists for it, or name a folder: open-clip/./FOLDER"
            )
        return ModelFolder(f"open-clip/{hub}", CONFIG, WEIGHTS)

    @cached_property
    def published(self) -> dict[str, Any] | None:
        """What open_clip knows of the weights of that tag; None without a tag."""
        import open_clip

        return open_clip.get_pretrained_cfg(self.architecture, self.tag) if self.tag else None

    def read_config(self) -> dict[str, Any]:
        """The architecture in open_clip's words. Raises `WeightsError` where the folder does not say it."""
        require_library("open_clip_torch", "open-clip", LEAST)
        if self.architecture:
            import open_clip

            config = open_clip.get_model_config(self.architecture)
            if self.published is not None and "quick_gelu" in self.published:
                config["quick_gelu"] = self.published["quick_gelu"]
        else:
            config = self.folder.read(CONFIG).get("model_cfg")
        if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
            raise WeightsError(f"{CONFIG} of model '{self.name}' does not say its architecture (model_cfg)")
        return config

    def text(self, key: str) -> Any:
        """What the architecture says of its text tower."""
        return self.read_config()["text_cfg"].get(key)

    def read_transform(self) -> dict[str, Any]:
        """Mean and std of pixels in 0..1, size and filter; open_clip's own values where the files leave one out."""
        said = self.published if self.architecture else self.folder.read(CONFIG).get("preprocess_cfg")
        known = {key: value for key, value in (said or {}).items() if value is not None}
        if not {"mean", "std", "interpolation"} <= known.keys():
            from open_clip.transform import PreprocessCfg

            known = {"mean": PreprocessCfg.mean, "std": PreprocessCfg.std, "interpolation": "bicubic"} | known
        size = known.get("size", self.read_config()["vision_cfg"].get("image_size", 224))
        sides = {size} if isinstance(size, int) else set(size)
        if len(sides) != 1:
            raise WeightsError(
                f"model '{self.name}' takes images that are not square, {size}, which nothing here gives"
            )
        return {
            "mean": list(known["mean"]),
            "std": list(known["std"]),
            "size": sides.pop(),
            "filter": known["interpolation"],
        }


def read_tensors(at: Towers) -> dict[str, Tensor]:
    """All tensors of the weight file as float32, by the names of towers of their own: `visual.`, `text.`."""
    from open_clip.factory import load_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    (path,) = at.folder.list_weights()
    try:
        found = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        raise WeightsError(
            f"{path.name} of model '{at.name}' cannot be read as tensors alone: {str(error).partition(chr(10))[0]}"
        ) from None
    return {
        name: t.float() if t.is_floating_point() else t for name, t in convert_to_custom_text_state_dict(found).items()
    }
