"""Heat maps of a row for images: as pictures over the image, and as numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.errors import UnknownNameError, UsageError
from harness.files import write_atomically
from harness.machine import count_processors
from harness.registry import Registry
from harness.serving.images import ImageSource, decode_each
from harness.serving.rows import AHEAD, LoadedRow
from harness.training.attribution import BATCH, Explainer, Method
from harness.training.numerics import computing

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLORS = (
    (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10),
    (249, 201, 50), (252, 255, 164),
)  # fmt: skip
"""The colormap inferno at nine equal steps: it gets lighter evenly, also for those who see no colors."""
STRENGTH = 0.7
"""How much of a picture is color where the map is highest; where it is 0 the image is as it is."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Explained:
    """What one image has for one label, or why it has nothing."""

    image: str
    label: str
    heat: NDArray[np.float32] | None = None
    """(F, F) of the whole image, squashed to a square; at least 0, without a scale. None for a gap."""
    picture: NDArray[np.uint8] | None = None
    """(S, S, 3): the image as the row loads it, and over it the map as a share of its maximum."""
    gap: str = ""
    """Why the image could not be used."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the image speaks for the label."""
        return self.heat is not None and not self.heat.any()


def explain_images(
    row: LoadedRow, source: ImageSource, labels: Sequence[str], registry: Registry, method: Method = "grad-cam"
) -> Iterator[Explained]:
    """Heat maps of images in order, for each of the labels; of the first seed, in float32.

    Memory is that of a few batches. Raises `UnknownNameError` for a label that the row does not have, `PluginError`
    where its network has no layer for Grad-CAM, and as `LoadedRow.predict` does for a table, before the first image is
    read.
    """
    member = row.members[0]
    for label in labels:
        if label not in member.labels:
            raise UnknownNameError(f"label of {row.name}", label, member.labels)
    explainer = make_explainer(row, registry, method)
    encoded = member.encode(source.table if row.columns or source.data is None else None, len(source.names))
    return _explain_each(row, source, labels, explainer, encoded)


def make_explainer(row: LoadedRow, registry: Registry, method: Method = "grad-cam") -> Explainer:
    """What makes maps by the first seed's network. Raises `PluginError` where it has no layer for Grad-CAM."""
    member = row.members[0]
    map_layer = registry.model(member.found_as).map_layer
    return Explainer.of(
        member.network, member.task, member.recipe, mirrors=member.mirrors, map_layer=map_layer, method=method
    )


def _explain_each(
    row: LoadedRow,
    source: ImageSource,
    labels: Sequence[str],
    explainer: Explainer,
    encoded: NDArray[np.float32] | None,
) -> Iterator[Explained]:
    workers = count_processors()
    batch: list[tuple[int, NDArray[np.uint8] | str]] = []
    for number, image in enumerate(decode_each(source, workers, BATCH + AHEAD * workers)):
        batch.append((number, image))
        if len(batch) == BATCH or number == len(source.names) - 1:
            yield from _explain_batch(row, source, labels, explainer, encoded, batch)
            batch = []


def _explain_batch(
    row: LoadedRow,
    source: ImageSource,
    labels: Sequence[str],
    explainer: Explainer,
    encoded: NDArray[np.float32] | None,
    batch: Sequence[tuple[int, NDArray[np.uint8] | str]],
) -> Iterator[Explained]:
    used = [(number, image) for number, image in batch if not isinstance(image, str)]
    maps = {label: _make_maps(row, label, explainer, encoded, used) for label in labels} if used else {}
    places = {number: place for place, (number, _) in enumerate(used)}
    for number, image in batch:
        name = source.names[number]
        for label in labels:
            if isinstance(image, str):
                yield Explained(image=name, label=label, gap=image)
            else:
                heat = maps[label][places[number]]
                yield Explained(image=name, label=label, heat=heat, picture=lay_over(image, heat))


def _make_maps(
    row: LoadedRow,
    label: str,
    explainer: Explainer,
    encoded: NDArray[np.float32] | None,
    used: Sequence[tuple[int, NDArray[np.uint8]]],
) -> NDArray[np.float32]:
    """Maps (n, F, F) of some images for a label."""
    images = torch.from_numpy(np.stack([image for _, image in used])).to(row.device)
    table = None if encoded is None else torch.from_numpy(encoded[[number for number, _ in used]]).to(row.device)
    with computing(row.device, "float32"):
        maps = explainer.explain(images, [row.labels.index(label)] * len(used), table)
    return maps.cpu().numpy()


def lay_over(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map (F, F) over an image (S, S) in grey: (S, S, 3) uint8, the more in color the higher the map is."""
    from PIL import Image

    side = image.shape[0]
    share = heat / heat.max() if heat.max() > 0 else heat
    if share.shape[0] != side:
        share = np.asarray(Image.fromarray(share).resize((side, side), Image.Resampling.BILINEAR))
    share = np.clip(share, 0, 1).astype(np.float64)
    amount = STRENGTH * share[..., None]
    picture: NDArray[np.uint8] = np.rint((1 - amount) * image[..., None] + amount * paint(share)).astype(np.uint8)
    return picture


def paint(share: NDArray[np.floating]) -> NDArray[np.float64]:
    """Colors (S, S, 3) from 0 to 255 of shares (S, S) of a map's maximum."""
    steps = np.linspace(0, 1, len(COLORS))
    return np.stack([np.interp(share, steps, channel) for channel in np.transpose(COLORS)], axis=-1)


# --- files -----------------------------------------------------------------------------------------------------------


def name_files(folder: Path, images: Sequence[str], labels: Sequence[str]) -> dict[tuple[str, str], Path]:
    """(image, label) -> where its files go, without their endings. Raises `UsageError` where two would be one file."""
    places: dict[tuple[str, str], Path] = {}
    taken: dict[str, str] = {}
    for image, label in itertools.product(images, labels):
        name = f"{_make_name(image)}--{_make_name(label)}"
        if name in taken:
            raise UsageError(f"the maps of {taken[name]} and of {image} would both be called {name}; rename one image")
        taken[name] = image
        places[image, label] = folder / name
    return places


def _make_name(text: str) -> str:
    """A name without folders, and without what some system does not take in a file's name."""
    return "".join(one if one.isalnum() or one in "._- " else "_" for one in text.strip("/")).replace(" ", "_")


def write_explained(one: Explained, path: Path) -> tuple[Path, Path]:
    """Write the picture as .png and the map as .npy, each whole or not at all; gives both paths.

    Raises `StorageError` where they cannot be written.
    """
    from PIL import Image

    assert one.heat is not None  # a gap has nothing to write
    assert one.picture is not None
    heat, picture = one.heat, Image.fromarray(one.picture)
    drawn, numbers = (path.with_name(f"{path.name}{ending}") for ending in (".png", ".npy"))
    write_atomically(drawn, lambda place: picture.save(place, format="PNG"))
    write_atomically(numbers, lambda place: _save(place, heat))
    return drawn, numbers


def _save(place: Path, heat: NDArray[np.float32]) -> None:
    with place.open("wb") as file:  # np.save would add an ending to the name
        np.save(file, heat)
