"""A folder of the Hugging Face hub: parquet files that hold images, and images beside their metadata."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness import DataError, UsageError
from harness.data.cached_sets import list_sets
from harness.data.image_checks import check_images
from harness.data.loading import find_source
from harness.data.loading import load as load_source
from harness.data.prepare import prepare

LABELS = ["Edema", "Mass", "No Finding"]
LISTED = {"feature": {"names": LABELS, "_type": "ClassLabel"}, "_type": "List"}
SIZE = 16


def draw(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)


def encode(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make_images(start: int, count: int) -> list[dict[str, Any]]:
    return [{"bytes": encode(draw(n)), "path": f"p{n // 2}_{n}.png"} for n in range(start, start + count)]


def write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None, group: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=group)


def write_split(root: Path, name: str, start: int, count: int = 4, **columns: Any) -> None:
    given = {"image": make_images(start, count), "patient": [start + n // 2 for n in range(count)]}
    write(root / name, given | (columns or {"Edema": [1, 0] * (count // 2), "Mass": [None, -1] * (count // 2)}))


@pytest.fixture
def load(registry):
    return registry.dataset("folder").load


@pytest.fixture
def hub(tmp_path):
    """Labels in a column for each, in two splits of which one has two files."""
    write_split(tmp_path, "data/train-00000-of-00002.parquet", 0)
    write_split(tmp_path, "data/train-00001-of-00002.parquet", 4)
    write_split(tmp_path, "data/validation-00000-of-00001.parquet", 8)
    write_split(tmp_path, "data/test-00000-of-00001.parquet", 12)
    return tmp_path


# --- parquet files ---------------------------------------------------------------------------------------------------


def test_splits_come_from_the_names_of_files(load, hub):
    split = load(hub).table.set_index("image")["split"]
    assert split[["p0_0.png", "p3_7.png", "p4_8.png", "p7_15.png"]].tolist() == ["train", "train", "val", "test"]
    assert split.value_counts().to_dict() == {"train": 8, "val": 4, "test": 4}


def test_splits_come_from_the_names_of_folders_too(load, tmp_path):
    for start, name in enumerate(("training", "valid", "testing")):
        write_split(tmp_path, f"{name}/0000.parquet", 4 * start)
    assert load(tmp_path).table["split"].value_counts().to_dict() == {"train": 4, "val": 4, "test": 4}


def test_labels_of_a_column_each_are_read_as_those_of_csv(load, hub):
    data = load(hub)
    assert data.labels == ("Edema", "Mass")
    chosen = data.table["image"].isin(["p0_0.png", "p0_1.png"]).to_numpy()
    np.testing.assert_array_equal(data.targets[chosen], [[1, np.nan], [0, np.nan]])
    ones = load(hub, uncertain="ones", blank="zeros", labels="Mass")
    np.testing.assert_array_equal(ones.targets[chosen], [[0], [1]])
    assert "uncertain labels" in data.notes


def test_pixels_are_those_of_the_files_bit_by_bit(registry, hub, tmp_path):
    source = find_source(registry.offer("dataset", "folder"), {}, hub)
    prepared = prepare(source, load_source(source), SIZE, tmp_path / "cache")
    for name, pixels in zip(prepared.data.table["image"], prepared.images, strict=True):
        np.testing.assert_array_equal(pixels, draw(int(name.partition("_")[2].removesuffix(".png"))))


def test_changed_parquet_files_are_decoded_again(registry, hub, tmp_path):
    for start in (12, 20):
        write_split(hub, "data/test-00000-of-00001.parquet", start)
        source = find_source(registry.offer("dataset", "folder"), {}, hub)
        prepared = prepare(source, load_source(source), SIZE, tmp_path / "cache")
        first = (prepared.data.table["split"] == "test").to_numpy().argmax()
        np.testing.assert_array_equal(prepared.images[first], draw(start))
    assert len(list_sets(tmp_path / "cache")) == 2


def test_a_check_sees_the_headers_of_bytes(registry, hub, tmp_path):
    source = find_source(registry.offer("dataset", "folder"), {}, hub)
    prepared = prepare(source, load_source(source), SIZE, tmp_path / "cache")
    found = {finding.name: finding.message for finding in check_images(prepared)}
    assert found["sizes and modes"].startswith("sizes: 16 x 16 px (16); modes: L (16)")


@pytest.mark.parametrize("options", [{}, {"bits": 12}, {"stretch": True}])
def test_images_of_16_bits_are_read_as_those_of_files(registry, tmp_path, options):
    values = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE) * 16
    for name in ("train", "validation", "test"):
        images = [{"bytes": encode(values), "path": f"{name}{n}.png"} for n in range(2)]
        write(
            tmp_path / f"{name}.parquet", {"image": images, "patient": [f"{name}{n}" for n in range(2)], "Mass": [0, 1]}
        )
    source = find_source(registry.offer("dataset", "folder"), options, tmp_path)
    prepared = prepare(source, load_source(source), SIZE, tmp_path / "cache")
    largest = 4080 if options.get("stretch") else 4095
    np.testing.assert_array_equal(prepared.images[0], np.round(values * (255 / largest)).astype(np.uint8))


@pytest.mark.parametrize("kind", ["bytes", "struct without path"])
def test_images_without_a_name_are_numbered(load, tmp_path, kind):
    for start, name in enumerate(("train", "validation", "test")):
        data = [encode(draw(n)) for n in range(4 * start, 4 * start + 4)]
        images = data if kind == "bytes" else [{"bytes": one, "path": None} for one in data]
        write(
            tmp_path / f"{name}.parquet", {"xray": images, "patient": [f"{name}{n}" for n in range(4)], "Mass": [0] * 4}
        )
    data = load(tmp_path)
    assert data.table["image"].tolist()[:2] == ["test-000000", "test-000001"]
    assert data.images[4] == encode(draw(0))
    assert [data.images[index] for index in range(12)] == [encode(draw(n)) for n in (8, 9, 10, 11, *range(8))]


def test_names_that_splits_share_have_the_split_before_them(load, tmp_path):
    for start, name in enumerate(("train", "validation", "test")):
        images = [{"bytes": encode(draw(4 * start + n)), "path": f"{n}.png"} for n in range(2)]
        write(
            tmp_path / f"{name}.parquet", {"image": images, "patient": [f"{name}{n}" for n in range(2)], "Mass": [0, 1]}
        )
    data = load(tmp_path)
    assert data.table["image"].tolist() == [
        "test/0.png",
        "test/1.png",
        "train/0.png",
        "train/1.png",
        "val/0.png",
        "val/1.png",
    ]
    assert data.images[3] == encode(draw(1))


def test_paths_in_a_parquet_file_are_files_beside_it(load, tmp_path):
    write(tmp_path / "train.parquet", {"path": ["images/a.png", "images/b.png"], "patient": ["1", "2"], "Mass": [0, 1]})
    assert load(tmp_path).images == [tmp_path / "images" / "a.png", tmp_path / "images" / "b.png"]


@pytest.mark.parametrize("features", [{"labels": LISTED}, {"labels": [LISTED["feature"]]}])
def test_classes_have_the_names_that_the_file_notes(load, tmp_path, features):
    columns = {"image": make_images(0, 4), "patient": [0, 0, 1, 1], "labels": [[0, 1], [2], [], None]}
    write(tmp_path / "data" / "train-00000-of-00001.parquet", columns, features)
    data = load(tmp_path)
    assert data.labels == ("Edema", "Mass")
    np.testing.assert_array_equal(data.targets, [[1, 1], [0, 0], [0, 0], [np.nan, np.nan]])
    assert load(tmp_path, labels="Mass,No Finding").targets[:3].tolist() == [[1, 0], [0, 1], [0, 1]]


def test_lists_of_names_are_findings(load, tmp_path):
    columns = {"image": make_images(0, 2), "patient": [0, 1], "findings": [["Mass"], ["Edema", "Mass"]]}
    write(tmp_path / "train.parquet", columns)
    data = load(tmp_path)
    assert data.labels == ("Edema", "Mass")
    assert data.targets.tolist() == [[0, 1], [1, 1]]
    assert "findings are read from the column 'findings'" in data.notes["label_file_guessed"]


def test_a_class_in_a_column_of_its_own_has_its_name(load, tmp_path):
    feature = {"names": ["no", "yes"], "_type": "ClassLabel"}
    columns = {"image": make_images(0, 3), "patient": [0, 1, 2], "Mass": [0, 1, -1]}
    write(tmp_path / "train.parquet", columns, {"Mass": feature})
    np.testing.assert_array_equal(load(tmp_path).targets, [[0], [1], [np.nan]])


def test_patients_come_from_a_part_of_a_path_and_the_rest_by_usual_names(load, tmp_path):
    columns = {"Patient Age": [58, None], "Patient Gender": ["F", "M"], "View Position": ["PA", "LL"], "Mass": [0, 1]}
    write(tmp_path / "train.parquet", {"image": make_images(1, 2), **columns})
    table = load(tmp_path, patient=r"image:(p\d+)_").table
    assert table["patient"].tolist() == ["p0", "p1"]
    assert (table["age"][0], table["sex"].tolist(), table["view"].tolist()) == (58, ["F", "M"], ["PA", "LL"])
    data = load(tmp_path, patient=r"image:(p\d+)_", views="PA,AP")
    assert data.table["view"].tolist() == ["PA"]
    assert data.images[0] == encode(draw(1))
    assert "LL 1" in data.notes["views"]


def test_train_and_test_have_val_carved_from_train(load, tmp_path):
    write_split(tmp_path, "train.parquet", 0, 60)
    write_split(tmp_path, "test.parquet", 60)
    data = load(tmp_path)
    assert set(data.table["split"]) == {"train", "val", "test"}
    assert data.table.loc[data.table["split"] == "test", "image"].tolist() == [
        f"p{n // 2}_{n}.png" for n in range(60, 64)
    ]
    assert "val is carved from train" in data.notes["split"]


@pytest.mark.parametrize("name", ["train.parquet", "data.parquet"])
def test_a_single_split_is_carved_by_patient(load, tmp_path, name):
    write_split(tmp_path, name, 0, 60)
    data = load(tmp_path)
    assert data.notes["split"] == "carved by patient"
    assert data.table.groupby("patient")["split"].nunique().max() == 1


def test_a_division_outweighs_the_names_of_files(load, hub):
    data = load(hub, split="val=0.25,test=0.25,seed=1")
    assert data.table["split"].value_counts().to_dict() == {"train": 8, "val": 4, "test": 4}
    assert data.table["split"].tolist() != load(hub).table["split"].tolist()


def test_hidden_folders_are_not_read_and_the_revision_is_noted(load, hub):
    noted = hub / ".cache" / "huggingface" / "download" / "data" / "test-00000-of-00001.parquet.metadata"
    noted.parent.mkdir(parents=True)
    noted.write_text(f"{'0123456789' * 4}\netag\n1.0\n")
    write_split(hub, ".cache/old.parquet", 0)
    notes = load(hub).notes
    assert notes["revision"] == "012345678901"
    assert notes["label_file"] == "data/test-00000-of-00001.parquet and 3 more"


# --- images beside metadata ------------------------------------------------------------------------------------------


def write_metadata(root: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        write(root / "metadata.parquet", {name: [row[name] for row in rows] for name in rows[0]})
    elif kind == "jsonl":
        (root / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    else:
        lines = [
            ",".join("|".join(value) if isinstance(value, list) else value for value in row.values()) for row in rows
        ]
        (root / "metadata.csv").write_text("\n".join([",".join(rows[0]), *lines]))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("place", ["in each split", "above all"])
def test_images_beside_metadata_are_found(load, tmp_path, kind, place):
    rows = {
        split: [
            {"file_name": f"{n}.png", "patient": f"{split}{n}", "finding": ["Mass"] if n else ["Edema"]} for n in (0, 1)
        ]
        for split in ("train", "validation", "test")
    }
    if place == "above all":
        write_metadata(
            tmp_path, kind, [row | {"file_name": f"{s}/{row['file_name']}"} for s, part in rows.items() for row in part]
        )
    else:
        for split, part in rows.items():
            write_metadata(tmp_path / split, kind, part)
    data = load(tmp_path, findings="finding")
    found = dict(zip(data.table["image"], data.table["split"], strict=True))
    assert found == {f"{s}/{n}.png": "val" if s == "validation" else s for s in rows for n in (0, 1)}
    assert data.images[0] == tmp_path / data.table["image"][0]
    assert data.targets.tolist() == [[1, 0], [0, 1]] * 3


# --- errors ----------------------------------------------------------------------------------------------------------


def fail(load, root: Path, **options: Any) -> str:
    with pytest.raises((DataError, UsageError)) as caught:
        load(root, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_without_files_says_what_is_expected_and_where_to_get_it(load, tmp_path):
    assert "has no parquet or metadata file; expected parquet files" in fail(load, tmp_path)
    assert "hf download OWNER/NAME" in fail(load, tmp_path / "absent")


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ({"patient": [1], "Mass": [0]}, {}, "no column of images; it has patient, Mass; name one by --option image"),
        ({"a": [b"1"], "b": [b"2"]}, {}, "several columns that may be of images (a, b)"),
        ({"a": [b"1"]}, {"image": "c"}, "has no column 'c'"),
        ({"image": [1]}, {}, "column 'image' holds int64 and no images"),
        ({"image": [b"1"], "patient": [1]}, {}, "has no label columns"),
        ({"image": [b"1"], "Mass": [0]}, {}, "names the patient"),
        ({"image": [b"1"], "patient": [1], "Mass": [3]}, {}, "row 1, column 'Mass': a label must be 1, 0"),
        ({"image": [b"1"], "patient": [None], "Mass": [1]}, {}, "row 1, column 'patient': blank"),
        (
            {"image": [b"1"], "patient": [1], "a": [["x"]], "b": [["y"]]},
            {},
            "several columns that list findings (a, b)",
        ),
        ({"image": [b"1"], "patient": [1], "a": [["x|y"]]}, {}, "'x|y' holds '|'; give another by --option separator"),
        ({"image": [b"1"], "patient": [1], "Mass": [1]}, {"views": "PA"}, "views chooses by a column of views"),
        ({"image": [b"1"], "patient": [1], "Mass": [1]}, {"blank": "ones"}, "blank must be ignore or zeros"),
        ({"image": ["", "b"], "patient": [1, 2], "Mass": [1, 0]}, {}, "row 1, column 'image': blank"),
        ({"image": pa.array([], pa.binary()), "patient": pa.array([], pa.int64())}, {}, "has no rows"),
    ],
)
def test_what_a_file_cannot_say_is_one_line(load, tmp_path, columns, options, expected):
    write(tmp_path / "train.parquet", columns)
    assert expected in fail(load, tmp_path, **options)


def test_a_class_that_the_file_does_not_name_is_refused(load, tmp_path):
    write(tmp_path / "train.parquet", {"image": [b"1"], "patient": [1], "labels": [[3]]}, {"labels": LISTED})
    assert "column 'labels': class 3 is none of the 3" in fail(load, tmp_path)


def test_a_value_is_told_with_its_file_among_several(load, hub):
    write_split(hub, "data/test-00000-of-00001.parquet", 12, Edema=[0, 1, 7, 0], Mass=[0] * 4)
    assert "row 3 of data/test-00000-of-00001.parquet, column 'Edema'" in fail(load, hub)


def test_damaged_files_are_named(load, hub):
    path = hub / "data" / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path} is no parquet file, or a damaged one" in fail(load, hub)


def test_several_configurations_are_not_mixed(load, tmp_path):
    for name in ("large", "small"):
        write_split(tmp_path, f"{name}/train.parquet", 0)
    assert "in several folders (large, small)" in fail(load, tmp_path)


def test_files_that_hold_their_images_otherwise_are_refused(load, hub):
    columns = {"xray": make_images(12, 2), "patient": [90, 91], "Mass": [0, 1]}
    write(hub / "data" / "test-00000-of-00001.parquet", columns)
    assert "does not hold its images in a column" in fail(load, hub)


def test_an_image_in_several_rows_is_refused_kept_or_voted_on(load, tmp_path):
    columns = {"image": [*make_images(0, 2), *make_images(0, 1)], "patient": [0, 0, 0], "Mass": [1, 0, 0]}
    write(tmp_path / "train.parquet", columns)
    assert load(tmp_path).repeated == ("'train/p0_0.png' in rows 1 and 3",)
    data = load(tmp_path, duplicates="vote")
    np.testing.assert_array_equal(data.targets, [[np.nan], [0]])
    assert data.images[0] == encode(draw(0))


def test_train_and_validation_without_test_are_refused(load, tmp_path):
    write_split(tmp_path, "train.parquet", 0)
    write_split(tmp_path, "validation.parquet", 4)
    assert "no test images; divide all of them, as in --option split=val=0.1,test=0.2" in fail(load, tmp_path)
    assert set(load(tmp_path, split="val=0.25,test=0.25").table["split"]) == {"train", "val", "test"}


def test_files_that_name_no_split_beside_others_that_do_are_refused(load, tmp_path):
    write_split(tmp_path, "train.parquet", 0)
    write_split(tmp_path, "more.parquet", 4)
    assert "row 1 of more.parquet: nothing in its path names a split" in fail(load, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("metadata.csv", "image,Mass\n1.png,0\n", "has no column 'file_name'"),
        ("metadata.csv", "file_name,patient,Mass\n,1,0\n", "line 2, column 'file_name': blank"),
        ("metadata.jsonl", '{"file_name": "1.png"}\n{', "row 2 is no JSON"),
        ("metadata.jsonl", "[1]", "row 1 is no JSON object"),
    ],
)
def test_metadata_that_describe_no_images_are_one_line(load, tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert expected in fail(load, tmp_path)


def test_two_metadata_files_are_refused(load, tmp_path):
    for name in ("metadata.csv", "metadata.jsonl"):
        (tmp_path / name).write_text("")
    assert "has metadata.csv and metadata.jsonl; keep the one" in fail(load, tmp_path)


def test_a_missing_pyarrow_says_how_to_install_it(load, hub, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    assert "pip install 'cxr-harness[hub]'" in fail(load, hub)


@pytest.mark.parametrize("damaged", [b"no image", None])
def test_damaged_images_are_left_out_where_that_is_allowed(registry, hub, tmp_path, damaged):
    images = [*make_images(12, 3), {"bytes": damaged, "path": "damaged.png"}]
    columns = {"image": images, "patient": [90, 90, 91, 91], "Edema": [0] * 4, "Mass": [0] * 4}
    write(hub / "data" / "test-00000-of-00001.parquet", columns)
    offer = registry.offer("dataset", "folder")
    source = find_source(offer, {}, hub)
    with pytest.raises(DataError, match=r"first damaged\.png: DataError: it(s 8 bytes are of no kind| holds no bytes)"):
        prepare(source, load_source(source), SIZE, tmp_path / "cache")
    source = find_source(offer, {"allow_missing": True}, hub)
    prepared = prepare(source, load_source(source), SIZE, tmp_path / "cache")
    assert list(prepared.unreadable) == ["damaged.png"]
    assert prepared.images.shape == (15, SIZE, SIZE)
    assert prepared.data.images[len(prepared.images) - 1] is not None


# --- from the folder to a page ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_board_is_made_of_a_folder(harness, tmp_path):
    for start, name in ((0, "train"), (40, "validation"), (60, "test")):
        write_split(
            tmp_path / "hub", f"data/{name}-00000-of-00001.parquet", start, 20, Edema=[0, 1] * 10, Mass=[1, 0] * 10
        )
    options = f"--data-root {tmp_path}/hub --cache-dir {tmp_path}/cache --board {tmp_path}/b"
    offers = "--dataset folder --models tiny-cnn --losses bce,focal --recipes toy --seeds 0"
    code, _, err = harness("run", *offers.split(), *options.split())
    assert code == 0, err
    page = (tmp_path / "b" / "index.html").read_text()
    assert "tiny-cnn--bce" in page
    assert "tiny-cnn--focal" in page
