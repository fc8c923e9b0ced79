"""Whether images or patients that a network has learned from stand in an outside test, under whatever names.

Names are compared where they mean the same: within one dataset, between datasets that are known to share patients, and
between tables in one folder. Pixels are compared in any case: the digests that the prepare cache has of every image
find those that are the same, and thumbnails those that were saved again, resized, or shown with another contrast.

A thumbnail is of the ranks of its pixels, so that no change of contrast matters, without what is blurred, which all
chests have in common. Two images are alike where both a small one (16 x 16) and a larger one (64 x 64) correlate above
their thresholds. On 150 images of ChestX-ray14, a patient each, at 256 and at 64 pixels, no two of all 11,175 pairs are
alike, nor is any image like one of 18 changed copies of another: small thumbnails correlate at most at 0.83, larger
ones at 0.66. Those of copies saved as JPEG (quality 20 to 90), resized to 128 to 512 pixels, with a gamma of 0.5 or 2,
windowed, equalized or inverted correlate at 0.91 or more: all are found. So are nearly all whose contrast was raised by
half, which loses bright and dark parts, or which were cropped by 1 % at each side; those cropped by 3 % are not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.data.loading import Source
from harness.data.pretraining import read_table
from harness.text import agree, count

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from harness.data.prepare import Prepared

SMALL, LARGE = 16, 64
"""Height and width of thumbnails, in pixels; smaller images have no larger ones, and are compared by digest alone."""
SMALL_ALIKE, LARGE_ALIKE = 0.85, 0.8
"""Correlations from which on thumbnails are alike."""
BLOCK = 4096
"""Images whose thumbnails are compared at a time."""
SHOWN = 3
"""Examples that a message names."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What of an outside test is also in some splits of the own dataset."""

    patients: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    """Names of images that both have."""
    identical: tuple[tuple[str, str], ...] = ()
    """Pairs of images whose pixels are the same: ours, theirs."""
    alike: tuple[tuple[str, str], ...] = ()
    """Pairs that show the same, saved or shown another way."""

    def __bool__(self) -> bool:
        return bool(self.patients or self.images or self.identical or self.alike)

    def describe(self, where: str = "training or validation") -> str:
        """Say how much it is, with the first examples, and where else they are."""
        parts = []
        for names, what in ((self.patients, "patient"), (self.images, "image name")):
            if names:
                parts.append(f"{count(len(names), what)} ({_shorten(names)})")
        for pairs, what in ((self.identical, "the same pixels"), (self.alike, "nearly the same pixels")):
            if pairs:
                first = _shorten([ours if ours == theirs else f"{ours} is {theirs}" for ours, theirs in pairs])
                parts.append(f"{count(len({theirs for _, theirs in pairs}), 'image')} with {what} ({first})")
        verb = agree(1 if len(parts) == 1 and parts[0][:2] == "1 " else 2, "is", "are")
        return f"{', '.join(parts)} {verb} also in {where}"


def _shorten(names: Collection[str]) -> str:
    first = list(names)[:SHOWN]
    return ", ".join(first) + (", ..." if len(names) > SHOWN else "")


def find_shared_names(ours: Source, own: Data, theirs: Source, tested: Data) -> Overlap:
    """Patients and images that both have by name, where names of both mean the same."""
    images = _mean_the_same(ours, theirs)
    patients = images or read_table().share_images(ours.dataset.name, theirs.dataset.name)
    known = own.patients_known and tested.patients_known
    return Overlap(
        patients=_find_common(own, tested, "patient") if patients and known else (),
        images=_find_common(own, tested, "image") if images else (),
    )


def _mean_the_same(ours: Source, theirs: Source) -> bool:
    one, other, tables = ours.dataset, theirs.dataset, read_table().any_images
    if one.name != other.name:
        return {one.name, other.name} <= tables and _same_folder(ours.root, theirs.root)
    if one.drawn:  # with other options, other images are drawn under the same names
        return ours.options == theirs.options
    return one.name not in tables or _same_folder(ours.root, theirs.root)


def _same_folder(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _find_common(trained: Data, tested: Data, column: str) -> tuple[str, ...]:
    ours, theirs = (set(data.table[column].astype(str)) for data in (trained, tested))
    return tuple(sorted(ours & theirs))


@dataclass(frozen=True, eq=False)
class Learned:
    """The images at one size that networks have learned from."""

    prepared: Prepared
    rows: NDArray[np.intp]
    """(L,) which of them are of training and validation."""
    device: torch.device
    """Where images are compared."""

    @cached_property
    def thumbnails(self) -> Tensor:
        """The small thumbnails (L, SMALL * SMALL), made once for all that is compared with them."""
        return make_thumbnails(self.prepared.images, self.rows, SMALL, 1, self.device)


def find_shared_pixels(learned: Learned, tested: Prepared) -> tuple[Overlap, str | None]:
    """Pairs of images of the same size that show the same.

    Gives, too, why nothing but identical pixels could be looked for, where that is so.
    """
    found = _find_identical(learned, tested)
    size, why = tested.images.shape[-1], None
    alike: list[tuple[int, int]] = []
    if size < LARGE:
        why = (
            f"images of {size} px are too small to find copies that were saved another way: only identical pixels were "
            f"looked for, which takes less than {LARGE} px"
        )
    else:
        same = set(found)
        alike = [pair for pair in _find_alike(learned, tested) if pair not in same]
    ours, theirs = (one.data.table["image"].astype(str).to_numpy() for one in (learned.prepared, tested))

    def name(pairs: list[tuple[int, int]]) -> tuple[tuple[str, str], ...]:
        return tuple((str(ours[a]), str(theirs[b])) for a, b in sorted(pairs, key=lambda pair: (pair[1], pair[0])))

    return Overlap(identical=name(found), alike=name(alike)), why


def _find_identical(learned: Learned, tested: Prepared) -> list[tuple[int, int]]:
    """Places of images with the same digest, ours and theirs; images of one grey level show nothing, and are none."""
    theirs: dict[bytes, list[int]] = {}
    for place, digest in enumerate(tested.digests):
        theirs.setdefault(digest.tobytes(), []).append(place)
    ours = learned.prepared.digests
    pairs = [(int(a), b) for a in learned.rows for b in theirs.get(ours[a].tobytes(), ())]
    return [(a, b) for a, b in pairs if np.ptp(tested.images[b])]


def _find_alike(learned: Learned, tested: Prepared) -> list[tuple[int, int]]:
    """Places of images whose thumbnails are alike, ours and theirs."""
    device, images = learned.device, learned.prepared.images
    ours, theirs = learned.thumbnails, make_thumbnails(tested.images, np.arange(len(tested.images)), SMALL, 1, device)
    found = []
    for first in range(0, len(ours), BLOCK):
        for second in range(0, len(theirs), BLOCK):
            alike = (ours[first : first + BLOCK] @ theirs[second : second + BLOCK].T).abs() >= SMALL_ALIKE
            found.append(np.add(alike.nonzero().cpu().numpy(), (first, second)))
    candidates = np.concatenate(found) if found else np.empty((0, 2), dtype=np.intp)
    pairs = []
    for start in range(0, len(candidates), BLOCK):
        part = candidates[start : start + BLOCK]
        a, b = (
            make_thumbnails(pixels, rows, LARGE, 4, device)
            for pixels, rows in ((images, learned.rows[part[:, 0]]), (tested.images, part[:, 1]))
        )
        close = ((a * b).sum(dim=1).abs() >= LARGE_ALIKE).cpu().numpy()
        pairs += [(int(learned.rows[one]), int(other)) for one, other in part[close]]
    return pairs


def make_thumbnails(
    images: NDArray[np.uint8], rows: NDArray[np.intp], size: int, blur: int, device: torch.device
) -> Tensor:
    """Thumbnails (n, size * size) float32 of the images at `rows`, each with mean 0 and length 1; 0 of one that shows
    nothing. Their product is the correlation.
    """
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, pad

    made = torch.empty((len(rows), size * size), device=device)
    step = 256
    for first in range(0, len(rows), step):
        chosen = rows[first : first + step]
        batch = torch.from_numpy(np.ascontiguousarray(images[chosen])).to(device).float()
        small = adaptive_avg_pool2d(batch[:, None], size).flatten(1)  # (n, size * size)
        ordered = small.sort(dim=1).values
        below, upto = (torch.searchsorted(ordered, small, right=right) for right in (False, True))
        ranks = (below + upto).float().view(-1, 1, size, size)  # where pixels are equal, so are their ranks
        blurred = avg_pool2d(pad(ranks, (blur,) * 4, mode="replicate"), 2 * blur + 1, 1)
        sharp = (ranks - blurred).flatten(1)
        sharp -= sharp.mean(dim=1, keepdim=True)
        sharp[small.amax(dim=1) == small.amin(dim=1)] = 0
        made[first : first + step] = sharp / sharp.norm(dim=1, keepdim=True).clamp_min(1e-9)
    return made
