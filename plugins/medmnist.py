"""`medmnist`: a local MedMNIST file with several labels an image, such as ChestMNIST."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Data, DataError, Dataset, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHESTMNIST = (
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
SPLITS = ("train", "val", "test")


@dataclass(eq=False)
class Stored:
    """The images of an .npz file, (N, H, W) uint8, read when the first of them is asked for."""

    path: Path
    count: int
    read: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        import numpy as np

        if self.read is None:
            with np.load(self.path, allow_pickle=False) as file:
                self.read = np.concatenate([file[f"{split}_images"] for split in SPLITS])
        image: NDArray[np.uint8] = self.read[index]
        return image


def load(root: Path, *, file: str = "", size: int = 0) -> Data:
    """Read `file` (such as chestmnist_224.npz), or the ChestMNIST of `size` pixels, or the only .npz in the folder.

    These files hold no patients: each image counts as a patient of its own, so intervals are too narrow, and the
    record says so. Raises `DataError` for a file that is absent, damaged, or not one of several labels an image.
    """
    import numpy as np
    import pandas as pd

    path = _find(root, file, size)
    labels = []
    try:
        with np.load(path, allow_pickle=False) as stored:
            labels = [stored[f"{split}_labels"] for split in SPLITS]
            shape = _image_shape(stored, path)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no MedMNIST file: {error}") from None
    targets = np.concatenate(labels)
    if targets.ndim != 2 or targets.shape[1] < 2 or not np.isin(targets, (0, 1)).all():
        raise DataError(
            f"{path.name} has one class an image (labels {targets.shape}); "
            "this harness is for several labels an image, as in ChestMNIST"
        )
    split = np.repeat(SPLITS, [len(part) for part in labels])
    names = [f"{part}-{index:06d}" for part, group in zip(SPLITS, labels, strict=True) for index in range(len(group))]
    return Data(
        labels=CHESTMNIST
        if targets.shape[1] == len(CHESTMNIST)
        else tuple(f"label {n}" for n in range(targets.shape[1])),
        images=Stored(path, len(names)),
        targets=targets.astype(np.float32),
        table=pd.DataFrame({"image": names, "split": split, "patient": names}),
        sources=(path,),
        notes={
            "label_file": path.name,
            "patients": "unknown: each image counts as a patient of its own",
            "pixels": f"{shape[0]} x {shape[1]} in the file",
        },
    )


def _image_shape(stored: Any, path: Path) -> tuple[int, int]:
    """Height and width of the images, from their header alone."""
    import numpy as np

    with stored.zip.open("train_images.npy") as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(member)
    if dtype != np.uint8 or len(shape) != 3:
        raise DataError(f"{path.name} holds images {shape} {dtype}; grey images (N, H, W) uint8 are needed")
    return int(shape[1]), int(shape[2])


def _find(root: Path, file: str, size: int) -> Path:
    if not file and size:
        file = "chestmnist.npz" if size == 28 else f"chestmnist_{size}.npz"
    found = [root / file] if file else sorted(root.glob("*.npz"))
    if len(found) == 1 and found[0].is_file():
        return found[0]
    known = ", ".join(path.name for path in sorted(root.glob("*.npz"))) or "none"
    asked = f"no {file}" if file else "not just one .npz"
    raise DataError(
        f"medmnist: {root} has {asked} (there: {known}); get chestmnist_64.npz from "
        "https://zenodo.org/records/10519652, then --data-root FOLDER --option file=NAME.npz"
    )


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """MedMNIST."""
    return [
        Dataset(
            name="medmnist",
            load=load,
            about="a local MedMNIST file with several labels an image: ChestMNIST at 28, 64, 128 or 224 px",
            citation="Yang et al. 2023, MedMNIST v2, Scientific Data; images from NIH ChestX-ray14",
        )
    ]
