"""Encoders of transformers give what the library itself gives, and are known by what they are made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness.plugins.hf_encoders.configuration import STACKED
from PIL import Image

from harness import HarnessError, Model, Recipe, Task, UsageError, WeightsError
from harness.board import Row
from harness.choices import resolve
from harness.results.identity import describe_origin, explain_missing_origin
from harness.training.cost import count_flops
from harness.training.embedding import Frozen
from harness.training.encoder import EncoderNetwork
from harness.training.weights import load_initial_weights
from tests.plugins.tiny_encoders import TOWER

KINDS = ("dino", "vit", "siglip", "clip")
SIZE = 28
FITTING = Recipe(name="r", size=SIZE, load_size=SIZE, weights="pretrained")
LABELS = ("Mass", "Nodule", "Pleural_Thickening")


def make_task(size: int = SIZE, labels: tuple[str, ...] = LABELS) -> Task:
    share = (0.1,) * len(labels)
    return Task(labels=labels, channels=3, size=size, mean=(0.5,) * 3, std=(0.5,) * 3, prevalence=share)


def load(model: Model, task: Task | None = None, **params: Any) -> EncoderNetwork:
    task = task or make_task()
    network = model.build(task, **params)
    load_initial_weights(network, model, task, "pretrained", params)
    assert isinstance(network, EncoderNetwork)
    return network.eval()


def embed(model: Model, images: torch.Tensor, **params: Any) -> torch.Tensor:
    with torch.inference_mode():
        return load(model, **params).embed(images)


def ask_library(folder: Path, images: torch.Tensor, **more: Any) -> Any:
    from transformers import AutoModel

    whole = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return getattr(whole, "vision_model", whole)(images, output_hidden_states=True, **more)


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / folder.name))


IMAGES = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layer", [-1, -2, -3])
@pytest.mark.parametrize(("kind", "prefix"), [("dino", 1), ("vit", 1), ("siglip", 0), ("clip", 1)])
def test_tokens_of_every_layer_are_the_librarys(registry, encoders, kind, prefix, layer):
    model, library = registry.model(f"hf/{encoders / kind}"), ask_library(encoders / kind, IMAGES)
    tokens = library.last_hidden_state if layer == -1 else library.hidden_states[layer]
    found = embed(model, IMAGES, pooling="mean", layer=layer)
    torch.testing.assert_close(found, tokens[:, prefix:].mean(1), atol=1e-5, rtol=0)
    if prefix:
        found = embed(model, IMAGES, pooling="cls", layer=layer)
        torch.testing.assert_close(found, tokens[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", sorted(STACKED))
def test_layers_after_the_one_that_is_taken_are_not_run(registry, tmp_path, kind):
    from transformers import CONFIG_MAPPING, AutoModel, ViTImageProcessor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        AutoModel.from_config(CONFIG_MAPPING[kind](**TOWER)).save_pretrained(tmp_path / "net")
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(tmp_path / "net")
    model, library = registry.model(f"hf/{tmp_path / 'net'}"), ask_library(tmp_path / "net", IMAGES)
    networks = {layer: load(model, pooling="mean", layer=layer) for layer in (-1, -2, -3)}
    for layer in (-2, -3):
        tokens = library.hidden_states[layer]
        prefix = tokens.shape[1] - (SIZE // TOWER["patch_size"]) ** 2
        with torch.inference_mode():
            found = networks[layer].embed(IMAGES)
        torch.testing.assert_close(found, tokens[:, prefix:].mean(1), atol=1e-6, rtol=0)
    whole, less, least = (count_flops(networks[layer], make_task()) or 0 for layer in (-1, -2, -3))
    assert whole - less == less - least > whole / 5
    digests = {Frozen(network=network, layer="head", width=24).digest() for network in networks.values()}
    assert len(digests) == 1, "which rows that are there were fitted on"


@pytest.mark.parametrize("kind", KINDS)
def test_the_pooler_is_the_librarys(registry, encoders, kind):
    found = embed(registry.model(f"hf/{encoders / kind}"), IMAGES, pooling="pooler")
    torch.testing.assert_close(found, ask_library(encoders / kind, IMAGES).pooler_output, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_the_projection_is_what_the_library_compares_with_texts(registry, encoders, kind):
    from transformers import AutoModel

    with torch.inference_mode():
        wanted = AutoModel.from_pretrained(encoders / kind).eval().get_image_features(IMAGES).pooler_output
    found = embed(registry.model(f"hf/{encoders / kind}"), IMAGES, pooling="projection")
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_position_embeddings_are_interpolated_to_another_size_as_the_library_does_it(registry, encoders, kind):
    images = torch.randn(2, 3, 42, 42)
    more = {} if kind == "dino" else {"interpolate_pos_encoding": True}
    found = embed(registry.model(f"hf/{encoders / kind}"), images, pooling="mean", size=42)
    tokens = ask_library(encoders / kind, images, **more).last_hidden_state
    torch.testing.assert_close(found, tokens[:, 0 if kind == "siglip" else 1 :].mean(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["dino", "siglip"])
def test_a_larger_square_image_gets_the_transform_that_the_library_gives_it(registry, encoders, kind):
    from transformers import AutoImageProcessor

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    model = registry.model(f"hf/{encoders / kind}")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.inputs.mean, model.inputs.std))
    ours = (torch.from_numpy(pixels).float().expand(1, 3, 64, 64) / 255 - mean) / std
    processor = AutoImageProcessor.from_pretrained(encoders / kind)
    theirs = processor(Image.fromarray(pixels).convert("RGB"), return_tensors="pt")["pixel_values"]
    found, wanted = embed(model, ours), embed(model, theirs)
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)  # the library rounds resized pixels to whole values
    assert not torch.allclose(found, embed(model, theirs.flip(3)), atol=0.02)


@pytest.mark.parametrize("kind", ["ResNet", "ConvNext"])
def test_a_convolutional_network_gives_its_pooler_or_the_mean_over_places(registry, tmp_path, kind):
    import transformers

    more = {"hidden_sizes": [8, 16], "depths": [1, 1]} | ({"num_stages": 2} if kind == "ConvNext" else {})
    network = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**more)).eval()
    network.save_pretrained(tmp_path / "net")
    transformers.ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(tmp_path / "net")
    model = registry.model(f"hf/{tmp_path / 'net'}")
    with torch.inference_mode():
        found = network(IMAGES)
    torch.testing.assert_close(embed(model, IMAGES), found.pooler_output.flatten(1), atol=1e-5, rtol=0)
    mean = found.last_hidden_state.mean((2, 3))
    torch.testing.assert_close(embed(model, IMAGES, pooling="mean"), mean, atol=1e-5, rtol=0)
    mean = ask_library(tmp_path / "net", IMAGES).hidden_states[-2].mean((2, 3))
    torch.testing.assert_close(embed(model, IMAGES, pooling="mean", layer=-2), mean, atol=1e-5, rtol=0)


def test_the_class_token_or_the_pooler_is_taken_where_nothing_is_said(registry, encoders):
    for kind, wanted in (("dino", "cls"), ("vit", "cls"), ("siglip", "pooler"), ("clip", "pooler")):
        origin = registry.model(f"hf/{encoders / kind}").origin
        assert origin.describe(FITTING)["pooling"] == wanted
    assert origin.describe(FITTING, layer=-2)["pooling"] == "mean"


def test_the_head_is_a_linear_layer_and_random_weights_are_drawn_from_the_seed(registry, encoders):
    model, built = registry.model(f"hf/{encoders / 'dino'}"), []
    for _ in range(2):
        torch.manual_seed(3)
        built.append(model.build(make_task()))
    assert isinstance(built[0].head, torch.nn.Linear)
    assert built[0](IMAGES).shape == (2, 3)
    states = [network.state_dict() for network in built]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_pooler_that_is_not_used_is_no_part_of_the_network(registry, encoders):
    model = registry.model(f"hf/{encoders / 'vit'}")
    names = {pool: set(model.build(make_task(), pooling=pool).state_dict()) for pool in ("cls", "pooler")}
    assert names["pooler"] - names["cls"] == {
        "encoder.pooler.dense.weight",
        "encoder.pooler.dense.bias",
    }


def test_weights_that_lack_the_pooler_give_the_class_token_but_no_pooler(registry, encoders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copy(encoders / "vit", tmp_path)
    tensors = {n: t for n, t in load_file(folder / "model.safetensors").items() if "pooler" not in n}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    model = registry.model(f"hf/{folder}")
    torch.testing.assert_close(embed(model, IMAGES), embed(registry.model(f"hf/{encoders / 'vit'}"), IMAGES))
    with pytest.raises(WeightsError, match=r"lack 2 of the encoder's 56 tensors, first pooler\.dense\.bias"):
        load(model, pooling="pooler")


# --- identity ---------------------------------------------------------------------------------------------------------


def describe(registry, folder: Path, weights: str = "pretrained", **params: Any) -> Any:
    return registry.model(f"hf/{folder}").origin.describe(
        Recipe(name="r", size=SIZE, load_size=SIZE, weights=weights), **params
    )


def test_what_it_is_made_of_is_library_architecture_transform_and_weights(registry, encoders):
    import transformers

    found = describe(registry, encoders / "dino")
    assert found["library"] == f"transformers {transformers.__version__}"
    assert found["transform"] == {"mean": [0.5] * 3, "std": [0.25] * 3, "size": SIZE, "filter": "bicubic"}
    assert found["weights"].startswith("sha256:")
    assert found["architecture"].startswith("sha256:")
    assert str(encoders) not in json.dumps(found)
    assert "weights" not in describe(registry, encoders / "dino", "random")


def test_another_width_transform_weight_or_library_is_another_encoder(registry, encoders, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    before, folder = describe(registry, encoders / "dino"), copy(encoders / "dino", tmp_path)
    assert describe(registry, folder) == before
    said = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(said | {"image_mean": [0.4] * 3}))
    assert describe(registry, folder)["transform"] != before["transform"]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 48}))
    assert describe(registry, folder)["architecture"] != before["architecture"]
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {n: t + (n == "layernorm.bias") for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    assert describe(registry, folder)["weights"] != before["weights"]
    monkeypatch.setattr("importlib.metadata.version", lambda name: "5.99.0")
    assert describe(registry, encoders / "dino")["library"] == "transformers 5.99.0"


def test_the_record_knows_it_by_its_folders_name(registry, encoders, monkeypatch):
    monkeypatch.chdir(encoders)
    for name in (f"hf/{encoders / 'dino'}", "hf/./dino", "hf/../" + encoders.name + "/dino"):
        choices = resolve(Row(model=name, loss="bce", recipe="demo"), registry)
        assert choices.model.name == "hf/dino"
        assert choices.model.origin is not None
        assert choices.model.origin.found_as == name
        assert choices.row.name == "hf_dino--bce--demo"
        assert (describe_origin(choices) or {})["library"].startswith("transformers")


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "params", "said"),
    [
        ("siglip", {"pooling": "cls"}, "'hf/siglip' has no class token; set model.pooling to mean or pooler"),
        ("dino", {"pooling": "projection"}, "no text tower, and so no projection"),
        ("dino", {"prompts": "chest"}, "no text tower that prompts could be read by"),
        ("dino", {"layer": -4}, "between -3 and -1, got -4"),
        ("dino", {"layer": 2}, "between -3 and -1, got 2"),
        ("vit", {"pooling": "pooler", "layer": -2}, "the pooler of 'hf/vit' is of its last layer"),
        ("clip", {"prompts": "chest", "pooling": "mean"}, "leave model.pooling and model.layer out"),
        ("clip", {"prompts": "nowhere.toml"}, "'nowhere.toml', which is no bundled set"),
        ("dino", {"size": 42}, "sees images of 42 px, and the recipe gives 28; --set recipe.size=42"),
    ],
)
def test_what_an_encoder_cannot_do_is_told_before_anything_is_read(registry, encoders, kind, params, said):
    with pytest.raises(HarnessError) as caught:
        describe(registry, encoders / kind, **params)
    assert said in str(caught.value)


def test_prompts_need_the_encoders_own_weights(registry, encoders):
    with pytest.raises(UsageError, match=r"need its own weights: --set recipe\.weights=pretrained"):
        describe(registry, encoders / "clip", "random", prompts="chest")


def forget(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


def cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (shutil.rmtree, "that is not there"),
        (forget("config.json"), "lacks the file config.json"),
        (forget("model.safetensors"), "are not there: bring model.safetensors"),
        (forget("preprocessor_config.json"), "a guess would change every number"),
        (cut, "damaged or not wholly downloaded"),
        (write("config.json", "{"), "config.json of the folder 'dino' cannot be read"),
        (write("config.json", "{}"), "names no model_type"),
        (write("config.json", '{"model_type": "newest"}'), "does not know the kind 'newest' of model 'hf/dino'"),
        (write("config.json", '{"model_type": "bert"}'), "is no encoder of images: it is of the kind 'bert'"),
        (write("config.json", '{"model_type": "vit_mae"}'), "hides patches at random; take another encoder"),
        (
            write("config.json", '{"model_type": "siglip2_vision_model"}'),
            "takes patches with their places, and no images",
        ),
        (write("preprocessor_config.json", '{"size": 28}'), "lacks image_mean or image_std"),
        (
            write(
                "preprocessor_config.json", '{"size": {"height": 2, "width": 3}, "image_mean": [0], "image_std": [1]}'
            ),
            "no square size",
        ),
        (
            write("model.safetensors.index.json", '{"weight_map": {"a": "model-1-of-2.safetensors"}}'),
            "",  # one whole file goes before an index
        ),
    ],
)
def test_what_is_missing_in_a_folder_is_told_in_one_line(registry, encoders, tmp_path, change, said):
    folder = copy(encoders / "dino", tmp_path)
    change(folder)
    row = Row(
        model=f"hf/{folder}", loss="bce", recipe="demo", params={"recipe": {"weights": "pretrained", "size": SIZE}}
    )
    found = explain_missing_origin(resolve(row, registry)) or ""
    assert said in found
    assert "\n" not in found


def test_parts_that_an_index_names_must_all_be_there(registry, encoders, tmp_path):
    folder = copy(encoders / "dino", tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(WeightsError, match=r"not all there: model-00002-of-00002\.safetensors is missing"):
        describe(registry, folder)


def test_code_that_lies_beside_weights_is_never_run(registry, encoders, tmp_path):
    folder = copy(encoders / "dino", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "mine.Config", "AutoModel": "mine.Net"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": auto}))
    (folder / "mine.py").write_text("raise SystemExit('run')")
    with pytest.raises(WeightsError, match="code that comes with weights is never run"):
        describe(registry, folder)


def test_a_rescaling_other_than_by_255_becomes_part_of_mean_and_std(registry, encoders, tmp_path):
    folder = copy(encoders / "dino", tmp_path)
    said = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(said | {"rescale_factor": 2 / 255}))
    model = registry.model(f"hf/{folder}")
    assert model.inputs.mean == (0.25,) * 3
    assert model.inputs.std == (0.125,) * 3


def test_a_filter_that_only_the_library_has_is_refused_where_it_would_be_used(registry, encoders, tmp_path):
    folder = copy(encoders / "dino", tmp_path)
    said = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(said | {"resample": 1}))
    assert describe(registry, folder)["transform"]["filter"] == "lanczos"
    with pytest.raises(UsageError, match=r"a filter that only its library has \(lanczos\).*--set recipe\.size=28"):
        registry.model(f"hf/{folder}").origin.describe(Recipe(name="r", size=64, load_size=64))


def test_a_name_of_the_hub_that_is_not_here_is_told_at_once(registry):
    row = Row(model="hf/nobody/nothing", loss="bce", recipe="demo")
    assert "not in the local cache" in str(explain_missing_origin(resolve(row, registry)))
    row = Row(model="hf/a/b/c", loss="bce", recipe="demo")
    assert "is no name of the hub" in str(explain_missing_origin(resolve(row, registry)))


def test_a_missing_or_older_library_is_told_with_the_line_that_installs_it(registry, encoders, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.57.1")
    with pytest.raises(
        WeightsError, match=r"need transformers 5 or later, here is 4\.57\.1: pip install 'cxr-harness\[hf\]'"
    ):
        describe(registry, encoders / "dino")

    def raise_it(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", raise_it)
    with pytest.raises(WeightsError, match=r"need transformers: pip install 'cxr-harness\[hf\]'"):
        describe(registry, encoders / "dino")
