"""Everything bundled keeps the contract, by the same functions that a plugin's author runs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from harness.components import Kind
from harness.errors import UnknownNameError
from harness.registry import load_registry
from harness.testing import Subject, checks_of, find_subjects, parametrize
from harness.testing.networks import task_of
from harness.testing.processes import BUILD
from tests.plugins.test_folder import write_split
from tests.plugins.test_medmnist import make_arrays
from tests.plugins.test_nih_cxr14 import NAMES, write_labels, write_lists
from tests.plugins.test_openi import write_reports, write_views
from tests.plugins.test_padchest import write_table
from tests.plugins.test_rsna_pneumonia import draw as draw_rsna
from tests.plugins.test_vindr_cxr import draw_physionet

REGISTRY = load_registry()
LIGHT: tuple[Kind, ...] = ("model", "loss", "metric", "recipe", "observer")
HEAVY = {"chexnet", "vit-b16", "convnext-tiny", "efficientnet-b3", "resnet50", "efficientnet-b0", "chexnet-transformer"}
HEAVY |= {"chexnet-demographics", "chexnet-demographics-permuted"}
"""Take ten to twenty seconds each; a small network stands for them among the quick tests."""
TIMM = (
    *("test_vit", "test_convnext", "test_efficientnet", "test_resnet", "resnet18", "resnext50_32x4d", "densenet121"),
    *("efficientnet_lite0", "mobilenetv3_small_050", "regnetx_002", "ghostnet_050", "convnextv2_atto"),
    *("vit_tiny_patch16_224", "xcit_nano_12_p16_224", "edgenext_xx_small", "repvgg_a0", "dla46_c"),
    *("swin_tiny_patch4_window7_224", "maxvit_pico_rw_256"),
)
"""One of each kind of block; others of timm are made by the same code with other numbers."""
LARGE = [*sorted(HEAVY), *(f"timm/{name}" for name in TIMM)]

NAMES_OF = {name for kind in LIGHT for name in REGISTRY.offers[kind] if not name.endswith("/*")} - HEAVY
HOOKS = [subject for subject in find_subjects("harness.plugins") if subject.kind == "hook"]

test_the_bundled_components_keep_their_contracts = parametrize(*sorted(NAMES_OF), "phantom")


@pytest.mark.parametrize("subject", HOOKS, ids=lambda subject: subject.component.name)
def test_bundled_hooks_are_cheap_and_say_what_they_offer(subject):
    assert [check(subject).message for check in checks_of("hook") if check(subject).status == "failed"] == []


EACH = """
import json, sys
for asked in json.load(sys.stdin):
    sys.argv[1:] = [json.dumps(asked)]
    exec(BUILD, {})
"""


@pytest.fixture(scope="module")
def seen_elsewhere() -> dict[str, dict[str, object]]:
    """What a fresh process sees of each of these networks: one for all, since imports take most of its time."""
    asked = []
    for name in LARGE:
        subject = next(subject for subject in find_subjects(name) if subject.kind == "model")
        task = asdict(task_of(subject))
        asked.append({"name": subject.component.name, "files": [], "task": task, "threads": torch.get_num_threads()})
    command = [sys.executable, "-c", f"BUILD = {BUILD!r}\n{EACH}"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
    return dict(zip(LARGE, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_large_network_or_one_of_timm_keeps_its_contract(seen_elsewhere, name):
    outcomes = []
    for subject in find_subjects(name):  # a recipe may have the name of a model
        subject.kept["elsewhere"] = seen_elsewhere[name]
        outcomes += [check(subject) for check in checks_of(subject.kind)]
    assert [outcome.message for outcome in outcomes if outcome.status == "failed"] == []


def examine_dataset(name, root, **options) -> dict[str, str]:
    subject = Subject(kind="dataset", offer=REGISTRY.offer("dataset", name), data_root=root, options=options)
    outcomes = [check(subject) for check in checks_of("dataset")]
    return {outcome.check: outcome.message for outcome in outcomes if outcome.status == "failed"}


def write_images(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / name)


def test_a_table_of_ones_own_keeps_the_contract(tmp_path):
    names = [f"{number}.png" for number in range(6)]
    write_images(tmp_path, names)
    lines = [
        f"{name},{name},{split},{n % 2}"
        for n, (name, split) in enumerate(zip(names, ["train", "val", "test"] * 2, strict=True))
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["image,patient,split,Mass", *lines]))
    assert examine_dataset("csv", tmp_path) == {}


def test_a_folder_of_the_hub_keeps_the_contract(tmp_path):
    for start, split in ((0, "train"), (4, "validation"), (8, "test")):
        write_split(tmp_path, f"data/{split}-00000-of-00001.parquet", start)
    assert examine_dataset("folder", tmp_path) == {}


def test_a_medmnist_file_keeps_the_contract(tmp_path):
    np.savez(tmp_path / "chestmnist.npz", **make_arrays())
    assert examine_dataset("medmnist", tmp_path) == {}


def test_the_files_of_nih_keep_the_contract(tmp_path):
    write_labels(tmp_path)
    write_lists(tmp_path, train_list=NAMES[:3], val_list=NAMES[3:4], test_list=NAMES[4:])
    write_images(tmp_path / "images_001" / "images", NAMES)
    assert examine_dataset("nih-cxr14", tmp_path, split="lists") == {}


@pytest.mark.parametrize("vote", ["majority", "any", "all", "mean"])
def test_the_files_of_vindr_keep_the_contract(tmp_path, vote):
    draw_physionet(tmp_path)
    assert examine_dataset("vindr-cxr", tmp_path, vote=vote) == {}


def test_the_files_of_rsna_keep_the_contract(tmp_path):
    draw_rsna(tmp_path)
    assert examine_dataset("rsna-pneumonia", tmp_path) == {}


def test_the_files_of_padchest_keep_the_contract(tmp_path):
    write_table(tmp_path, *({"Labels": "['nodule']" if n % 2 else "['normal']"} for n in range(40)))
    write_images(tmp_path / "0", [f"{n}.png" for n in range(40)])
    assert examine_dataset("padchest", tmp_path) == {}


def test_the_files_of_openi_keep_the_contract(tmp_path):
    names = [f"CXR{n}_IM-0001-1001" for n in range(40)]
    write_reports(tmp_path, {f"CXR{n}": (["Pneumonia" if n % 2 else "normal"], [names[n]]) for n in range(40)})
    write_views(tmp_path, dict.fromkeys(names, "Frontal"))
    write_images(tmp_path / "NLMCXR_png", [f"{name}.png" for name in names])
    assert examine_dataset("openi", tmp_path) == {}


def test_a_name_that_nothing_has_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'tiny-cnn'"):
        find_subjects("tiny-cn")
