"""Encoders of open_clip give what the library itself gives, and are known by what they are made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import Model, Recipe, Task, UnknownNameError, UsageError, WeightsError
from harness.board import Row
from harness.choices import resolve
from harness.results.identity import explain_missing_origin, weights_identity
from harness.training.encoder import EncoderNetwork
from harness.training.weights import load_initial_weights

LABELS = ("Mass", "Nodule", "Effusion")
SIZES = {"open": 28, "biomed": 160}


def make_task(size: int, labels: tuple[str, ...] = LABELS) -> Task:
    share = (0.1,) * len(labels)
    return Task(labels=labels, channels=3, size=size, mean=(0.5,) * 3, std=(0.5,) * 3, prevalence=share)


def load(model: Model, size: int, **params: Any) -> EncoderNetwork:
    task = make_task(size)
    network = model.build(task, **params)
    load_initial_weights(network, model, task, "pretrained", params)
    assert isinstance(network, EncoderNetwork)
    return network.eval()


def load_by_library(folder: Path, monkeypatch: Any) -> Any:
    """The whole of both towers, by open_clip's own way in; the text tower's configuration is the folder's."""
    import open_clip
    from transformers import AutoConfig

    plain = AutoConfig.from_pretrained
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda name, **more: plain(folder, local_files_only=True))
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    config["text_cfg"].pop("hf_model_pretrained", None)
    custom = "hf_model_name" in config["text_cfg"]
    if custom:
        config["text_cfg"]["hf_model_pretrained"] = False
    whole = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    open_clip.load_checkpoint(whole, next(iter(sorted(folder.glob("open_clip_*model*")))))
    return whole.eval()


def describe(registry, folder: Path, **params: Any) -> Any:
    recipe = Recipe(name="r", size=160, load_size=160, weights="pretrained")
    return registry.model(f"open-clip/{folder}").origin.describe(recipe, **params)


@pytest.mark.parametrize("kind", ["open", "biomed"])
def test_embeddings_are_the_librarys_with_and_without_projection(registry, encoders, kind, monkeypatch):
    model, size = registry.model(f"open-clip/{encoders / kind}"), SIZES[kind]
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        whole = load_by_library(encoders / kind, monkeypatch)
        wanted = whole.encode_image(images)
        torch.testing.assert_close(load(model, size).embed(images), wanted, atol=1e-5, rtol=0)
        bare = load(model, size, projection=False).embed(images)
        proj = whole.visual.proj.T if kind == "open" else whole.visual.head.proj.weight
    assert bare.shape[1] != wanted.shape[1]
    torch.testing.assert_close(bare @ proj.T, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["open", "biomed"])
def test_a_zero_shot_score_is_the_scaled_difference_of_the_librarys_cosines(
    registry, encoders, kind, monkeypatch, tmp_path
):
    import open_clip

    file, size = tmp_path / "mine.toml", SIZES[kind]
    file.write_text("\n".join(f'[{label}]\npresent = ["a {label}"]\nabsent = ["no {label}"]' for label in LABELS))
    network = load(registry.model(f"open-clip/{encoders / kind}"), size, prompts=str(file))
    images = torch.randn(2, 3, size, size)
    whole, tokenize = (
        load_by_library(encoders / kind, monkeypatch),
        open_clip.get_tokenizer(f"local-dir:{encoders / kind}"),
    )
    with torch.inference_mode():
        texts = [tokenize([f"{word} {label}" for label in LABELS]) for word in ("a", "no")]
        present, absent = (whole.encode_text(tokens, normalize=True) for tokens in texts)
        wanted = whole.logit_scale.exp() * whole.encode_image(images, normalize=True) @ (present - absent).T
        torch.testing.assert_close(network(images), wanted, atol=1e-4, rtol=0)


def test_what_it_is_made_of_names_every_library_that_takes_part(registry, encoders):
    assert set(describe(registry, encoders / "open")) == {"library", "architecture", "transform", "weights"}
    assert describe(registry, encoders / "open")["library"].startswith("open_clip_torch ")
    assert ", timm " in describe(registry, encoders / "biomed")["library"]
    with_prompts = describe(registry, encoders / "biomed", prompts="chest")
    assert ", transformers " in with_prompts["library"]
    assert with_prompts["prompts"].startswith("sha256:")
    assert str(encoders) not in json.dumps(with_prompts)
    assert with_prompts["transform"] == {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
        "size": 160,
        "filter": "bicubic",
    }


def test_another_width_or_transform_is_another_encoder(registry, encoders, tmp_path):
    folder = Path(shutil.copytree(encoders / "open", tmp_path / "open"))
    before = describe(registry, folder)
    said = json.loads((folder / "open_clip_config.json").read_text())
    said["preprocess_cfg"]["std"] = [0.1, 0.1, 0.1]
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    assert describe(registry, folder)["transform"] != before["transform"]
    said["model_cfg"]["embed_dim"] = 8
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    assert describe(registry, folder)["architecture"] != before["architecture"]


def test_an_architecture_without_weights_can_only_begin_at_random(registry):
    model = registry.model("open-clip/ViT-B-32")
    found = model.origin.describe(Recipe(name="r", weights="random"))
    assert found["architecture"] == "ViT-B-32"
    assert found["transform"]["size"] == 224
    with pytest.raises(WeightsError, match="brings no weights"):
        weights_identity(model, "pretrained")


def test_a_tag_brings_weights_of_the_hub_which_are_not_here(registry):
    row = Row(
        model="open-clip/ViT-B-32.laion2b_s34b_b79k", loss="bce", recipe="demo",
        params={"recipe": {"weights": "pretrained", "size": 224}},
    )  # fmt: skip
    assert "is not in the local cache" in str(explain_missing_origin(resolve(row, registry)))


@pytest.mark.parametrize(
    ("name", "near"), [("ViT-B-33", "ViT-B-32"), ("ViT-B-32.laion2b_s34b_b78k", "laion2b_s34b_b79k")]
)
def test_an_unknown_name_gets_the_nearest(registry, name, near):
    with pytest.raises(UnknownNameError, match=near):
        registry.model(f"open-clip/{name}")


def test_what_does_not_suit_is_refused(registry, encoders):
    with pytest.raises(UsageError, match="sees images of 160 px, and the recipe gives 64"):
        registry.model(f"open-clip/{encoders / 'biomed'}").origin.describe(Recipe(name="r", size=64))
    with pytest.raises(UsageError, match=r"leave model\.projection out"):
        describe(registry, encoders / "open", prompts="chest", projection=False)


@pytest.mark.parametrize(
    ("kind", "file", "said"),
    [
        ("open", "open_clip_config.json", "lacks the file open_clip_config.json"),
        ("open", "open_clip_model.safetensors", "bring open_clip_model.safetensors"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_read(registry, encoders, tmp_path, kind, file, said):
    folder = Path(shutil.copytree(encoders / kind, tmp_path / kind))
    (folder / file).unlink()
    with pytest.raises(WeightsError, match=said):
        describe(registry, folder)


def test_a_text_tower_whose_configuration_or_tokenizer_is_missing_is_told(registry, encoders, tmp_path):
    folder = Path(shutil.copytree(encoders / "biomed", tmp_path / "biomed"))
    model = registry.model(f"open-clip/{folder}")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match="has no tokenizer in its folder"):
        load(model, 160, prompts="chest")
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"whose config\.json is not here; put it into the folder"):
        load(model, 160, prompts="chest")
    assert load(model, 160).head.out_features == 3  # images need neither


def test_pickled_weights_that_hold_more_than_tensors_are_not_read(registry, encoders, tmp_path):
    folder = Path(shutil.copytree(encoders / "biomed", tmp_path / "biomed"))
    torch.save({"state_dict": print}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot be read as tensors alone"):
        load(registry.model(f"open-clip/{folder}"), 160)


def test_a_missing_library_is_told_with_the_line_that_installs_it(registry, encoders, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def raise_it(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", raise_it)
    with pytest.raises(WeightsError, match=r"need open_clip_torch: pip install 'cxr-harness\[open-clip\]'"):
        describe(registry, encoders / "open")


def test_a_transform_that_leaves_something_out_has_the_librarys_own_values(registry, encoders, tmp_path):
    folder = Path(shutil.copytree(encoders / "open", tmp_path / "open"))
    said = json.loads((folder / "open_clip_config.json").read_text())
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": said["model_cfg"]}))
    found = describe(registry, folder)["transform"]
    assert (found["mean"][0], found["filter"], found["size"]) == (0.48145466, "bicubic", 28)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf/{}/dino", "hf/{}/siglip", "open-clip/{}/open", "open-clip/{}/biomed"])
def test_an_encoder_keeps_the_contract_of_models(harness, encoders, name):
    code, out, err = harness("check", name.format(encoders))
    assert code == 0, out + err
