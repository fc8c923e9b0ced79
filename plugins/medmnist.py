"""`medmnist`: a local MedMNIST file with several labels an image, such as ChestMNIST."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from harness import Data, DataError, Dataset, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# in the order of the files, which is that of arnoweng's CheXNet, not the alphabet
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
SOURCE = "https://zenodo.org/records/10519652"


@dataclass(frozen=True, eq=False)
class Stored:
    """The images of an .npz file, (N, H, W) uint8, of all splits one after another; any thread may ask.

    The file is compressed, so a split is read as a whole when its first image is asked for. Images are asked for in
    order, so no more than two splits are kept in memory.
    """

    path: Path
    lengths: tuple[int, ...]
    """Images of each split."""
    read: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return sum(self.lengths)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        place = index
        for split, length in zip(SPLITS, self.lengths, strict=True):
            if 0 <= place < length:
                image: NDArray[np.uint8] = self._split(split)[place]
                return image
            place -= length
        raise IndexError(f"{self.path.name} has {len(self)} images, not one numbered {index}")

    def _split(self, split: str) -> NDArray[np.uint8]:
        import numpy as np

        with self.lock:
            if split not in self.read:
                if len(self.read) > 1:
                    del self.read[next(iter(self.read))]
                with np.load(self.path, allow_pickle=False) as file:
                    self.read[split] = file[f"{split}_images"]
            return self.read[split]


def load(root: Path, *, file: str = "", size: int = 0) -> Data:
    """Read a file of MedMNIST: the one that is named, or the ChestMNIST of a size, or the only .npz in the folder.

    - `file`: Read this file in the dataset's folder, such as chestmnist_224.npz.
    - `size`: Read the ChestMNIST of this height and width in pixels.

    These files hold no patients: each image counts as a patient of its own, so intervals are too narrow, and the
    record says so. Raises `DataError` for a file that is absent, damaged, or not one of several labels an image.
    """
    import numpy as np
    import pandas as pd

    path = _find(root, file, size)
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            labels = [stored[f"{split}_labels"] for split in SPLITS]
            shapes = [_image_shape(stored, split) for split in SPLITS]
        targets = np.concatenate(labels)
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no MedMNIST file, or a damaged one: {error}; get it from {SOURCE}") from None
    if targets.ndim != 2 or targets.shape[1] < 2 or not np.isin(targets, (0, 1)).all():
        raise DataError(
            f"{path.name} has one class for each image (labels {targets.shape}); "
            "the harness compares on several labels for each image, each 0 or 1, as in ChestMNIST"
        )
    lengths = tuple(len(part) for part in labels)
    if any(len(shape) != 3 or shape[0] != length for shape, length in zip(shapes, lengths, strict=True)):
        raise DataError(f"{path.name} holds images {shapes} for {lengths} rows of labels; each must be grey, (N, H, W)")
    count = targets.shape[1]
    names = [f"{split}-{index:06d}" for split, length in zip(SPLITS, lengths, strict=True) for index in range(length)]
    return Data(
        labels=CHESTMNIST if count == len(CHESTMNIST) else tuple(f"label-{number}" for number in range(count)),
        images=Stored(path, lengths),
        targets=targets.astype(np.float32),
        table=pd.DataFrame({"image": names, "split": np.repeat(SPLITS, lengths), "patient": names}),
        sources=(path,),
        patients_known=False,
        notes={
            "label_file": path.name,
            "pixels": f"{shapes[0][1]} x {shapes[0][2]} in the file",
        },
    )


def _image_shape(stored: Any, split: str) -> tuple[int, ...]:
    """Shape of a split's images, from the header alone. Raises `ValueError` where they are not uint8."""
    import numpy as np

    with stored.zip.open(f"{split}_images.npy") as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(member)
    if dtype != np.uint8:
        raise ValueError(f"its {split} images are {dtype}, not uint8")
    return tuple(int(length) for length in shape)


def _find(root: Path, file: str, size: int) -> Path:
    if not file and size:
        file = "chestmnist.npz" if size == 28 else f"chestmnist_{size}.npz"
    found = [root / Path(file).expanduser()] if file else sorted(root.glob("*.npz"))
    if len(found) == 1 and found[0].is_file():
        return found[0]
    known = ", ".join(path.name for path in sorted(root.glob("*.npz"))) or "none"
    asked = f"no {file}" if file else "not just one .npz"
    raise DataError(
        f"medmnist: {root} has {asked} (there: {known}); get chestmnist_64.npz from {SOURCE}, "
        "then --data-root FOLDER --option file=NAME.npz"
    )


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """MedMNIST."""
    return [
        Dataset(
            name="medmnist",
            load=load,
            about="a local MedMNIST file with several labels for each image: ChestMNIST at 28, 64, 128 or 224 px",
            citation="Yang et al. 2023, MedMNIST v2, Scientific Data; images from NIH ChestX-ray14",
        )
    ]
