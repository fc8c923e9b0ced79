"""What pictures are made of: the plane of the image, soft shapes on it, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.floating[Any]]
    """(H, W) float32."""

DETAIL = 28
"""Finest texture, in waves an image: textures are the same at every image size."""


@dataclass(frozen=True)
class Plane:
    """The image's pixels in the patient's coordinates."""

    x: Field
    y: Field
    side: Field
    """Distance from the spine, |x|."""

    @property
    def size(self) -> int:
        """H and W."""
        return len(self.x)


def soft(distance: Field, width: float) -> Field:
    """1 where `distance` is well above 0, 0 well below, a smooth edge of that width between."""
    edge: Field = 0.5 + 0.5 * np.tanh(distance * (0.5 / width))
    return edge


def hill(distance: Field, width: float) -> Field:
    """A Gaussian ridge of height 1 where `distance` is 0."""
    ridge: Field = np.exp(-np.square(distance / width))
    return ridge


def blob(plane: Plane, x: float, y: float, rx: float, ry: float | None = None) -> Field:
    """A Gaussian hill of height 1 about one place."""
    across = np.square((plane.x - x) / rx)
    height: Field = np.exp(-across - np.square((plane.y - y) / (ry or rx)))
    return height


def cloud(generator: np.random.Generator, size: int, slope: float) -> Field:
    """Noise (size, size) of unit variance whose amplitude falls with frequency to the power of -slope."""
    rows = np.fft.fftfreq(2 * DETAIL, 1 / (2 * DETAIL))[:, None]
    frequency = np.hypot(rows, np.arange(DETAIL)[None])
    amplitude = np.where((frequency > 0) & (frequency < DETAIL), (frequency + 0.5) ** -slope, 0)
    real, imaginary = generator.standard_normal((2, *amplitude.shape))
    waves = amplitude * (real + 1j * imaginary)
    keep = min(DETAIL, size // 2)  # fewer in a small image
    spectrum = np.zeros((size, size // 2 + 1), dtype=np.complex128)
    spectrum[:keep, :keep], spectrum[-keep:, :keep] = waves[:keep, :keep], waves[-keep:, :keep]
    noise = np.fft.irfft2(spectrum, (size, size))
    field: Field = (noise / noise.std()).astype(np.float32)
    return field


def draw_around(generator: np.random.Generator, mean: float, spread: float) -> float:
    """A normal number that stays within 2.2 standard deviations."""
    return mean + spread * min(max(generator.standard_normal(), -2.2), 2.2)
