"""Which test images, and whose, a network had seen before: counted by hand, and on NIH's own lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data.loading import find_source, load
from harness.data.pretraining import PretrainingSource, find_sources
from harness.results.identity import fingerprint
from harness.results.record import PretrainingPart
from harness.results.shadow import describe_training, find_shadow, is_told, mark_shadow

LISTS = Path(__file__).parents[3] / "shared" / "data" / "split-70-10-20"
IMAGES = ("1_000", "1_001", "2_000", "3_000", "3_001", "4_000", "5_000", "5_001")
"""Patients and numbers of eight images of NIH's, of five patients."""
OFFICIAL = {"train_val_list.txt": (0, 1, 2), "test_list.txt": (3, 4, 5, 6, 7)}
SHARED = {"train_list.txt": (0, 3, 5), "val_list.txt": (2,), "test_list.txt": (6,)}
"""Places in `IMAGES`: of the official test, its train list has one of patient 3's two images, and patient 4's."""
LABELS = "patientId,x,y,width,height,Target\nr3,,,,,0\nr5,,,,,0\nr2,,,,,0\n"
MAPPING = {"r3": "3_001", "r5": "5_000", "r2": "2_000"}


def name_image(number: str) -> str:
    patient, _, image = number.partition("_")
    return f"{int(patient):08d}_{image}.png"


def write_nih(root: Path, *, shared: bool = True) -> Path:
    """NIH's files of these images, with the lists of the other split where `shared`."""
    folder = root / "nih-cxr14"
    (folder / "split-70-10-20").mkdir(parents=True)
    rows = [f"{name_image(number)},No Finding,{number.partition('_')[0]}" for number in IMAGES]
    (folder / "Data_Entry_2017_v2020.csv").write_text(
        "\n".join(["Image Index,Finding Labels,Patient ID", *rows]) + "\n"
    )
    lists = OFFICIAL | ({f"split-70-10-20/{name}": places for name, places in SHARED.items()} if shared else {})
    for name, places in lists.items():
        (folder / name).write_text("".join(f"{name_image(IMAGES[place])}\n" for place in places))
    return root


def write_rsna(root: Path, *, mapped: bool = True) -> Path:
    folder = root / "rsna-pneumonia"
    folder.mkdir(parents=True)
    (folder / "stage_2_train_labels.csv").write_text(LABELS)
    if mapped:
        entries = [{"subset_img_id": name, "img_id": name_image(number)} for name, number in MAPPING.items()]
        (folder / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(entries))
    return root


def find(
    registry: Any,
    root: Path,
    *sources: str | PretrainingSource,
    dataset: str = "nih-cxr14",
    options: Mapping[str, Any] | None = None,
    splits: tuple[str, ...] = ("test",),
) -> list[PretrainingPart]:
    tested = find_source(registry.offer("dataset", dataset), options or {}, root)
    known = [find_sources([one], "")[0] if isinstance(one, str) else one for one in sources]
    return find_shadow(known, tested, load(tested), root, registry, splits)


def count(part: PretrainingPart) -> tuple[str, int | None, int | None]:
    return part.overlap, part.images, part.patients


def test_images_and_patients_of_the_test_that_were_seen_are_counted(registry, tmp_path):
    root = write_nih(tmp_path)
    names = ("nih-official-train-val", "nih-70-10-20-train", "nih-70-10-20-train-val", "nih-all", "imagenet", "nothing")
    found = find(registry, root, *names)
    assert [part.name for part in found] == list(names)
    assert [count(part) for part in found] == [
        ("none", 0, 0),
        ("shared", 2, 2),
        ("shared", 2, 2),
        ("shared", 5, 3),
        ("none", 0, 0),
        ("none", 0, 0),
    ]


def test_a_patient_who_was_seen_in_another_image_counts_without_it(registry, tmp_path):
    source = PretrainingSource(name="mine", dataset="nih-cxr14", images=(name_image("5_001"),))
    root = write_nih(tmp_path)
    lists = {"train": ("5_001",), "val": ("2_000",), "test": ("4_000", "5_000")}
    for name, numbers in lists.items():
        (root / "nih-cxr14" / f"{name}_list.txt").write_text("".join(f"{name_image(one)}\n" for one in numbers))
    (found,) = find(registry, root, source, options={"split": "lists"})
    assert count(found) == ("shared", 0, 1)
    assert mark_shadow([found]) == "has seen test patients, not ranked"


def test_a_list_of_images_is_held_against_the_test_by_name(registry, tmp_path):
    source = PretrainingSource(name="mine", dataset="nih-cxr14", images=tuple(map(name_image, IMAGES[:5])))
    (found,) = find(registry, write_nih(tmp_path), source)
    assert count(found) == ("shared", 2, 1)


def test_a_list_counts_patients_whose_seen_images_are_in_no_split_that_is_tested(registry, tmp_path):
    source = PretrainingSource(name="mine", dataset="nih-cxr14", images=(name_image("5_001"),))
    tested = find_source(registry.offer("dataset", "nih-cxr14"), {}, write_nih(tmp_path))
    whole = load(tested)
    part = whole.select((whole.table["image"] != name_image("5_001")).to_numpy())  # as where its file is not here
    (found,) = find_shadow([source], tested, part, tmp_path, registry)
    assert count(found) == ("shared", 0, 1)


def test_a_list_of_which_no_name_is_known_says_nothing_about_the_test(registry, tmp_path):
    source = PretrainingSource(name="mine", dataset="nih-cxr14", images=("images/" + name_image("3_000"), "x.png"))
    (found,) = find(registry, write_nih(tmp_path), source)
    assert (found.overlap, found.why) == ("possible", "none of its 2 names is that of an image of nih-cxr14")


def test_a_declaration_that_means_nothing_is_told_with_its_reason(registry, tmp_path):
    root = write_nih(tmp_path)
    wrong = PretrainingSource(name="mine", dataset="nih-cxr14", options={"splt": "official"})
    unheard = PretrainingSource(name="yours", dataset="nih-cxr41")
    first, second = find(registry, root, wrong, unheard)
    assert (first.overlap, second.overlap) == ("possible", "unknown")
    assert first.why.startswith("its list is not here (")
    assert "splt" in first.why
    assert "nih-cxr41" in second.why
    assert "nih-cxr14" in second.why


def test_where_the_list_is_not_here_images_of_the_same_origin_may_have_been_seen(registry, tmp_path):
    root = write_nih(tmp_path, shared=False)
    found = find(registry, root, "nih-70-10-20-train", "rsna-pneumonia", "chexpert-train", "unknown")
    assert [count(part) for part in found] == [
        ("possible", None, None),
        ("possible", None, None),
        ("none", 0, 0),
        ("unknown", None, None),
    ]
    assert found[0].why == "its list is not here"
    assert mark_shadow(found) == "may have seen test images, not ranked"
    assert mark_shadow(found[2:]) == "pretraining unknown"
    assert mark_shadow(found[2:3]) == ""


def test_the_same_images_under_other_names_are_told_by_their_patients(registry, tmp_path):
    root = write_rsna(write_nih(tmp_path))
    (of_rsna,) = find(registry, root, "rsna-pneumonia")
    assert count(of_rsna) == ("shared", None, 2)  # patients 3 and 5
    everything = ("train", "val", "test")
    found = find(
        registry, root, "nih-official-train-val", "nih-all", "chestmnist-train-val", dataset="rsna-pneumonia",
        splits=everything,
    )  # fmt: skip
    assert [count(part) for part in found] == [("shared", None, 1), ("shared", None, 3), ("possible", None, None)]


def test_without_patients_such_images_may_have_been_seen(registry, tmp_path):
    (found,) = find(registry, write_rsna(write_nih(tmp_path), mapped=False), "rsna-pneumonia")
    assert count(found) == ("possible", None, None)
    assert "nothing tells which is which" in found.why


def test_what_was_counted_once_stays_where_lists_are_not(registry, tmp_path):
    with_lists, without = write_nih(tmp_path / "with"), write_nih(tmp_path / "without", shared=False)
    (counted,), (possible,) = (find(registry, root, "nih-70-10-20-train") for root in (with_lists, without))
    (other,) = find(registry, without, "nih-official-train-val")

    def tell(now: PretrainingPart, held: list[PretrainingPart]) -> bool:
        return is_told([now], held)

    assert tell(possible, [counted])
    assert tell(counted, [counted.model_copy(update={"about": "said otherwise"})])
    assert not tell(counted, [possible])
    assert not tell(counted, [])
    assert not tell(other, [counted])


def write_table(root: Path, first: int) -> Path:
    root.mkdir(exist_ok=True)
    rows = [f"i{first + n},p{n // 2},{('train', 'val', 'test')[n % 3]},{n % 2}" for n in range(12)]
    (root / "t.csv").write_text("\n".join(["image,patient,part,Mass", *rows]) + "\n")
    return root


def test_a_users_own_table_is_known_by_its_fingerprint_and_its_images_by_name(registry, tmp_path):
    options = {"file": "t.csv", "split": "part", "allow_leaks": True}
    root = write_table(tmp_path / "one", 0)
    tested = find_source(registry.offer("dataset", "csv"), options, root)
    own = describe_training(tested, options, fingerprint(load(tested)))
    assert own.name == "csv with file t.csv, split part, allow_leaks True"
    assert count(find(registry, root, own, dataset="csv", options=options)[0]) == ("none", 0, 0)
    other = write_table(tmp_path / "two", 100)  # another table of the same name
    (found,) = find(registry, other, own, dataset="csv", options=options)
    assert count(found) == ("unknown", None, None)
    assert found.why == "the list here is not the one that it was trained on"
    (found,) = find(registry, root, "chexpert-train", dataset="csv", options=options)
    assert (found.overlap, found.why) == ("unknown", "its list is not here")


def test_a_table_is_held_by_name_against_a_dataset_whose_lists_are_known_although_files_were_missing(
    registry, tmp_path
):
    root = write_nih(write_table(tmp_path, 0))
    options = {"file": "t.csv", "split": "part", "allow_leaks": True}
    tested = find_source(registry.offer("dataset", "csv"), options, root)
    own = PretrainingSource(name="nih", dataset="nih-cxr14", fingerprint="of the images that were there")
    (found,) = find_shadow([own], tested, load(tested), root, registry)
    assert (*count(found), found.why) == ("none", 0, 0, "by names of images alone")


def test_a_dataset_of_unknown_origin_may_hold_anybodys_images(registry, tmp_path):
    tested = find_source(registry.offer("dataset", "nih-cxr14"), {}, write_nih(tmp_path))
    foreign = replace(tested, dataset=replace(tested.dataset, name="hospital"))
    data = load(tested)
    known = find_sources(["nih-70-10-20-train", "nih-official-train-val", "chexpert-train", "imagenet"], "")
    found = find_shadow(known, foreign, data, tmp_path, registry)
    assert [count(part) for part in found] == [
        ("shared", 2, 2),
        ("none", 0, 0),
        ("unknown", None, None),
        ("none", 0, 0),
    ]
    assert found[1].why == "by names of images alone"
    drawn = replace(foreign, dataset=replace(foreign.dataset, drawn=True))
    assert [part.overlap for part in find_shadow(known, drawn, data, tmp_path, registry)] == ["none"] * 4


def test_images_that_are_drawn_from_another_seed_are_others(registry, tmp_path):
    def draw(**options: int) -> tuple[str, int | None, int | None]:
        sizes = {"train": 20, "val": 20, "test": 20, "size": 16}
        tested = find_source(registry.offer("dataset", "phantom"), sizes, tmp_path)
        source = describe_training(tested, sizes | options, "")
        return count(find_shadow([source], tested, load(tested), tmp_path, registry)[0])

    assert draw() == ("none", 0, 0)
    assert draw(train=30)[:2] == ("shared", 10)
    assert draw(train=30, seed=1) == ("none", 0, 0)


def test_17920_images_of_the_shared_train_list_are_in_nihs_official_test(registry, sample, tmp_path):
    if not LISTS.is_dir():
        pytest.skip("the lists of the 70/10/20 split do not lie beside the checkout")
    for path in (sample / "Data_Entry_2017_v2020.csv", *sample.glob("*_list.txt")):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "split-70-10-20").symlink_to(LISTS)
    found = find(registry, tmp_path, "nih-70-10-20-train", "nih-official-train-val")
    assert [count(part) for part in found] == [("shared", 17920, 1901), ("none", 0, 0)]
