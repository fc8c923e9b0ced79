"""Encoders of the open_clip library, the family `open-clip/NAME`: BiomedCLIP and other image-text encoders."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from harness import (
    HarnessError,
    Inputs,
    Model,
    ModelFolder,
    ModelOrigin,
    Recipe,
    Task,
    UnknownNameError,
    UsageError,
    WeightsError,
    bind,
    hookimpl,
    read_prompts,
    require_library,
    require_prompts,
    require_size,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG = "open_clip_config.json"
TEXT_CONFIG = "config.json"
"""The configuration of a text tower of transformers, where it lies in the same folder."""
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
LEAST = 3
"""The open_clip version from which this is tested."""


def build_open_clip(task: Task, projection: bool = True, prompts: str | None = None, *, at: _Towers) -> nn.Module:
    """An image tower of open_clip with a linear head, with random weights.

    - `projection`: Take as an image's embedding what is compared with texts. Without it, take what the tower gives
      before its last projection.
    - `prompts`: Begin from a head made of sentences about each label: `chest`, or a TOML file.
    """
    from harness import EncoderNetwork

    transform = at.read_transform()
    return EncoderNetwork(
        make_tower(at, projection=projection),
        embed_open_clip,
        measure_width(at, transform["size"], projection=projection),
        len(task.labels),
        size=transform["size"],
        filter_=transform["filter"],
        unit_length=prompts is not None,
    )


def pretrained_open_clip(
    task: Task, projection: bool = True, prompts: str | None = None, *, at: _Towers
) -> Mapping[str, Tensor]:
    """The image tower's published weights, and with prompts a head of the text tower."""
    import torch

    tensors = read_tensors(at)
    with torch.device("meta"):
        wanted = make_tower(at, projection=projection).state_dict()
    lacking = sorted(name for name in wanted if f"visual.{name}" not in tensors)
    if lacking:
        raise WeightsError(
            f"the weights of model '{at.name}' lack {len(lacking)} of the image tower's {len(wanted)} tensors, first "
            f"visual.{lacking[0]}; bring the right file"
        )
    tower = {f"encoder.{name}": tensors[f"visual.{name}"] for name in wanted}
    return tower | (make_text_head(at, tensors, task, prompts) if prompts is not None else {})


def describe_open_clip(
    recipe: Recipe, projection: bool = True, prompts: str | None = None, *, at: _Towers
) -> dict[str, Any]:
    """What an encoder is made of. Raises `WeightsError` or `UsageError` for what is not here, or does not suit."""
    library = [require_library("open_clip_torch", "open-clip", LEAST)]
    config, transform = at.read_config(), at.read_transform()
    library += [require_library("timm", "open-clip", 1)] if "timm_model_name" in config["vision_cfg"] else []
    require_size(at.name, recipe, transform["size"], transform["filter"])
    made_of = {"architecture": at.architecture or at.folder.digest(CONFIG), "transform": transform}
    if recipe.weights == "pretrained":
        made_of["weights"] = at.folder.digest_weights()
    if prompts is not None:
        if not projection:
            raise UsageError("model.prompts are held against the projection: leave model.projection out")
        if recipe.weights != "pretrained":
            raise UsageError(f"model.prompts of '{at.name}' need its own weights: --set recipe.weights=pretrained")
        library += [require_library("transformers", "open-clip", 4)] if at.text("hf_model_name") else []
        made_of["prompts"] = read_prompts(prompts).digest
    elif recipe.train == "nothing":
        raise UsageError(
            f"recipe '{recipe.name}' trains nothing, and model '{at.name}' has no head yet: --set model.prompts=chest"
        )
    return {"library": ", ".join(library), **made_of}


# --- the files of an encoder ------------------------------------------------------------------------------------------


class _Towers:
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


def read_tensors(at: _Towers) -> dict[str, Tensor]:
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


# --- its network ------------------------------------------------------------------------------------------------------


def make_tower(at: _Towers, *, projection: bool) -> nn.Module:
    """The tower of images with random weights, with or without its last projection.

    Raises `UsageError` where that is no layer of its own.
    """
    from open_clip.model import _build_vision_tower
    from torch import nn

    config = copy.deepcopy(at.read_config())
    vision = config["vision_cfg"] | {"output_tokens": False}
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    tower: nn.Module = _build_vision_tower(config["embed_dim"], vision, config.get("quick_gelu", False))
    if projection:
        return tower
    head = getattr(tower, "head", None)
    if isinstance(getattr(tower, "proj", None), nn.Parameter):
        tower.proj = None  # type: ignore[assignment]
    elif isinstance(head, nn.Sequential) and (last := {"proj", "mlp"} & {name for name, _ in head.named_children()}):
        for name in last:
            delattr(head, name)
    else:
        raise UsageError(f"the image tower of '{at.name}' has no projection of its own; leave model.projection out")
    return tower


def embed_open_clip(encoder: nn.Module, images: Tensor) -> Tensor:
    """Embeddings (B, D) of images (B, 3, H, W)."""
    found: Tensor = encoder(images)
    return found


def measure_width(at: _Towers, size: int, *, projection: bool) -> int:
    """The width D of embeddings, found by shapes alone."""
    import torch

    with torch.device("meta"), torch.inference_mode():
        width: int = make_tower(at, projection=projection).eval()(torch.empty(1, 3, size, size)).shape[1]
    return width


def make_text_head(at: _Towers, tensors: Mapping[str, Tensor], task: Task, name: str) -> dict[str, Tensor]:
    """The head of the text tower: what `prompts` say of each label."""
    from harness import make_zero_shot_head

    chosen = read_prompts(name).choose(task.labels)
    tower = make_text_tower(at, tensors)
    tokenize = make_tokenizer(at)
    return make_zero_shot_head(chosen, lambda texts: tower(tokenize(texts)), float(tensors["logit_scale"].exp()))


def make_text_tower(at: _Towers, tensors: Mapping[str, Tensor]) -> nn.Module:
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


def read_text_config(at: _Towers, name: str) -> Any:
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


def make_tokenizer(at: _Towers) -> Callable[[list[str]], Tensor]:
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


# --- the family -------------------------------------------------------------------------------------------------------


def resolve_open_clip(name: str) -> Model:
    """`open-clip/OWNER/NAME` of the hub, `open-clip/./FOLDER`, or an architecture of open_clip with a tag of weights.

    Raises `UnknownNameError`, with the nearest name, for an architecture or a tag that open_clip does not have.
    """
    at = _Towers(name)
    with contextlib.suppress(WeightsError):
        require_library("open_clip_torch", "open-clip", LEAST)
        require_known(at)
    inputs, weights = Inputs(channels=3), None
    with contextlib.suppress(HarnessError):
        transform = at.read_transform()
        inputs = Inputs(channels=3, mean=tuple(transform["mean"]), std=tuple(transform["std"]))
        weights = at.folder.list_weights()[0]
    local = not at.architecture and at.folder.is_local
    return Model(
        name=at.name,
        build=bind(build_open_clip, at=at),
        pretrained=None if at.architecture and not at.tag else bind(pretrained_open_clip, at=at),
        inputs=inputs,
        origin=ModelOrigin(
            describe=bind(describe_open_clip, at=at),
            fetch=partial(fetch, at),
            require_labels=require_prompts,
            found_as=name if local else "",
            weights=weights,
        ),
        about=f"the image tower of {at.name.removeprefix('open-clip/')} with a linear head",
    )


def require_known(at: _Towers) -> None:
    """Raise `UnknownNameError` for an architecture or a tag that open_clip does not have."""
    if not at.architecture:
        return
    import open_clip

    if at.architecture not in open_clip.list_models():
        raise UnknownNameError("open_clip architecture", at.architecture, open_clip.list_models())
    tags = open_clip.list_pretrained_tags_by_model(at.architecture)
    if at.tag and at.tag not in tags:
        raise UnknownNameError(f"weights of {at.architecture}", at.tag, tags)


def fetch(at: _Towers) -> None:
    """Bring an encoder's files from the hub, and the configuration of its text tower."""
    at.folder.fetch()
    name = at.text("hf_model_name")
    if name and not at.folder.is_local:
        from huggingface_hub import hf_hub_download

        hf_hub_download(name, TEXT_CONFIG)


@hookimpl
def harness_models() -> Iterable[Model]:
    """The family."""
    return [
        Model(
            name="open-clip/*",
            build=bind(build_open_clip, at=_Towers("open-clip/OWNER/NAME")),
            resolve=resolve_open_clip,
            about="any image tower of open_clip by its hub name or folder, such as BiomedCLIP's, or by architecture",
        )
    ]
