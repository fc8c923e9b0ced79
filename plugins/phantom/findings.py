"""The 14 findings: where each lies, how strong it is, and how it looks.

A finding is placed once, from a generator of its own, so that its box is known without drawing and no finding moves
another. Drawing adds to the density; three findings change the anatomy instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .anatomy import LUNG_X, Anatomy, Plane, blob, cloud, lung_mask, soft

if TYPE_CHECKING:
    from .anatomy import Field

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in the patient's coordinates."""


@dataclass(frozen=True)
class Place:
    """Where one finding lies and how much of it there is."""

    side: int
    """-1: at the image's left."""
    x: float
    y: float
    size: float
    strength: float
    """Conspicuity: 1 is typical, under 0.3 hardly to be seen."""
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Look:
    """How a finding is placed and drawn."""

    place: Callable[[np.random.Generator, Anatomy, float], Place]
    draw: Callable[[Scene, Place], Field] | None = None
    """The density that it adds, (H, W)."""
    alter: Callable[[Anatomy, Place], Anatomy] | None = None
    """What it makes of the anatomy."""


@dataclass(frozen=True)
class Scene:
    """What a finding is drawn into."""

    anatomy: Anatomy
    plane: Plane
    lungs: Field
    density: Field
    generator: np.random.Generator


TYPICAL = 1.6
"""Strength at difficulty 1: chosen so that, trained for minutes, weak networks miss much and strong ones little."""


def place(label: str, generator: np.random.Generator, anatomy: Anatomy, difficulty: float) -> Place:
    """Place a finding; its strength is log-normal about its kind's, divided by the difficulty."""
    spread = float(np.exp(0.35 * np.clip(generator.standard_normal(), -2, 2)))
    return LOOKS[label].place(generator, anatomy, TYPICAL * spread / difficulty)


def _around(x: float, y: float, rx: float, ry: float) -> Box:
    return (x - rx, y - ry, x + rx, y + ry)


def _in_lung(generator: np.random.Generator, anatomy: Anatomy, low: float, high: float) -> tuple[int, float, float]:
    """A side and a place inside its lung; `low` and `high` are shares of the way from apex to base."""
    side = int(generator.choice((-1, 1)))
    along = generator.uniform(low, high)
    y = anatomy.top + along * (anatomy.base - anatomy.dome - anatomy.top)
    x = side * (
        LUNG_X + 0.06 * side * (side > 0) + generator.uniform(-0.5, 0.55) * anatomy.width * (0.55 + 0.4 * along)
    )
    return side, float(x), float(y)


def _round(
    low: float, high: float, reach: tuple[float, float] = (0.15, 0.95)
) -> Callable[[np.random.Generator, Anatomy, float], Place]:
    """Something round in a lung with a radius between `low` and `high`."""

    def placed(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
        side, x, y = _in_lung(generator, anatomy, *reach)
        radius = float(generator.uniform(low, high))
        return Place(side, x, y, radius, strength, (_around(x, y, 1.1 * radius, 1.1 * radius),))

    return placed


# --- opacities -------------------------------------------------------------------------------------------------------


def _ball(contrast: float) -> Callable[[Scene, Place], Field]:
    """A round opacity with a clear edge, denser in its middle."""

    def draw(scene: Scene, at: Place) -> Field:
        distance = np.hypot(scene.plane.x - at.x, (scene.plane.y - at.y) * 1.08) / at.size
        body = soft(1 - distance, 0.10) * (0.75 + 0.25 * np.exp(-(distance**2)))
        return np.asarray(contrast * min(at.strength, 2.2) * body, dtype=np.float32)

    return draw


def _infiltration(scene: Scene, at: Place) -> Field:
    """Ill-defined patches of haze with streaks, without borders."""
    patches = sum(
        blob(scene.plane, at.x + at.size * dx, at.y + at.size * dy, 0.7 * at.size)
        for dx, dy in scene.generator.uniform(-0.7, 0.7, (4, 2))
    )
    texture = np.clip(0.75 + 0.45 * cloud(scene.generator, scene.plane.shape, 1.7), 0, 2)
    return np.asarray(0.20 * at.strength * patches * texture * scene.lungs, dtype=np.float32)


def _pneumonia(scene: Scene, at: Place) -> Field:
    """A lobe filled in patches, with air bronchograms branching through it."""
    patch = soft(1 - np.hypot((scene.plane.x - at.x) / at.size, (scene.plane.y - at.y) / (0.9 * at.size)), 0.22)
    holes = 0.75 + 0.45 * cloud(scene.generator, scene.plane.shape, 1.5)
    return np.asarray(
        0.44 * at.strength * patch * np.clip(holes * 1.1, 0.25, 1.2) * (0.2 + 0.8 * scene.lungs), dtype=np.float32
    )


def _consolidation(scene: Scene, at: Place) -> Field:
    """A dense lobe that ends sharply at its fissure."""
    region = blob(scene.plane, at.x, at.y, 1.1 * at.size, at.size)
    fissure = soft(scene.plane.y - (at.y - 0.35 * at.size) - 0.25 * at.side * (scene.plane.x - at.x), 0.018)
    return np.asarray(0.60 * at.strength * region * fissure * (0.15 + 0.85 * scene.lungs), dtype=np.float32)


def _atelectasis_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    side, x, y = _in_lung(generator, anatomy, 0.68, 0.98)
    length = float(generator.uniform(0.15, 0.28))
    return Place(side, x, y, length, strength, (_around(x, y + 0.02, length, 0.09),))


def _atelectasis(scene: Scene, at: Place) -> Field:
    """Plates of collapsed lung over the diaphragm, with a little haze under them."""
    slope = scene.generator.uniform(-0.25, 0.25)
    along, across = scene.plane.x - at.x, scene.plane.y - at.y - slope * (scene.plane.x - at.x)
    reach = np.exp(-((along / at.size) ** 4))
    plates = np.exp(-((across / 0.022) ** 2)) + 0.8 * np.exp(-(((across - 0.075) / 0.018) ** 2))
    haze = 0.35 * np.exp(-(((across - 0.08) / 0.09) ** 2))
    return np.asarray(0.36 * at.strength * reach * (plates + haze) * (0.2 + 0.8 * scene.lungs), dtype=np.float32)


def _edema_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    y = float(generator.uniform(-0.12, 0.06))
    size = float(generator.uniform(0.24, 0.34))
    boxes = tuple(_around(side * 0.30, y, 0.8 * size, size) for side in (-1, 1))
    return Place(0, 0.0, y, size, strength, boxes)


def _edema(scene: Scene, at: Place) -> Field:
    """Haze about both hila like a bat's wings, with blurred vessels."""
    wings = np.exp(
        -(((np.abs(scene.plane.x) - 0.26) / (0.75 * at.size)) ** 2) - ((scene.plane.y - at.y) / at.size) ** 2
    )
    texture = np.clip(0.85 + 0.35 * cloud(scene.generator, scene.plane.shape, 1.7), 0, 2)
    return np.asarray(0.34 * at.strength * wings * texture * scene.lungs, dtype=np.float32)


def _fibrosis_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    y = anatomy.base - anatomy.dome - float(generator.uniform(0.05, 0.30))
    boxes = tuple(_around(side * 0.50, y, 0.26, 0.28) for side in (-1, 1))
    return Place(0, 0.0, float(y), 0.28, strength, boxes)


def _fibrosis(scene: Scene, at: Place) -> Field:
    """A net of fine lines in the outer and lower lungs."""
    net = sum(np.exp(-((cloud(scene.generator, scene.plane.shape, 1.0) / 0.28) ** 2)) for _ in range(2))
    zone = np.exp(-(((np.abs(scene.plane.x) - 0.52) / 0.24) ** 2) - ((scene.plane.y - at.y) / at.size) ** 2)
    return np.asarray(0.19 * at.strength * zone * (net - 0.25) * scene.lungs, dtype=np.float32)


def _hernia_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    x, y = float(generator.uniform(-0.02, 0.10)), anatomy.base - float(generator.uniform(0.13, 0.22))
    size = float(generator.uniform(0.13, 0.19))
    return Place(0, x, y, size, strength, (_around(x, y, 1.1 * size, size),))


def _hernia(scene: Scene, at: Place) -> Field:
    """The stomach behind the heart: a rounded wall, gas above, a level of fluid below."""
    distance = np.hypot((scene.plane.x - at.x) / 1.1, (scene.plane.y - at.y) / 0.9) / at.size
    wall = np.exp(-(((distance - 1) / 0.16) ** 2))
    gas = soft(1 - distance, 0.06) * soft(at.y - scene.plane.y, 0.012)
    return np.asarray(min(at.strength, 2.0) * (0.10 * wall - 0.17 * gas), dtype=np.float32)


# --- the pleura ------------------------------------------------------------------------------------------------------


def _effusion_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    side = int(generator.choice((-1, 1)))
    height = float(np.clip(0.34 * strength * generator.uniform(0.7, 1.3), 0.10, 0.8))
    y = anatomy.base - anatomy.dome * 0.3
    box = (LUNG_X - anatomy.width, y - height - 0.10, LUNG_X + anatomy.width + 0.02, anatomy.base + 0.06)
    if side < 0:
        box = (-box[2], box[1], -box[0], box[3])
    return Place(side, side * LUNG_X, y, height, strength, (box,))


def _effusion(scene: Scene, at: Place) -> Field:
    """Fluid that fills the angle and rises at the wall: a meniscus."""
    outward = np.clip((at.side * scene.plane.x - LUNG_X) / scene.anatomy.width, -1.2, 1.2)
    level = at.y + 0.02 - at.size * (0.62 + 0.42 * outward + 0.28 * outward**4)
    fluid = soft(scene.plane.y - level, 0.028) * soft(at.side * scene.plane.x - 0.10, 0.03)
    filled = fluid * _lung_wall(scene, at.side, 0.10)
    return np.asarray(0.42 * filled, dtype=np.float32) * scene.lungs


def _pneumothorax_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    side = int(generator.choice((-1, 1)))
    width = float(np.clip(0.27 * strength, 0.10, 0.55))
    bottom = anatomy.top + float(generator.uniform(0.55, 0.95)) * (anatomy.base - anatomy.top)
    box = (LUNG_X - 0.4 * anatomy.width, anatomy.top, LUNG_X + anatomy.width, bottom)
    if side < 0:
        box = (-box[2], box[1], -box[0], box[3])
    return Place(side, side * LUNG_X, bottom, width, strength, (box,))


def _pneumothorax(scene: Scene, at: Place) -> Field:
    """Air between lung and wall: a dark rim without markings, inside it the thin line of the pleura."""
    anatomy, plane = scene.anatomy, scene.plane
    shrunk = replace(anatomy, width=anatomy.width - 0.75 * at.size, top=anatomy.top + 0.9 * at.size)
    lung = lung_mask(shrunk, plane)
    upper = soft(at.y - plane.y, 0.10) * soft(at.side * plane.x - LUNG_X + 0.30, 0.06)
    rim = np.clip(scene.lungs - lung, 0, 1) * upper
    outline = np.exp(-(((lung - 0.5) / 0.28) ** 2)) * upper * scene.lungs
    emptied = rim * (0.62 - anatomy.lung - scene.density)  # the markings go, and it is darker than lung
    return np.asarray(emptied + 0.15 * outline, dtype=np.float32)


def _thickening_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    side = int(generator.choice((-1, 1)))
    y = float(generator.uniform(anatomy.top + 0.25, anatomy.base - 0.35))
    length = float(generator.uniform(0.20, 0.42))
    x = side * (LUNG_X + 0.86 * anatomy.width)
    return Place(side, x, y, length, strength, (_around(x, y, 0.10, length),))


def _thickening(scene: Scene, at: Place) -> Field:
    """An uneven bright band along the wall."""
    inner = replace(
        scene.anatomy, width=scene.anatomy.width - min(0.085 * at.strength, 0.16), top=scene.anatomy.top + 0.02
    )
    rim = np.clip(scene.lungs - lung_mask(inner, scene.plane), 0, 1) * soft(at.side * scene.plane.x - LUNG_X, 0.04)
    reach = np.exp(-(((scene.plane.y - at.y) / at.size) ** 4))
    uneven = np.clip(0.9 + 0.4 * cloud(scene.generator, scene.plane.shape, 1.3), 0.2, 1.6)
    return np.asarray(0.65 * rim * reach * uneven, dtype=np.float32)


def _lung_wall(scene: Scene, side: int, width: float) -> Field:
    """1 on one side of the chest, to its wall."""
    return soft(side * scene.plane.x, width) * soft(0.99 - np.abs(scene.plane.x), 0.03)


# --- what changes the anatomy ----------------------------------------------------------------------------------------


def _heart_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    wider = float(np.clip(0.14 * strength, 0.04, 0.28))
    half = anatomy.heart + wider
    y = anatomy.base - 0.26
    return Place(0, 0.11, y, wider, strength, ((0.11 - half, y - 0.30, 0.15 + half, y + 0.30),))


def _emphysema_place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    amount = float(np.clip(1.25 * strength, 0.3, 2.6))
    boxes = tuple(_around(side * LUNG_X, (anatomy.top + anatomy.base) / 2, anatomy.width, 0.62) for side in (-1, 1))
    return Place(0, 0.0, 0.0, amount, strength, boxes)


def _inflate(anatomy: Anatomy, at: Place) -> Anatomy:
    """Large dark lungs, a low flat diaphragm, a narrow heart."""
    return replace(
        anatomy,
        base=anatomy.base + 0.055 * at.size,
        dome=anatomy.dome * max(0.25, 1 - 0.38 * at.size),
        heart=anatomy.heart - 0.016 * at.size,
        lung=anatomy.lung + 0.035 * at.size,
    )


LOOKS = {
    "Atelectasis": Look(_atelectasis_place, _atelectasis),
    "Cardiomegaly": Look(_heart_place, alter=lambda anatomy, at: replace(anatomy, heart=anatomy.heart + at.size)),
    "Effusion": Look(_effusion_place, _effusion),
    "Infiltration": Look(_round(0.18, 0.30), _infiltration),
    "Mass": Look(_round(0.11, 0.18), _ball(0.46)),
    "Nodule": Look(_round(0.055, 0.09), _ball(0.62)),
    "Pneumonia": Look(_round(0.18, 0.28, (0.35, 0.95)), _pneumonia),
    "Pneumothorax": Look(_pneumothorax_place, _pneumothorax),
    "Consolidation": Look(_round(0.18, 0.26, (0.25, 0.9)), _consolidation),
    "Edema": Look(_edema_place, _edema),
    "Emphysema": Look(_emphysema_place, alter=_inflate),
    "Fibrosis": Look(_fibrosis_place, _fibrosis),
    "Pleural_Thickening": Look(_thickening_place, _thickening),
    "Hernia": Look(_hernia_place, _hernia),
}
