"""The chest of a phantom patient, and the picture taken of it.

Places are in the patient's own coordinates: x from -1 to 1 from the image's left to its right, y from -1 (top) to 1.
Values are densities: 0 is air, 1 is bone or metal, bright on the film.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.floating[Any]]

LUNG_X = 0.44
"""Distance of a lung's middle from the spine."""


@dataclass(frozen=True)
class Anatomy:
    """What belongs to the patient, and what findings and breathing make of it."""

    width: float
    """Half width of a lung."""
    top: float
    """y of the lungs' apex."""
    base: float
    """y of the diaphragm's domes."""
    dome: float
    """How much the diaphragm's middle stands above its edge."""
    heart: float
    """Half width of the heart."""
    body: float
    """Half width of the chest with its soft tissue."""
    ribs: float
    """Rib pairs a unit of y."""
    tilt: float
    """How steeply ribs fall to the side."""
    lung: float
    """Density of the lungs, less than the soft tissue's."""
    bone: float
    """Contrast of ribs and spine."""
    breast: float
    """Density of breast shadows."""


@dataclass(frozen=True)
class Shot:
    """What belongs to the image: how the patient stood and how the film was exposed."""

    shift: tuple[float, float]
    angle: float
    zoom: float
    gain: float
    offset: float
    gamma: float
    shade: float
    """Exposure's slope from left to right."""
    grain: float
    """Standard deviation of noise."""
    margin: tuple[float, float, float, float]
    """Collimation: black at left, right, top and bottom, as shares of the image."""
    projection: float
    """Magnification of heart and mediastinum: more in AP."""
    devices: int
    """Lines and electrodes on the patient."""


def draw_anatomy(generator: np.random.Generator, sex: str, age: int) -> Anatomy:
    """A patient."""
    old = (age - 47) / 17

    def around(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(generator.standard_normal(), -2.2, 2.2))

    return Anatomy(
        width=around(0.34, 0.022),
        top=around(-0.80, 0.04),
        base=around(0.42, 0.045),
        dome=around(0.17, 0.03),
        heart=around(0.27 + 0.008 * old, 0.022),
        body=around(1.04, 0.10),
        ribs=around(5.4, 0.45),
        tilt=around(0.34, 0.06),
        lung=around(0.37, 0.03),
        bone=around(0.085 - 0.006 * old, 0.018),
        breast=max(0.0, around(0.07, 0.04)) if sex == "F" and age > 14 else 0.0,
    )


def draw_shot(generator: np.random.Generator, view: str) -> Shot:
    """An image; AP films are taken in bed, with more devices, less breath and a larger heart."""
    ap = view == "AP"

    def around(spread: float, mean: float = 0.0) -> float:
        return float(mean + spread * np.clip(generator.standard_normal(), -2.2, 2.2))

    return Shot(
        shift=(around(0.035), around(0.04)),
        angle=around(0.03),
        zoom=around(0.05, 0.97),
        gain=around(0.12, 1.0),
        offset=around(0.07, -0.03 + 0.04 * ap),
        gamma=float(np.exp(around(0.20, 0.0))),
        shade=around(0.07),
        grain=float(abs(around(0.006, 0.008))),
        margin=(0.0, 0.0, 0.0, 0.0) if generator.random() < 0.72 else tuple(generator.uniform(0, 0.09, 4).tolist()),
        projection=1.07 if ap else 1.0,
        devices=int(generator.integers(0, 4)) if ap else int(generator.random() < 0.08),
    )


def breathe(anatomy: Anatomy, generator: np.random.Generator, view: str) -> Anatomy:
    """The anatomy at the moment of the image: how deep the breath is."""
    depth = float(np.clip(generator.standard_normal(), -2, 2)) - 0.7 * (view == "AP")
    return replace(anatomy, base=anatomy.base + 0.03 * depth, width=anatomy.width + 0.006 * depth)


# --- the picture -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plane:
    """The image's pixels in the patient's coordinates."""

    x: Field
    y: Field

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W)."""
        return self.x.shape


def make_plane(shot: Shot, size: int) -> Plane:
    """Where each pixel of a (size, size) image lies in the patient."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) / np.float32(shot.zoom)
    u, v = np.meshgrid(axis, axis)
    cosine, sine = np.float32(np.cos(shot.angle)), np.float32(np.sin(shot.angle))
    return Plane(cosine * u + sine * v - np.float32(shot.shift[0]), cosine * v - sine * u - np.float32(shot.shift[1]))


def to_pixels(box: tuple[float, float, float, float], shot: Shot, size: int) -> tuple[float, float, float, float]:
    """A box (x0, y0, x1, y1) of the patient as x, y, width and height in pixels, cut at the image's edge."""
    x = np.array([box[0], box[2], box[0], box[2]]) + shot.shift[0]
    y = np.array([box[1], box[1], box[3], box[3]]) + shot.shift[1]
    cosine, sine = np.cos(shot.angle), np.sin(shot.angle)
    u = ((cosine * x - sine * y) * shot.zoom + 1) / 2 * size
    v = ((sine * x + cosine * y) * shot.zoom + 1) / 2 * size
    left, right = np.clip([u.min(), u.max()], 0, size)
    above, below = np.clip([v.min(), v.max()], 0, size)
    return float(left), float(above), float(right - left), float(below - above)


def soft(distance: Field, width: float) -> Field:
    """1 where `distance` is well above 0, 0 well below, a smooth edge of that width between."""
    z = np.clip(distance / np.float32(width), -8, 8)
    return np.asarray(1 / (1 + np.exp(-z)), dtype=np.float32)


def blob(plane: Plane, x: float, y: float, rx: float, ry: float | None = None) -> Field:
    """A Gaussian hill of height 1."""
    return np.asarray(np.exp(-(((plane.x - x) / rx) ** 2) - ((plane.y - y) / (ry or rx)) ** 2), dtype=np.float32)


def cloud(generator: np.random.Generator, shape: tuple[int, ...], slope: float) -> Field:
    """Noise of unit variance whose amplitude falls with frequency to the power of -slope."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    amplitude = (fx**2 + fy**2 + (1.0 / shape[0]) ** 2) ** (-slope / 2)
    amplitude[0, 0] = 0
    spectrum = amplitude * np.fft.rfft2(generator.standard_normal(shape))
    field = np.fft.irfft2(spectrum, shape)
    return np.asarray(field / field.std(), dtype=np.float32)


def lung_mask(anatomy: Anatomy, plane: Plane) -> Field:
    """How much of each pixel is lung, 0..1: two tapering fields over the domes of the diaphragm."""
    side = np.abs(plane.x)
    height = anatomy.base - anatomy.top
    along = np.clip((plane.y - anatomy.top) / height, 0, 1.3)  # 0 at the apex, 1 at the base
    half = anatomy.width * (0.50 + 0.50 * np.sqrt(np.clip(1.9 * along, 0, 1)))
    middle = LUNG_X - 0.06 * (1 - along)
    across = np.abs(side - middle) / half
    walls = soft(1 - across, 0.07)
    apex = soft(plane.y - anatomy.top - 0.30 * anatomy.width * across**2, 0.03)
    return walls * apex * soft(diaphragm(anatomy, plane) - plane.y, 0.022)


def diaphragm(anatomy: Anatomy, plane: Plane) -> Field:
    """The y of the diaphragm at each x: two domes, the heart's side a little lower."""
    across = (np.abs(plane.x) - LUNG_X) / anatomy.width
    lower = 0.03 * (plane.x > 0)
    return np.asarray(anatomy.base + lower - anatomy.dome * (1 - np.clip(across**2, 0, 1.4)), dtype=np.float32)


def heart_mask(anatomy: Anatomy, shot: Shot, plane: Plane) -> Field:
    """The heart's shadow, 0..1: more to the image's right."""
    half = anatomy.heart * shot.projection
    x = (plane.x - 0.11 - 0.35 * (half - 0.27)) / half
    y = (plane.y - (anatomy.base - 0.26)) / (0.30 + 0.35 * (half - 0.27))
    turned = x * 0.94 - y * 0.34, y * 0.94 + x * 0.34
    return soft(1 - np.sqrt(turned[0] ** 2 + turned[1] ** 2), 0.07)


def chest(anatomy: Anatomy, shot: Shot, plane: Plane, generator: np.random.Generator) -> tuple[Field, Field]:
    """Density of the chest without findings, and its lung mask, both (H, W)."""
    lungs = lung_mask(anatomy, plane)
    heart = heart_mask(anatomy, shot, plane)
    side = np.abs(plane.x)
    trunk = soft(anatomy.body - 0.10 * soft(-plane.y - 0.45, 0.1) - side, 0.05)
    neck = soft(0.30 + np.clip((plane.y + 0.93) * 3.2, 0, 3) - side, 0.06)
    density = 0.05 + 0.59 * trunk * neck
    density += 0.13 * soft(0.17 * shot.projection + 0.04 * plane.y - side, 0.045)  # mediastinum
    density += 0.13 * soft(plane.y - diaphragm(anatomy, plane), 0.03) * trunk  # abdomen
    lungs = lungs * (1 - 0.90 * heart)
    density -= anatomy.lung * lungs
    density += 0.10 * heart * (1 - soft(plane.y - diaphragm(anatomy, plane), 0.04))
    density += anatomy.bone * _bones(anatomy, plane) * (0.35 + 0.65 * lungs)
    density += _vessels(plane, generator) * lungs
    density += anatomy.breast * soft(0.28 - np.hypot(side - 0.5, (plane.y - 0.32) * 0.9), 0.06)
    density += 0.04 * cloud(generator, plane.shape, 1.7) * trunk
    return np.asarray(density, dtype=np.float32), np.asarray(lungs, dtype=np.float32)


def _bones(anatomy: Anatomy, plane: Plane) -> Field:
    """Ribs from behind and in front, the spine with its discs, and the clavicles."""
    side = np.abs(plane.x)
    cage = soft(anatomy.base + 0.22 - plane.y, 0.08) * soft(side - 0.10, 0.04) * soft(0.90 - side, 0.06)
    behind = np.cos(2 * np.pi * anatomy.ribs * (plane.y - anatomy.tilt * (side - 0.15) ** 2 * 1.6 + 0.12 * side))
    front = np.cos(2 * np.pi * anatomy.ribs * 0.92 * (plane.y - anatomy.tilt * side * 1.5) + 1.0)
    ribs = soft(behind - 0.25, 0.12) + 0.45 * soft(front - 0.45, 0.12)
    spine = soft(0.095 - side, 0.02) * (0.9 + 0.5 * soft(np.cos(2 * np.pi * anatomy.ribs * 1.1 * plane.y) + 0.3, 0.2))
    clavicle = (
        blob(plane, 0, 0, 9)
        * np.exp(-(((plane.y - anatomy.top - 0.16 + 0.22 * (side - 0.3)) / 0.032) ** 2))
        * soft(side - 0.1, 0.02)
    )
    return np.asarray(ribs * cage + 1.1 * spine + 0.9 * clavicle, dtype=np.float32)


def _vessels(plane: Plane, generator: np.random.Generator) -> Field:
    """Hila and the markings that branch from them, fading to the edge of the lungs."""
    side = np.abs(plane.x)
    reach = np.exp(-(((side - 0.2) / 0.28) ** 2) - ((plane.y + 0.05) / 0.45) ** 2)
    ridges = 1 - np.abs(cloud(generator, plane.shape, 1.1))
    hila = np.exp(-(((side - 0.22) / 0.07) ** 2) - ((plane.y + 0.06) / 0.13) ** 2)
    return np.asarray(0.045 * ridges * reach + 0.13 * hila, dtype=np.float32)


def expose(density: Field, shot: Shot, plane: Plane, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Density to film: devices, exposure, grain, collimation; (H, W) uint8."""
    film = density + _devices(shot, plane, generator)
    film = film * (1 + shot.shade * plane.x) * shot.gain + shot.offset
    film = np.clip(film, 0, 1) ** shot.gamma + shot.grain * generator.standard_normal(film.shape, dtype=np.float32)
    left, right, top, bottom = (round(share * len(film)) for share in shot.margin)
    film[:, :left], film[:top], film[:, len(film) - right :], film[len(film) - bottom :] = 0.02, 0.02, 0.02, 0.02
    return np.asarray(np.clip(film * 255, 0, 255) + 0.5, dtype=np.uint8)


def _devices(shot: Shot, plane: Plane, generator: np.random.Generator) -> Field:
    """Electrodes, and a line that bends down from the neck: bright, thin, and no finding."""
    drawn = np.zeros(plane.shape, dtype=np.float32)
    for device in range(shot.devices):
        x, y = generator.uniform(-0.6, 0.6), generator.uniform(-0.5, 0.5)
        if device == 0:
            curve = plane.x - (0.12 * np.sin(3 * plane.y + x * 4) + 0.2 * x)
            drawn += 0.22 * np.exp(-((curve / 0.018) ** 2)) * soft(y - plane.y, 0.02)
        else:
            drawn += 0.25 * soft(0.035 - np.hypot(plane.x - x, plane.y - y), 0.008)
    return drawn
