"""What may be wrong with the images of a dataset: what their files hold, and what can be seen of their pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.data.decoding import describe_values, resize
from harness.data.findings import Finding, judge
from harness.data.grey import FEW_LEVELS
from harness.data.headers import Header, read_headers
from harness.text import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.data.prepare import Prepared

LISTED = 5
"""Sizes and modes that are listed, the most frequent first."""
SMALL = 64 * 64
"""Pixels below which few grey levels say nothing of an image."""
FEWEST = 8
"""Images below which nothing is said of polarity."""
THUMBNAIL = 16
"""Size in pixels at which images are compared with their mean."""
ALIKE, INVERTED = 0.4, -0.2
"""Correlations with the mean image: what half of all images must have for that to mean something, and below which one
is inverted.

Of 150 radiographs of NIH, the least has 0.23 and half have 0.80; of as many as 70 inverted copies beside them, the
largest has -0.21.
"""


def check_images(prepared: Prepared) -> tuple[Finding, ...]:
    """Check what the files of the images in use hold, and what can be seen of their pixels."""
    names = prepared.data.table["image"].astype(str).tolist()
    headers = _read_headers(prepared)
    return (
        _describe_files(headers),
        _frames(names, headers),
        _describe_values(prepared),
        _constant(prepared),
        _levels(prepared, dict(zip(names, headers, strict=True))),
        _polarity(names, prepared.images),
    )


def _read_headers(prepared: Prepared) -> Sequence[Header | None]:
    images = prepared.data.images
    if prepared.data.encoded:
        return read_headers(prepared.data)
    shape = getattr(images, "shape", None)  # which an array that renders on demand need not have
    header = None if shape is None else Header((shape[2], shape[1]), "L", 1, turned=False)
    return [header] * len(images)


def _describe_files(headers: Iterable[Header | None]) -> Finding:
    """Count sizes and modes."""
    known = [header for header in headers if header is not None]
    sizes = Counter(f"{width:,} x {height:,} px" for width, height in (header.size for header in known))
    text = f"sizes: {_list_counts(sizes)}; modes: {_list_counts(Counter(header.mode for header in known))}"
    turned = sum(header.turned for header in known)
    return Finding("sizes and modes", ok=True, message=f"{text}; turned as their EXIF says: {turned:,}")


def _describe_values(prepared: Prepared) -> Finding:
    told = describe_values(prepared.data, prepared.scale)
    return Finding("bits", ok=True, message=told or "no image has more than 8 bits a value")


def _list_counts(counts: Counter[str]) -> str:
    listed = [f"{name} ({count:,})" for name, count in counts.most_common(LISTED)]
    others = len(counts) - len(listed)
    return ", ".join(listed + [count(others, "other")] * bool(others)) or "not known"


def _frames(names: Iterable[str], headers: Iterable[Header | None]) -> Finding:
    several = [
        f"{name}: {header.frames:,} frames"
        for name, header in zip(names, headers, strict=True)
        if header is not None and header.frames > 1
    ]
    return judge(
        "one image in each file",
        several,
        "no file holds more than one frame or page",
        "file",
        "with several frames or pages, of which the first is used; save the right one alone",
    )


def _constant(prepared: Prepared) -> Finding:
    return judge(
        "images show something",
        [image for image, levels in prepared.few_levels.items() if levels == 1],
        "no image is of one grey level throughout",
        "image",
        "of one grey level throughout; get every one again, or leave it out",
    )


def _levels(prepared: Prepared, headers: dict[str, Header | None]) -> Finding:
    def is_small(image: str) -> bool:
        header = headers.get(image)
        return header is not None and header.size[0] * header.size[1] < SMALL

    return judge(
        "grey levels",
        [f"{image}: {n} levels" for image, n in prepared.few_levels.items() if n > 1 and not is_small(image)],
        f"no other image of {SMALL:,} pixels or more has fewer than {FEW_LEVELS} grey levels",
        "image",
        f"with fewer than {FEW_LEVELS} grey levels, so that much is lost; get every one in full depth, "
        "or give the bits of 16-bit files with --option bits=N",
    )


def _polarity(names: Sequence[str], images: NDArray[np.uint8]) -> Finding:
    """Images that are light where the mean of all is dark: black and white may have changed places."""
    correlations = correlate_with_mean(images)
    if len(images) < FEWEST or np.median(correlations) < ALIKE:
        return Finding("polarity", ok=True, message="not judged: the images are too few or too different for that")
    return judge(
        "polarity",
        [
            f"{names[place]}: correlation {correlations[place]:.2f}"
            for place in np.flatnonzero(correlations < INVERTED).tolist()
        ],
        "no image is light where the others are dark",
        "image",
        "bright where the others are dark, so that black and white may have changed places; invert every one",
    )


def correlate_with_mean(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Correlate each image (N, S, S) with the mean of all, each as a small one of mean 0 and deviation 1, (N,).

    A constant image has 0.
    """
    small = np.stack([resize(image, THUMBNAIL) for image in images]).reshape(len(images), -1).astype(np.float32)
    small -= small.mean(axis=1, keepdims=True)
    deviation = small.std(axis=1, keepdims=True)
    np.divide(small, deviation, out=small, where=deviation > 0)
    mean = small.mean(axis=0)
    scale = small.shape[1] * mean.std()
    correlations: NDArray[np.float64] = (small @ mean / scale if scale > 0 else np.zeros(len(small))).astype(np.float64)
    return correlations
