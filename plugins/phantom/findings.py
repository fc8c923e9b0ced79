"""The 14 findings: where each lies, how strong it is, and how it looks.

A finding is placed from a random generator of its own, so that its box is known without drawing and no finding moves
another. Most add to the chest's density; an enlarged heart and emphysema change the anatomy instead. None depends on
a side: a mirrored image keeps its labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .anatomy import LUNG_X, Anatomy, lung_mask
from .drawing import Plane, blob, cloud, draw_around, hill, soft

if TYPE_CHECKING:
    from .drawing import Field

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in the patient's coordinates."""


@dataclass(frozen=True)
class Place:
    """Where one finding lies and how much of it there is."""

    side: int
    """-1: at the image's left; 1: right; 0: both or between."""
    x: float
    y: float
    size: float
    strength: float
    """How much density it adds, or how much it changes."""
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Scene:
    """What a finding is drawn into."""

    anatomy: Anatomy
    plane: Plane
    lungs: Field
    """How much of each pixel is aerated lung."""
    density: Field
    generator: np.random.Generator


@dataclass(frozen=True)
class Look:
    """How a finding is placed, and how it is drawn or what it makes of the anatomy."""

    conspicuity: float
    """Strength of a typical one, in the terms of its `place`."""
    place: Callable[[np.random.Generator, Anatomy, float], Place]
    draw: Callable[[Scene, Place], Field] | None = None
    """The density that it adds, (H, W)."""
    alter: Callable[[Anatomy, Place], Anatomy] | None = None


def place_finding(label: str, generator: np.random.Generator, anatomy: Anatomy, difficulty: float) -> Place:
    """Place one finding; its strength is log-normal about its kind's, divided by `difficulty`."""
    look = LOOKS[label]
    spread = float(np.exp(draw_around(generator, 0, 0.38)))
    return look.place(generator, anatomy, look.conspicuity * spread / difficulty)


def _around(x: float, y: float, rx: float, ry: float) -> Box:
    return (x - rx, y - ry, x + rx, y + ry)


def _on_side(side: int, near: float, above: float, far: float, below: float) -> Box:
    """A box between two distances from the spine, on one side."""
    return (near, above, far, below) if side > 0 else (-far, above, -near, below)


def _draw_side(generator: np.random.Generator) -> int:
    return 1 if generator.random() < 0.5 else -1


def _within_lung(generator: np.random.Generator, anatomy: Anatomy, low: float, high: float) -> tuple[int, float, float]:
    """A side and a place inside its lung; `low` and `high` are shares of the way from apex to dome."""
    side = _draw_side(generator)
    along = generator.uniform(low, high)
    y = anatomy.top + along * (anatomy.base - anatomy.dome - anatomy.top)
    outward = generator.uniform(-0.45, 0.75) * anatomy.width * (0.55 + 0.4 * along)
    return side, float(side * (LUNG_X + outward)), float(y)


def _anywhere(
    smallest: float, largest: float, low: float, high: float, margin: float
) -> Callable[[np.random.Generator, Anatomy, float], Place]:
    """Placement of something round in one lung, with a radius from `smallest` to `largest`; see `_within_lung`."""

    def place(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
        side, x, y = _within_lung(generator, anatomy, low, high)
        radius = float(generator.uniform(smallest, largest))
        return Place(side, x, y, radius, strength, (_around(x, y, margin * radius, margin * radius),))

    return place


# --- opacities -------------------------------------------------------------------------------------------------------


def _distance(scene: Scene, at: Place) -> Field:
    """Distance from the finding's middle, in its sizes."""
    distance: Field = np.hypot(scene.plane.x - at.x, scene.plane.y - at.y) / at.size
    return distance


def _mottle(scene: Scene, mean: float, spread: float, slope: float) -> Field:
    """An uneven texture about `mean`, never below 0."""
    texture: Field = np.clip(mean + spread * cloud(scene.generator, scene.plane.size, slope), 0, 2)
    return texture


def _draw_ball(scene: Scene, at: Place) -> Field:
    """A round opacity with a clear edge."""
    distance = _distance(scene, at)
    ball = soft(1 - distance, 0.09) * (0.75 + 0.25 * hill(distance, 1.0))
    return at.strength * ball * (0.4 + 0.6 * scene.lungs)


def _draw_infiltration(scene: Scene, at: Place) -> Field:
    """Ill-defined patches of haze without borders."""
    patches = np.zeros_like(scene.lungs)
    for dx, dy in at.size * scene.generator.uniform(-0.5, 0.5, (3, 2)):
        patches += blob(scene.plane, at.x + dx, at.y + dy, 0.7 * at.size)
    texture = _mottle(scene, 0.75, 0.40, 1.6)
    return 0.5 * at.strength * patches * texture * scene.lungs


def _draw_pneumonia(scene: Scene, at: Place) -> Field:
    """A lobe filled in patches, with air left in between."""
    away = _distance(scene, at)
    patches = soft(0.35 + cloud(scene.generator, scene.plane.size, 1.3), 0.30)
    filled: Field = soft(1 - away, 0.16) * (0.2 + 0.8 * patches) * (0.15 + 0.85 * scene.lungs)
    return at.strength * filled


def _draw_consolidation(scene: Scene, at: Place) -> Field:
    """A dense lobe that ends sharply at its fissure."""
    filled = blob(scene.plane, at.x, at.y, 0.95 * at.size, 0.85 * at.size)
    slope = 0.25 * at.side
    fissure = soft(scene.plane.y - (at.y - 0.35 * at.size) - slope * (scene.plane.x - at.x), 0.016)
    return at.strength * filled * fissure * (0.15 + 0.85 * scene.lungs)


def _place_atelectasis(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    side, x, y = _within_lung(generator, anatomy, 0.70, 0.95)
    length = float(generator.uniform(0.15, 0.27))
    return Place(side, x, y, length, strength, (_around(x, y + 0.04, 1.05 * length, 0.13),))


def _draw_atelectasis(scene: Scene, at: Place) -> Field:
    """Plates of collapsed lung over the diaphragm, with a little haze about them."""
    along = scene.plane.x - at.x
    across = scene.plane.y - at.y - float(scene.generator.uniform(-0.25, 0.25)) * along
    plates = hill(across, 0.030) + 0.8 * hill(across - 0.085, 0.024) + 0.40 * hill(across - 0.05, 0.07)
    reach = hill(np.square(along / at.size), 1.0)
    collapsed: Field = reach * plates * (0.2 + 0.8 * scene.lungs)
    return at.strength * collapsed


def _place_edema(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    y, size = float(generator.uniform(-0.10, 0.08)), float(generator.uniform(0.24, 0.34))
    boxes = tuple(_on_side(side, 0.05, y - 1.2 * size, 0.27 + 0.9 * size, y + 1.2 * size) for side in (-1, 1))
    return Place(0, 0.0, y, size, strength, boxes)


def _draw_edema(scene: Scene, at: Place) -> Field:
    """Haze about both hila, like a bat's wings, in which the vessels blur."""
    across = (scene.plane.side - 0.27) / (0.75 * at.size)
    wings = hill(across, 1.0) * hill(scene.plane.y - at.y, at.size)
    texture = _mottle(scene, 0.85, 0.30, 1.3)
    return at.strength * wings * texture * scene.lungs


def _place_fibrosis(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    y = anatomy.base - anatomy.dome - float(generator.uniform(0.10, 0.35))
    size = float(generator.uniform(0.24, 0.32))
    boxes = tuple(_on_side(side, 0.20, y - 1.1 * size, 0.84, y + 1.1 * size) for side in (-1, 1))
    return Place(0, 0.0, y, size, strength, boxes)


def _draw_fibrosis(scene: Scene, at: Place) -> Field:
    """A net of fine lines in the outer and lower parts of both lungs."""
    net = hill(cloud(scene.generator, scene.plane.size, 0.5), 0.30) + hill(
        cloud(scene.generator, scene.plane.size, 0.5), 0.30
    )
    zone = hill(scene.plane.side - 0.54, 0.22) * hill(scene.plane.y - at.y, at.size)
    return at.strength * zone * (net - 0.25) * scene.lungs


def _place_hernia(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    x, y = float(generator.uniform(-0.06, 0.12)), anatomy.base - float(generator.uniform(0.20, 0.30))
    size = float(generator.uniform(0.12, 0.18))
    return Place(0, x, y, size, strength, (_around(x, y, 1.35 * size, 1.15 * size),))


def _draw_hernia(scene: Scene, at: Place) -> Field:
    """The stomach behind the heart: a rounded wall, gas above, a level of fluid below."""
    x, y = scene.plane.x - at.x, scene.plane.y - at.y
    distance = np.hypot(x * (0.85 / at.size), y / at.size)
    gas = soft(1 - distance, 0.06) * soft((0.1 * at.size) - y, 0.012)
    return at.strength * (0.35 * hill(distance - 1, 0.14) - gas)


# --- the pleura ------------------------------------------------------------------------------------------------------


def _place_effusion(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    side = _draw_side(generator)
    height = float(np.clip(strength, 0.05, 0.9))
    reach = np.sqrt(np.clip((anatomy.dome - 0.35 * height) / (anatomy.dome + 0.65 * height), 0, 1))
    near = LUNG_X + anatomy.width * (reach - 0.15) if reach > 0 else 0.10
    box = _on_side(side, near, anatomy.base - height - 0.03, LUNG_X + anatomy.width + 0.03, anatomy.base + 0.05)
    return Place(side, float(near), anatomy.base, height, strength, (box,))


def _draw_effusion(scene: Scene, at: Place) -> Field:
    """Fluid that fills the costophrenic angle and rises along the wall: a meniscus."""
    outward = np.clip((at.side * scene.plane.x - LUNG_X) / scene.anatomy.width, 0, 1)
    level = at.y - at.size * (0.35 + 0.65 * np.square(outward))
    return 0.50 * soft(scene.plane.y - level, 0.022) * soft(at.side * scene.plane.x - at.x, 0.02) * scene.lungs


def _place_pneumothorax(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    side = _draw_side(generator)
    width = float(np.clip(strength, 0.05, 0.36))
    bottom = anatomy.top + float(generator.uniform(0.5, 0.85)) * (anatomy.base - anatomy.top)
    box = _on_side(side, 0.12, anatomy.top - 0.02, LUNG_X + anatomy.width + 0.03, bottom + 0.05)
    return Place(side, 0.0, bottom, width, strength, (box,))


def _draw_pneumothorax(scene: Scene, at: Place) -> Field:
    """Air between lung and wall: a dark rim without markings, and inside it the thin line of the pleura."""
    anatomy, plane = scene.anatomy, scene.plane
    lung, inner = lung_mask(anatomy, plane), lung_mask(anatomy, plane, at.size)
    upper = soft(at.y - plane.y, 0.05) * soft(at.side * plane.x - 0.14, 0.02)
    line = hill(inner - 0.5, 0.35) * lung * upper
    empty = 0.86 * anatomy.build - anatomy.air - 0.08  # ribs stay visible, vessels do not
    emptied: Field = np.clip(lung - inner, 0, 1) * np.minimum(empty - scene.density, 0)
    return 0.75 * emptied * upper + 0.13 * line


def _place_thickening(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    side = _draw_side(generator)
    y = float(generator.uniform(anatomy.top + 0.25, anatomy.base - 0.35))
    length = float(generator.uniform(0.22, 0.42))
    thickness = float(np.clip(strength, 0.02, 0.20))
    box = _on_side(side, 0.40, y - 1.05 * length, LUNG_X + anatomy.width + 0.04, y + 1.05 * length)
    return Place(side, 0.0, y, length, thickness, (box,))


def _draw_thickening(scene: Scene, at: Place) -> Field:
    """An uneven bright band along the wall."""
    inner = lung_mask(scene.anatomy, scene.plane, at.strength)
    band: Field = np.clip(lung_mask(scene.anatomy, scene.plane) - inner, 0, 1)
    band = band * soft(at.side * scene.plane.x - 0.42, 0.04)
    uneven = _mottle(scene, 0.9, 0.35, 1.3)
    return 0.60 * band * hill(np.square((scene.plane.y - at.y) / at.size), 1.0) * uneven


# --- what changes the anatomy ----------------------------------------------------------------------------------------


def _place_heart(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    wider = float(np.clip(strength, 0.01, 0.24))
    half, y = anatomy.heart + wider, anatomy.base - 0.30
    return Place(0, 0.0, y, wider, strength, ((-0.85 * half, y - 1.1 * half, 1.45 * half, anatomy.base),))


def _enlarge(anatomy: Anatomy, at: Place) -> Anatomy:
    """A large heart."""
    return replace(anatomy, heart=anatomy.heart + at.size)


def _place_emphysema(generator: np.random.Generator, anatomy: Anatomy, strength: float) -> Place:
    amount = float(np.clip(strength, 0.1, 2.6))
    below = anatomy.base + 0.08 * amount + 0.05
    boxes = tuple(_on_side(side, 0.05, anatomy.top, LUNG_X + anatomy.width + 0.06, below) for side in (-1, 1))
    return Place(0, 0.0, 0.0, amount, strength, boxes)


def _inflate(anatomy: Anatomy, at: Place) -> Anatomy:
    """Large dark lungs, a low flat diaphragm, a narrow heart."""
    return replace(
        anatomy,
        base=anatomy.base + 0.03 * at.size,
        dome=anatomy.dome * max(0.2, 1 - 0.35 * at.size),
        heart=anatomy.heart - 0.016 * at.size,
        air=anatomy.air + 0.04 * at.size,
    )


LOOKS = {
    "Atelectasis": Look(0.52, _place_atelectasis, _draw_atelectasis),
    "Cardiomegaly": Look(0.16, _place_heart, alter=_enlarge),
    "Effusion": Look(0.85, _place_effusion, _draw_effusion),
    "Infiltration": Look(0.45, _anywhere(0.18, 0.30, 0.2, 0.95, 1.25), _draw_infiltration),
    "Mass": Look(0.62, _anywhere(0.11, 0.18, 0.15, 0.95, 1.1), _draw_ball),
    "Nodule": Look(1.0, _anywhere(0.06, 0.09, 0.15, 0.95, 1.2), _draw_ball),
    "Pneumonia": Look(0.42, _anywhere(0.20, 0.30, 0.4, 0.95, 1.1), _draw_pneumonia),
    "Pneumothorax": Look(0.34, _place_pneumothorax, _draw_pneumothorax),
    "Consolidation": Look(0.75, _anywhere(0.22, 0.32, 0.25, 0.9, 1.2), _draw_consolidation),
    "Edema": Look(0.36, _place_edema, _draw_edema),
    "Emphysema": Look(1.7, _place_emphysema, alter=_inflate),
    "Fibrosis": Look(0.11, _place_fibrosis, _draw_fibrosis),
    "Pleural_Thickening": Look(0.17, _place_thickening, _draw_thickening),
    "Hernia": Look(0.42, _place_hernia, _draw_hernia),
}
