"""Make the submitted rows of nih-official and nih-70-10-20 again, from the predictions that their authors published.

    python leaderboards/submit_published.py NIH CASP REPLICA LISTS

NIH       NIH's label file (v2020) and its two official lists; no image is needed
CASP      INQUIRELAB/casp-chestmnist at 38f0f86: eight systems, five seeds each, NAME_seedK.npz of logits
REPLICA   jrzech/reproduce-chexnet at a011a9a: preds.csv and aucs.csv of its folder pretrained/
LISTS     arnoweng/CheXNet at 3d45ee7: train_list.txt, val_list.txt and test_list.txt of ChestX-ray14/labels/

Every file is checked before anything is submitted: the logits' own patients and labels have to be those of NIH's
official test list, image for image, and the AUROCs those that were published with the predictions. A row whose result
is the same keeps its record byte for byte. On another kind of processor the last digits of a result may differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data.loading import find_source, load_disjoint
from harness.errors import DataError, HarnessError
from harness.registry import load_registry
from harness.tables import read_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness import Data

BOARDS = Path(__file__).parent
CASP_LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The order of columns in the files of CASP, which do not name them."""
SEEDS = 5
ROUNDED = 1e-4
"""How far a mean AUROC may lie from one that was published with four digits."""
EXACT = 1e-12


@dataclass(frozen=True)
class System:
    """One of the systems of CASP."""

    file: str
    """What its files are called before the seed."""
    name: str
    what: str
    published: float
    """The mean AUROC over seeds and labels that its authors give."""


SYSTEMS = (
    System("searched_nonrec_pm", "CASP-matched", "a single convolutional-attention pass, 1.46 M parameters", 0.7334),
    System("searched_nonrec", "CASP", "a single convolutional-attention pass, 1.90 M parameters", 0.7288),
    System("densenet121", "DenseNet-121", "a convolutional baseline", 0.7158),
    System("resnet18", "ResNet-18", "a convolutional baseline", 0.7039),
    System("searched_rec", "CASP recursive", "the recursive baseline of CASP, 1.49 M parameters", 0.6914),
    System("resnet50", "ResNet-50", "a convolutional baseline", 0.6913),
    System("vit_small", "Compact ViT", "a compact vision transformer, 1.80 M parameters", 0.6731),
    System("mobilenet_v2", "MobileNetV2", "a convolutional baseline", 0.6684),
)
CASP_ABOUT = (
    "From the paper 'Compact Chest-Radiograph Classification: Can a Single Convolutional-Attention Pass Outperform "
    "Recursive Refinement?': {what}. The published logits name no images: they were matched to NIH's test list by "
    "patient and labels, which leaves images of one patient with the same labels interchangeable. No metric and no "
    "interval over patients depends on which is which; subgroups by age and view would, and are left out."
)
CASP = {
    "--source": "https://github.com/INQUIRELAB/casp-chestmnist at commit 38f0f86",
    "--license": "MIT",
    "--trained-on": "NIH's official train_val list, by patient",
    "--image-size": "28",
    "--subgroups": "sex",
}
REPLICA = {
    "--name": "CheXNet replica 2022",
    "--about": "DenseNet-121 with binary cross-entropy and SGD, retrained in 2022; one view, no crops. Evaluated with "
    "NIH's labels of 2020, as its authors did.",
    "--source": "https://github.com/jrzech/reproduce-chexnet at commit a011a9a",
    "--license": "BSD-3-Clause",
    "--trained-on": "the training list of this split, 78,468 images",
    "--image-size": "224",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the published files and submit what they hold; give 2, after one line, where a file is not as published."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("nih", "casp", "replica", "lists"):
        parser.add_argument(name, type=Path, metavar=name.upper(), help="a folder, described above")
    parser.add_argument(
        "--boards", type=Path, default=BOARDS, help="folder of the two boards; this script's by default"
    )
    parser.add_argument("--only", help="a system's name: submit that one alone")
    given = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as room:
            root = gather_root(given.nih, given.lists, Path(room) / "nih")
            for system in SYSTEMS:
                if given.only in (None, system.name):
                    submit_casp(system, given.casp, root, given.boards / "nih-official", Path(room))
            if given.only in (None, REPLICA["--name"]):
                submit_replica(given.replica, root, given.boards / "nih-70-10-20")
    except (HarnessError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a script's message
        return 2
    return 0


def gather_root(nih: Path, lists: Path, root: Path) -> Path:
    """Make a data root that holds NIH's files and the three lists, as the boards expect them."""
    root.mkdir()
    for file in sorted(nih.iterdir()):
        if file.suffix in (".csv", ".txt"):
            (root / file.name).symlink_to(file.resolve())
    (root / "split-70-10-20").symlink_to(lists.resolve())
    return root


def submit_casp(system: System, folder: Path, root: Path, board: Path, room: Path) -> None:
    """Submit the five seeds of a system. Raises `DataError` for files that are not what was published."""
    data = load_test(root, {"split": "official"})
    files, means = [], []
    for seed in range(SEEDS):
        path = folder / f"{system.file}_seed{seed}.npz"
        logits, image = match_images(path, data)
        means.append(np.mean([*measure_aurocs(image, logits, CASP_LABELS, data).values()]))
        files.append(room / path.name)
        np.savez(files[-1], image=image, labels=np.array(CASP_LABELS), logits=logits)
    if abs(np.mean(means) - system.published) > ROUNDED:
        raise DataError(
            f"{folder}: the mean AUROC of {system.name} is {np.mean(means):.4f}, its authors give "
            f"{system.published:.4f}: columns or rows are not in the order that was published"
        )
    about = CASP_ABOUT.format(what=system.what)
    submit(board, files, root, {"--name": system.name, "--about": about, **CASP})


def submit_replica(folder: Path, root: Path, board: Path) -> None:
    """Submit the replica. Raises `DataError` where its AUROCs are not those that were published with it."""
    options = {name: f"split-70-10-20/{name}.txt" for name in ("train_list", "val_list", "test_list")}
    data = load_test(root, {"split": "lists", **options})
    table = read_table(folder / "preds.csv").columns
    labels = [name.removeprefix("prob_") for name in table.columns[1:]]
    scores = table.iloc[:, 1:].to_numpy(dtype=np.float64)
    found = measure_aurocs(table.iloc[:, 0].to_numpy(dtype=str), scores, labels, data)
    published = read_table(folder / "aucs.csv").columns
    for label, value in zip(published["label"], published["auc"].astype(float), strict=True):
        if abs(found[label] - value) > EXACT:
            raise DataError(
                f"{folder / 'preds.csv'}: the AUROC of {label} is {found[label]:.6f}, aucs.csv gives {value:.6f}: "
                "columns or rows are not in the order that was published, or the labels are not NIH's of 2020"
            )
    submit(board, [folder / "preds.csv"], root, REPLICA)


def submit(board: Path, files: Iterable[Path], root: Path, given: Mapping[str, str]) -> None:
    """Hand files to `harness submit`, one for each seed."""
    options = [part for pair in given.items() for part in pair]
    command = ["submit", str(board), "--predictions", ",".join(map(str, files)), "--data-root", str(root), *options]
    subprocess.run([sys.executable, "-m", "harness", *command, "--replace"], check=True, stdout=subprocess.DEVNULL)


# --- what a file has to agree with -----------------------------------------------------------------------------------


def load_test(root: Path, options: Mapping[str, str]) -> Data:
    """The test split of NIH's images: names, patients and targets."""
    data = load_disjoint(find_source(load_registry().offer("dataset", "nih-cxr14"), dict(options), root))
    return data.select(data.table["split"].to_numpy() == "test")


def match_images(path: Path, data: Data) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Logits (N, 14) and the image (N,) of each row, of NIH's test list: one of the same patient with the same labels.

    Raises `DataError` where patients and labels are not exactly those of the list.
    """
    try:
        with np.load(path) as stored:
            logits, targets, patients = (stored[f"test_{name}"] for name in ("logits", "labels", "patient"))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} does not hold test_logits, test_labels and test_patient: {error}") from None
    order = [data.labels.index(label) for label in CASP_LABELS]
    known = [*zip(data.table["patient"].astype(int), map(tuple, data.targets[:, order].astype(int)), strict=True)]
    asked = [*zip(map(int, patients), map(tuple, targets.astype(int)), strict=True)]
    if Counter(known) != Counter(asked):
        apart = (Counter(asked) - Counter(known)).total()
        raise DataError(
            f"{path}: {apart:,} of {len(asked):,} rows have a patient and labels that NIH's test list lacks, or has "
            "less often; the labels have to be NIH's of 2020, in the order that was published"
        )
    images = defaultdict(list)
    for image, key in sorted(zip(data.table["image"], known, strict=True), reverse=True):
        images[key].append(image)
    return logits.astype(np.float32), np.array([images[key].pop() for key in asked])


def measure_aurocs(
    image: NDArray[np.str_], scores: NDArray[np.floating], labels: Sequence[str], data: Data
) -> dict[str, float]:
    """The AUROC of each label by scikit-learn, against the dataset's targets."""
    from sklearn.metrics import roc_auc_score

    place = {name: number for number, name in enumerate(data.table["image"])}
    absent = [name for name in image if name not in place]
    if absent or len(image) != len(place):
        raise DataError(
            f"{len(image):,} images were predicted, the test list has {len(place):,}; {len(absent):,} are not in it"
        )
    targets = data.targets[[place[name] for name in image]]
    return {
        label: float(roc_auc_score(targets[:, data.labels.index(label)], scores[:, number]))
        for number, label in enumerate(labels)
    }


if __name__ == "__main__":
    sys.exit(main())
