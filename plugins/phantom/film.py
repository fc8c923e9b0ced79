"""The film: how the patient stood before it, and how it was exposed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .drawing import Plane, draw_around, hill, soft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .drawing import Field


@dataclass(frozen=True)
class Shot:
    """What belongs to the image: how the patient stood, and how the film was exposed."""

    shift: tuple[float, float]
    angle: float
    """Rotation in radians."""
    zoom: float
    turn: float
    """How far the mediastinum is moved aside because the patient is turned."""
    gain: float
    """Contrast of the film."""
    offset: float
    """Brightness of the film."""
    shade: float
    """Exposure's slope from left to right."""
    grain: float
    """Standard deviation of noise, as a share of white."""
    margin: tuple[float, ...]
    """Collimation: black at left, right, top and bottom, as shares of the image."""
    projection: float
    """Magnification of heart and mediastinum: more in AP."""
    devices: int
    """Lines and electrodes on the patient."""
    bubble: float
    """Radius of the stomach's gas bubble."""


def draw_shot(generator: np.random.Generator, view: str) -> Shot:
    """An image; AP films are taken in bed, with more devices and a larger heart."""
    ap = view == "AP"
    collimated = generator.random() < 0.25
    return Shot(
        shift=(draw_around(generator, 0, 0.06), draw_around(generator, 0, 0.09)),
        angle=draw_around(generator, 0, 0.05),
        zoom=draw_around(generator, 1.0, 0.07),
        turn=draw_around(generator, 0, 0.03),
        gain=float(np.exp(draw_around(generator, -0.02, 0.21))),
        offset=draw_around(generator, 0.03 * ap, 0.085),
        shade=draw_around(generator, 0, 0.09),
        grain=abs(draw_around(generator, 0.003, 0.004)),
        margin=tuple(generator.uniform(0, 0.08, 4).tolist()) if collimated else (0.0,) * 4,
        projection=1.08 if ap else 1.0,
        devices=int(generator.integers(0, 4)) if ap else int(generator.random() < 0.08),
        bubble=max(0.0, draw_around(generator, 0.03, 0.05)),
    )


def make_plane(shot: Shot, size: int) -> Plane:
    """Where each pixel of a (size, size) image lies in the patient."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) / shot.zoom
    u, v = np.meshgrid(axis, axis)
    cosine, sine = math.cos(shot.angle), math.sin(shot.angle)
    x = cosine * u + sine * v - shot.shift[0]
    return Plane(x, cosine * v - sine * u - shot.shift[1], np.abs(x))


def to_pixels(
    boxes: Sequence[tuple[float, float, float, float]], shots: Sequence[Shot], size: int
) -> NDArray[np.float64]:
    """Boxes (x0, y0, x1, y1) of patients in their shots as x, y, width and height in pixels, cut at the image's edge:
    (N, 4) float64.
    """
    corners = np.array(boxes).reshape(-1, 4)
    shift, angle = np.array([shot.shift for shot in shots]).reshape(-1, 2), np.array([shot.angle for shot in shots])
    zoom = np.array([shot.zoom for shot in shots])[:, None]
    x = corners[:, [0, 2, 0, 2]] + shift[:, :1]  # (N, 4)
    y = corners[:, [1, 1, 3, 3]] + shift[:, 1:]  # (N, 4)
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    u = ((cosine * x - sine * y) * zoom + 1) / 2 * size
    v = ((sine * x + cosine * y) * zoom + 1) / 2 * size
    left, right = np.clip([u.min(axis=1), u.max(axis=1)], 0, size)
    above, below = np.clip([v.min(axis=1), v.max(axis=1)], 0, size)
    return np.stack([left, above, right - left, below - above], axis=1)


def expose(density: Field, shot: Shot, plane: Plane, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Density to film: devices, exposure, grain, collimation; (H, W) uint8."""
    density = density + _devices(shot, plane, generator)
    film: Field = (density * (1 + shot.shade * plane.x) - 0.52) * (1.05 * shot.gain) + (shot.offset - 0.06)
    film = 0.06 + 0.86 * soft(film, 0.21)  # toe and shoulder of the film's curve
    film = film + shot.grain * generator.standard_normal(film.shape, dtype=np.float32)
    left, right, top, bottom = (round(share * len(film)) for share in shot.margin)
    film[:, :left], film[:top], film[:, len(film) - right :], film[len(film) - bottom :] = 0.02, 0.02, 0.02, 0.02
    return (np.clip(film, 0, 1) * 255 + 0.5).astype(np.uint8)


def _devices(shot: Shot, plane: Plane, generator: np.random.Generator) -> Field:
    """A line that bends down from the neck, and electrodes: bright, thin, and no finding."""
    drawn = np.zeros_like(plane.x)
    for device in range(shot.devices):
        x, y = generator.uniform((-0.6, -0.5), (0.6, 0.5)).tolist()
        if device == 0:
            curve = plane.x - 0.12 * np.sin(3 * plane.y + 4 * x) - 0.2 * x
            drawn += 0.25 * hill(curve, 0.014) * soft(y - plane.y, 0.02)
        else:
            drawn += 0.30 * soft(0.03 - np.hypot(plane.x - x, plane.y - y), 0.006)
    return drawn
