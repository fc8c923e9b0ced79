"""Encoders of the transformers library, the family `hf/NAME`: RAD-DINO, DINOv2, SigLIP, CLIP, ViT and others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from harness import (
    HarnessError,
    Inputs,
    Model,
    ModelFolder,
    ModelOrigin,
    Recipe,
    Task,
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

CONFIG, TRANSFORM, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
LEAST = 5
"""The transformers version from which this is tested."""
CLASS_TOKEN = {
    *("vit", "vit_msn", "deit", "beit", "data2vec-vision", "clip_vision_model", "chinese_clip_vision_model"),
    *("dinov2", "dinov2_with_registers", "dinov3_vit"),
}
"""Kinds whose first token stands for the whole image."""
UNSUITED = {
    "vit_mae": "hides patches at random",
    "siglip2_vision_model": "takes patches with their places, and no images",
}
"""Kinds that give no embedding of an image alone, and why."""
FILTER_NAMES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's numbers of filters, as transforms name them."""
Pool = Literal["auto", "cls", "mean", "pooler", "projection"]


def build_hf(
    task: Task,
    pooling: Pool = "auto",
    layer: int = -1,
    size: int | None = None,
    prompts: str | None = None,
    *,
    at: _Pretrained,
) -> nn.Module:
    """An encoder of transformers with a linear head, with random weights.

    - `pooling`: Take as an image's embedding the class token (`cls`), the mean over patches (`mean`), the library's
      pooler (`pooler`), or what is compared with texts (`projection`). `auto` is `cls` for an encoder of images alone
      that has such a token, else `pooler`, or `mean` below the last layer; with prompts it is `projection`.
    - `layer`: Take tokens after this layer: -1 is the encoder's output, -2 the layer before the last, without the final
      norm, and so on.
    - `size`: Give the encoder images of this size in pixels, by interpolated position embeddings. By default the size
      that its own transform gives it.
    - `prompts`: Begin from a head made of sentences about each label: `chest`, or a TOML file.
    """
    from harness import EncoderNetwork

    config = at.read_config()
    pool = choose_pooling(at, config, pooling, layer, prompts)
    target = size or at.read_transform()["size"]
    encoder = make_encoder(config, pool)
    tower = encoder["vision_model"] if is_composite(config) else encoder
    embed = partial(
        embed_hf, pooling=pool, layer=layer, skip=count_prefix(config), more=choose_options(at, tower, config, target)
    )
    return EncoderNetwork(
        encoder,
        embed,
        measure_width(config, pool, embed, target),
        len(task.labels),
        size=target,
        filter_=at.read_transform()["filter"],
        unit_length=prompts is not None,
    )


def pretrained_hf(
    task: Task,
    pooling: Pool = "auto",
    layer: int = -1,
    size: int | None = None,
    prompts: str | None = None,
    *,
    at: _Pretrained,
) -> Mapping[str, Tensor]:
    """The encoder's weights as the library itself loads them, and with prompts a head of its text tower."""
    import torch
    import transformers

    config = at.read_config()
    pool = choose_pooling(at, config, pooling, layer, prompts)
    with quiet(), torch.device("meta"):
        wanted = set(make_encoder(config, pool).state_dict())
    folder = at.folder.find()
    with quiet(), torch.random.fork_rng(devices=[]):
        whole, found = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    unfilled = sorted(wanted & {*found["missing_keys"], *(key[0] for key in found["mismatched_keys"])})
    if unfilled:
        raise WeightsError(
            f"the weights of model '{at.name}' lack {len(unfilled)} of the encoder's {len(wanted)} tensors, first "
            f"{unfilled[0]}; choose another model.pooling, or bring the right files"
        )
    tensors = {f"encoder.{name}": tensor for name, tensor in whole.state_dict().items() if name in wanted}
    return tensors | (make_text_head(at, whole.eval(), task, prompts) if prompts is not None else {})


def describe_hf(
    recipe: Recipe,
    pooling: Pool = "auto",
    layer: int = -1,
    size: int | None = None,
    prompts: str | None = None,
    *,
    at: _Pretrained,
) -> dict[str, Any]:
    """What an encoder is made of. Raises `WeightsError` or `UsageError` for what is not here, or does not suit."""
    made_of: dict[str, Any] = {"library": require_library("transformers", "hf", LEAST)}
    config = at.read_config()
    pool = choose_pooling(at, config, pooling, layer, prompts)
    transform = at.read_transform()
    target = size or transform["size"]
    if target != config_size(config) is not None:
        require_interpolation(at, config, target)
    require_size(at.name, recipe, target, transform["filter"])
    made_of |= {"architecture": at.folder.digest(CONFIG), "transform": transform, "pooling": pool}
    if recipe.weights == "pretrained":
        made_of["weights"] = at.folder.digest_weights()
    if prompts is not None:
        if recipe.weights != "pretrained":
            raise UsageError(f"model.prompts of '{at.name}' need its own weights: --set recipe.weights=pretrained")
        made_of["prompts"] = read_prompts(prompts).digest
    elif recipe.train == "nothing":
        raise UsageError(
            f"recipe '{recipe.name}' trains nothing, and model '{at.name}' has no head yet: --set model.prompts=chest"
        )
    return made_of


# --- the files of an encoder ------------------------------------------------------------------------------------------


class _Pretrained:
    """Where an encoder's files lie, and what they say."""

    def __init__(self, name: str) -> None:
        self.folder = ModelFolder(name, CONFIG, WEIGHTS)
        self.name = self.folder.name

    def __repr__(self) -> str:
        return self.name

    def read_config(self) -> Any:
        """The configuration of the library. Raises `WeightsError` for a kind that it does not know."""
        require_library("transformers", "hf", LEAST)
        folder = self.folder.find()
        kind = self.folder.read(CONFIG).get("model_type")
        if kind is None:
            raise WeightsError(f"{CONFIG} of model '{self.name}' names no model_type; it is no model of transformers")
        with quiet():
            from transformers import CONFIG_MAPPING, AutoConfig

            if kind not in CONFIG_MAPPING:
                version = require_library("transformers", "hf", LEAST)
                raise WeightsError(
                    f"{version} does not know the kind '{kind}' of model '{self.name}', and code that comes with "
                    "weights is never run; pip install --upgrade transformers, or take another encoder"
                )
            try:
                config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            except Exception as error:  # noqa: BLE001 - whatever the library raises
                raise WeightsError(
                    f"{CONFIG} of model '{self.name}' cannot be read: {str(error).splitlines()[0]}"
                ) from None
        if vision_of(config).model_type in UNSUITED:
            why = UNSUITED[vision_of(config).model_type]
            raise WeightsError(f"model '{self.name}' {why}; take another encoder")
        if not (is_composite(config) or hasattr(config, "num_channels")):
            raise WeightsError(f"model '{self.name}' is no encoder of images: it is of the kind '{kind}'")
        return config

    def read_transform(self) -> dict[str, Any]:
        """Mean and std of pixels in 0..1, size and filter, as the encoder's own files give them.

        Raises `WeightsError` where they do not say how images are to be prepared.
        """
        if self.folder.has(TRANSFORM):
            said = self.folder.read(TRANSFORM)
        elif self.folder.has(PROCESSOR):
            said = self.folder.read(PROCESSOR).get("image_processor") or {}
        else:
            raise WeightsError(
                f"model '{self.name}' does not say how images are prepared: its folder has no {TRANSFORM}; bring it, "
                "since a guess would change every number"
            )
        return parse_transform(said, self.name)


def parse_transform(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A transform in the library's words as mean, std, size and filter; a rescaling becomes part of mean and std."""
    mean, std = (said.get(key) or default for key, default in (("image_mean", [0.0]), ("image_std", [1.0])))
    if not said.get("do_normalize", True):
        mean, std = [0.0], [1.0]
    elif "image_mean" not in said or "image_std" not in said:
        raise WeightsError(f"{TRANSFORM} of model '{name}' lacks image_mean or image_std; bring the model's own file")
    scale = 255 * (said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0)
    crops = said.get("do_center_crop", "crop_size" in said) and said.get("crop_size")
    side = find_side(said["crop_size"] if crops else said.get("size"))
    if side is None:
        raise WeightsError(f"{TRANSFORM} of model '{name}' gives no square size; bring the model's own file")
    return {
        "mean": [round(value / scale, 9) for value in mean],
        "std": [round(value / scale, 9) for value in std],
        "size": side,
        "filter": FILTER_NAMES.get(said.get("resample", 2), str(said.get("resample"))),
    }


def find_side(size: Any) -> int | None:
    """The side of a square in pixels, however it is written."""
    if isinstance(size, Mapping):
        sides = {side for key in ("height", "width", "shortest_edge") if (side := size.get(key)) is not None}
        return int(sides.pop()) if len(sides) == 1 else None
    return size if isinstance(size, int) else None


# --- its network ------------------------------------------------------------------------------------------------------


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


def choose_pooling(at: _Pretrained, config: Any, pooling: Pool, layer: int, prompts: str | None) -> str:
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


def make_encoder(config: Any, pooling: str) -> Any:
    """The tower of images with random weights, without a pooler that is not used."""
    from torch import nn
    from transformers import AutoModel

    with quiet():
        tower = AutoModel.from_config(vision_of(config), trust_remote_code=False)
    if pooling not in ("pooler", "projection"):
        drop_pooler(tower)
    for name, parameter in tower.named_parameters():
        parameter.requires_grad_(not name.endswith("mask_token"))  # which stands for hidden patches, and none are
    if not is_composite(config):
        return tower
    parts = {"vision_model": tower}
    if pooling == "projection" and config.model_type == "clip":
        parts["visual_projection"] = nn.Linear(config.vision_config.hidden_size, config.projection_dim, bias=False)
    return nn.ModuleDict(parts)


def drop_pooler(tower: Any) -> None:
    """Take a pooler with weights out of a tower that can do without."""
    if any(True for _ in getattr(getattr(tower, "pooler", None), "parameters", list)()):
        tower.pooler = None
    if getattr(tower, "use_head", False):  # SigLIP's
        tower.use_head = False
        del tower.head


def choose_options(at: _Pretrained, tower: Any, config: Any, size: int) -> dict[str, Any]:
    """What a tower is called with beside images of this size. Raises `UsageError` where it takes them not."""
    import inspect

    if config_size(config) in (None, size) or vision_of(config).model_type.startswith(("dinov2", "dinov3")):
        return {}
    if "interpolate_pos_encoding" not in inspect.signature(tower.forward).parameters:
        raise UsageError(
            f"model '{at.name}' cannot interpolate its position embeddings to {size} px; leave model.size out"
        )
    return {"interpolate_pos_encoding": True}


def require_interpolation(at: _Pretrained, config: Any, size: int) -> None:
    """Raise `UsageError` where position embeddings cannot be interpolated to a size."""
    import torch

    with torch.device("meta"):
        choose_options(at, make_encoder(vision_of(config), "mean"), vision_of(config), size)


def embed_hf(
    encoder: nn.Module, images: Tensor, *, pooling: str, layer: int, skip: int, more: Mapping[str, Any]
) -> Tensor:
    """Embeddings (B, D) of images (B, 3, H, W)."""
    parts: Any = encoder if hasattr(encoder, "keys") else {"vision_model": encoder}
    found = parts["vision_model"](images, output_hidden_states=layer != -1, **more)
    if pooling in ("pooler", "projection"):
        pooled: Tensor = found.pooler_output.flatten(1)
        return parts["visual_projection"](pooled) if "visual_projection" in parts else pooled
    tokens: Tensor = found.last_hidden_state if layer == -1 else found.hidden_states[layer]
    if tokens.ndim == 4:  # (B, D, h, w) of a convolutional network
        return tokens.mean(dim=(2, 3))
    return tokens[:, 0] if pooling == "cls" else tokens[:, skip:].mean(dim=1)


def measure_width(config: Any, pooling: str, embed: Callable[..., Tensor], size: int) -> int:
    """The width D of embeddings, found by shapes alone."""
    import torch

    with torch.device("meta"), torch.inference_mode():
        twin = make_encoder(config, pooling).eval()
        width: int = embed(twin, torch.empty(1, vision_of(config).num_channels, size, size)).shape[1]
    return width


def make_text_head(at: _Pretrained, whole: Any, task: Task, name: str) -> dict[str, Tensor]:
    """The head of the text tower: what `prompts` say of each label."""
    from harness import make_zero_shot_head

    chosen = read_prompts(name).choose(task.labels)
    return make_zero_shot_head(chosen, partial(embed_texts, at, whole), float(whole.logit_scale.detach().exp()))


def embed_texts(at: _Pretrained, whole: Any, texts: list[str]) -> Tensor:
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the library from telling of every step."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


# --- the family -------------------------------------------------------------------------------------------------------


def resolve_hf(name: str) -> Model:
    """`hf/OWNER/NAME` of the hub, or `hf/./FOLDER`; what of it is missing is told by its `origin`."""
    at = _Pretrained(name)
    inputs, weights = Inputs(channels=3), None
    with contextlib.suppress(HarnessError):
        transform = at.read_transform()
        mean, std = (tuple(transform[key]) * (3 // len(transform[key])) for key in ("mean", "std"))
        inputs = Inputs(channels=3, mean=mean, std=std)
        weights = at.folder.list_weights()[0]
    return Model(
        name=at.name,
        build=bind(build_hf, at=at),
        pretrained=bind(pretrained_hf, at=at),
        inputs=inputs,
        origin=ModelOrigin(
            describe=bind(describe_hf, at=at),
            fetch=at.folder.fetch,
            require_labels=require_prompts,
            found_as=name if at.folder.is_local else "",
            weights=weights,
        ),
        about=f"the encoder {at.name.removeprefix('hf/')} with a linear head",
    )


@hookimpl
def harness_models() -> Iterable[Model]:
    """The family."""
    return [
        Model(
            name="hf/*",
            build=bind(build_hf, at=_Pretrained("hf/OWNER/NAME")),
            resolve=resolve_hf,
            about="any image encoder of transformers by its hub name or folder, such as hf/microsoft/rad-dino",
        )
    ]
