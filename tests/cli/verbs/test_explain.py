"""`harness explain`: which files it writes, what is in them, and what it says of what cannot be explained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.serving.explanation import COLORS, lay_over

ROW = "tiny-cnn--bce--toy"


@pytest.fixture
def row(toy_board) -> str:
    return f"{toy_board}::{ROW}"


@pytest.fixture
def folder(small_data, tmp_path) -> Path:
    """Four of the test images as files."""
    place: Path = tmp_path / "images"
    place.mkdir()
    for number in np.flatnonzero(small_data.table["split"] == "test")[:4]:
        Image.fromarray(np.asarray(small_data.images[number])).save(place / f"{small_data.table['image'][number]}.png")
    return place


def test_each_image_and_label_has_a_picture_and_a_map(harness, row, folder):
    code, out, err = harness("explain", row, str(folder), "--labels", "first,third")
    assert (code, out) == (0, "heat-maps: 8 heat maps, each as a .png and a .npy\n")
    assert not err or "0 everywhere" in err
    images = sorted(path.name for path in folder.iterdir())
    stems = [f"{image}--{label}" for image in images for label in ("first", "third")]
    assert sorted(path.name for path in Path("heat-maps").iterdir()) == sorted(
        f"{stem}{ending}" for stem in stems for ending in (".png", ".npy")
    )
    for stem in stems:
        heat = np.load(f"heat-maps/{stem}.npy")
        assert (heat.shape, heat.dtype) == ((16, 16), np.float32)
        assert heat.min() >= 0
        with Image.open(f"heat-maps/{stem}.png") as picture:
            assert (picture.size, picture.mode) == ((16, 16), "RGB")


def test_a_file_and_the_same_image_of_its_dataset_have_the_same_map(harness, row, folder):
    assert harness("explain", row, "toy", "--labels", "second", "--out", "a")[0] == 0
    assert harness("explain", row, str(folder), "--labels", "second", "--out", "b")[0] == 0
    for path in folder.iterdir():
        np.testing.assert_allclose(
            np.load(f"a/{path.stem}--second.npy"), np.load(f"b/{path.name}--second.npy"), rtol=1e-5, atol=1e-8
        )


def test_the_weight_file_alone_is_explained_and_seeds_differ(harness, row, folder, toy_board):
    weights = sorted((toy_board / "runs").glob("*/weights.safetensors"))
    assert harness("explain", row, str(folder), "--labels", "first", "--out", "seed0")[0] == 0
    assert harness("explain", row, str(folder), "--labels", "first", "--seeds", "1", "--out", "seed1")[0] == 0
    maps = {name: [np.load(path) for path in sorted(Path(name).glob("*.npy"))] for name in ("seed0", "seed1")}
    assert not np.allclose(maps["seed0"], maps["seed1"])
    same = 0
    for number, path in enumerate(weights):
        shutil.copy(path, f"{number}.safetensors")
        code, _, _ = harness("explain", f"{number}.safetensors", str(folder), "--labels", "first", "--out", str(number))
        alone = [np.load(one) for one in sorted(Path(str(number)).glob("*.npy"))] if code == 0 else []
        same += len(alone) == 4 and np.allclose(alone, maps["seed0"])
    assert same == 1


def test_integrated_gradients_need_no_layer(harness, row, folder):
    code, out, _ = harness(
        "explain", row, str(folder), "--labels", "first", "--method", "integrated-gradients", "--json"
    )
    assert code == 0
    made = json.loads(out)
    assert made["gaps"] == {}
    assert [sorted(one) for one in made["maps"]] == [["image", "label", "map", "picture"]] * 4
    assert all(np.load(one["map"]).any() for one in made["maps"])


def test_a_damaged_image_is_named_and_the_others_are_explained(harness, row, folder):
    (folder / "bad.png").write_bytes(b"no image")
    code, out, err = harness("explain", row, str(folder), "--labels", "first,second")
    assert code == 1
    assert out == "heat-maps: 8 heat maps, each as a .png and a .npy\n"
    assert err.count("bad.png: it is no image that can be read") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "frist"], "unknown label of"),
        (["--labels", "first", "--seeds", "7"], "unknown seed of"),
        (["--labels", "first", "--seeds", "0,1"], "a heat map is of one network, so give one seed"),
        (["--labels", ","], "--labels is empty"),
        (["--labels", "first", "--table", "t.csv"], "this network gets images alone"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(harness, row, folder, arguments, message):
    code, out, err = harness("explain", row, str(folder), *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("heat-maps").exists()


def test_two_images_of_one_name_are_refused(harness, row, folder):
    (folder / "a b.png").write_bytes(b"")
    (folder / "a_b.png").write_bytes(b"")
    code, _, err = harness("explain", row, str(folder), "--labels", "first")
    assert code == 2
    assert "would both be called a_b.png--first; rename one image" in err


def test_the_image_stays_grey_where_the_map_is_0_and_is_lighter_the_higher_it_is():
    image = np.full((4, 4), 90, dtype=np.uint8)
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[0] = [1, 2, 3, 4]
    picture = lay_over(image, heat)
    assert (picture[1:] == 90).all()
    assert picture[0, 3].tolist() == pytest.approx([0.3 * 90 + 0.7 * top for top in COLORS[-1]], abs=1)
    np.testing.assert_array_equal(lay_over(image, heat * 1000), picture)
    np.testing.assert_array_equal(lay_over(image, heat * 0), np.repeat(image[..., None], 3, axis=2))


def test_the_colors_get_lighter_evenly():
    linear = (np.array(COLORS) / 255) ** 2.2 @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(linear) - 16
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps[1:].max() < 2 * steps[1:].min()
