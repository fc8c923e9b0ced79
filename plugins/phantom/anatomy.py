"""The chest of a phantom patient.

Places are in the patient's own coordinates: x from -1 to 1 from the image's left to its right, y from -1 (top) to 1.
Values are densities, what the beam meets: near 0 beside the body, about 0.4 in a lung, 1 in the abdomen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .drawing import Plane, blob, cloud, draw_around, hill, soft

if TYPE_CHECKING:
    from .drawing import Field
    from .film import Shot

LUNG_X = 0.41
"""Distance of a lung's middle from the spine."""


@dataclass(frozen=True)
class Anatomy:
    """What belongs to the patient, and what findings and breathing make of it."""

    width: float
    """Half width of a lung."""
    top: float
    """y of the lungs' apex."""
    base: float
    """y of the costophrenic angles."""
    dome: float
    """How far the diaphragm's domes rise above them."""
    heart: float
    """Half width of the heart."""
    body: float
    """Half width of the trunk."""
    ribs: float
    """Rib pairs a unit of y."""
    tilt: float
    """How steeply ribs fall to the side."""
    air: float
    """How much less dense the lungs are than the trunk."""
    bone: float
    """Contrast of ribs and spine."""
    breast: float
    """Density of breast shadows."""
    build: float
    """Density of the trunk: soft tissue, fat."""


def draw_anatomy(generator: np.random.Generator, sex: str, age: int) -> Anatomy:
    """A patient."""
    old = (age - 47) / 17
    return Anatomy(
        width=draw_around(generator, 0.335, 0.03),
        top=draw_around(generator, -0.75, 0.05),
        base=draw_around(generator, 0.56, 0.055),
        dome=draw_around(generator, 0.19, 0.03),
        heart=draw_around(generator, 0.30 + 0.008 * old, 0.022),
        body=draw_around(generator, 1.06, 0.10),
        ribs=draw_around(generator, 5.2, 0.45),
        tilt=draw_around(generator, 0.34, 0.06),
        air=draw_around(generator, 0.40, 0.05),
        bone=draw_around(generator, 0.070 - 0.008 * old, 0.014),
        breast=max(0.0, draw_around(generator, 0.10, 0.05)) if sex == "F" and age > 14 else 0.0,
        build=draw_around(generator, 0.76, 0.05),
    )


def breathe(anatomy: Anatomy, generator: np.random.Generator, view: str) -> Anatomy:
    """The anatomy at the moment of the image: how deep the breath is, less in bed."""
    depth = draw_around(generator, -0.7 * (view == "AP"), 1.0)
    return replace(anatomy, base=anatomy.base + 0.03 * depth, width=anatomy.width + 0.006 * depth)


# --- the chest -------------------------------------------------------------------------------------------------------


def diaphragm(anatomy: Anatomy, plane: Plane) -> Field:
    """The y of the diaphragm at each pixel's x: two domes, the one under the heart's apex a little lower."""
    across = (plane.side - LUNG_X) / anatomy.width
    limit = np.where(across > 0, np.float32(1.2), np.float32(0.5))  # flat toward the spine
    lower = np.where(plane.x > 0, np.float32(0.03), np.float32(0))
    edge: Field = anatomy.base + lower - anatomy.dome * (1 - np.minimum(np.square(across), limit))
    return edge


def lung_mask(anatomy: Anatomy, plane: Plane, shrink: float = 0.0) -> Field:
    """How much of each pixel is lung, 0..1: two fields with rounded tops over the diaphragm's domes.

    `shrink` moves the outer and upper wall inward.
    """
    middle = anatomy.top + 0.62 * (anatomy.base - anatomy.top)
    outward = plane.side - (LUNG_X - 0.03)
    half = np.where(outward > 0, anatomy.width + 0.05 - shrink, anatomy.width - 0.03).astype(np.float32)
    rise = np.maximum(middle - plane.y, 0) / (middle - anatomy.top - shrink)
    radius = np.square(outward / half) + rise * (0.25 + 0.75 * rise)
    return soft(1 - radius, 0.07) * soft(diaphragm(anatomy, plane) - plane.y, 0.016)


def heart_mask(anatomy: Anatomy, shot: Shot, plane: Plane) -> Field:
    """The heart's shadow, 0..1: a tilted egg whose apex points to the image's right and down."""
    half = anatomy.heart * shot.projection
    x = plane.x - (0.28 * half + shot.turn)
    y = plane.y - (anatomy.base - 0.30)
    along, across = 0.80 * x + 0.60 * y, 0.80 * y - 0.60 * x
    radius = np.square(along / (1.28 * half)) + np.square(across / (0.78 * half + 0.05))
    return soft(1 - radius, 0.10)


def draw_chest(anatomy: Anatomy, shot: Shot, plane: Plane, generator: np.random.Generator) -> tuple[Field, Field]:
    """Density of the chest without findings, and how much of each pixel is aerated lung, both (H, W)."""
    heart = heart_mask(anatomy, shot, plane)
    aerated = lung_mask(anatomy, plane)
    trunk, below = _trunk(anatomy, plane), soft(plane.y - diaphragm(anatomy, plane), 0.02)
    density = anatomy.build * trunk * (0.78 + 0.22 * hill(plane.side, 0.75))
    middle = plane.x - shot.turn
    waist = (0.12 + 0.11 * np.clip(plane.y + 0.45, 0, 0.7)) * shot.projection
    mediastinum = soft(waist - np.abs(middle - 0.02), 0.030)
    density += 0.15 * mediastinum * trunk * soft(plane.y - anatomy.top, 0.10)
    density += 0.08 * blob(plane, 0.11 + shot.turn, anatomy.top + 0.42, 0.075)  # the aortic knob
    density -= 0.07 * hill(middle, 0.04) * soft(-0.28 - plane.y, 0.08)  # the trachea
    density += 0.20 * below * trunk * (0.5 + 0.5 * hill(plane.side, 0.7))
    aerated = aerated * (1 - 0.86 * heart) * (1 - 0.8 * mediastinum)
    upper = 1 - 0.28 * np.clip((plane.y - anatomy.top) / (anatomy.base - anatomy.top), 0, 1)
    density -= anatomy.air * aerated * upper
    density += 0.09 * heart * (1 - below)
    density += anatomy.bone * _bones(anatomy, plane, aerated)
    density += _vessels(plane, generator) * aerated
    if anatomy.breast:
        away = np.hypot(plane.side - 0.47, (plane.y - 0.28) * 0.85)
        density += anatomy.breast * soft(0.30 - away, 0.035)
    if shot.bubble:
        place = np.hypot((plane.x - 0.42) * 0.7, plane.y - (anatomy.base - anatomy.dome + 0.13))
        density -= 0.16 * soft(shot.bubble - place, 0.012) * below
    density += 0.016 * cloud(generator, plane.size, 1.6) * trunk
    return density, aerated


def _trunk(anatomy: Anatomy, plane: Plane) -> Field:
    """The body's outline, 0..1: neck, sloping shoulders, sides, and air between arm and chest."""
    slope = np.maximum(plane.y + 0.93, 0)
    shoulder = 0.24 + 1.1 * np.sqrt(slope) * soft(slope - 0.04, 0.02) + slope
    return soft(np.minimum(shoulder, anatomy.body - 0.10 * soft(plane.y, 0.2)) - plane.side, 0.022)


def _bones(anatomy: Anatomy, plane: Plane, aerated: Field) -> Field:
    """Ribs from behind and in front, the spine with its discs, the clavicles and the humeral heads."""
    side, y = plane.side, plane.y
    turns = 2 * np.pi * anatomy.ribs
    behind = np.cos(turns * (y + 0.10 * side - 1.7 * anatomy.tilt * np.square(np.maximum(side - 0.2, 0))))
    front = np.cos(turns * 0.85 * (y + 0.9 * anatomy.tilt * (0.7 - side)) + 1)
    cage = (0.25 + 0.75 * aerated) * soft(side - 0.12, 0.03) * soft(0.84 - side, 0.03)
    ribs = (soft(behind - 0.35, 0.14) + 0.5 * soft(front - 0.5, 0.12) * soft(y + 0.55, 0.1)) * cage
    ribs *= soft(anatomy.base + 0.08 - y, 0.06)
    spine = soft(0.085 - side, 0.012) * (0.35 + 0.4 * soft(np.cos(turns * 1.15 * y) + 0.4, 0.25))
    line = y - (anatomy.top + 0.20) + 0.24 * np.maximum(side - 0.08, 0) - 0.10 * np.square(side)
    clavicles = hill(line, 0.028) * soft(side - 0.09, 0.012) * soft(0.86 - side, 0.03)
    humeri = soft(0.13 - np.hypot(side - 0.98, y - (anatomy.top + 0.12)), 0.02)
    return ribs + spine + 0.9 * clavicles + 0.9 * humeri


def _vessels(plane: Plane, generator: np.random.Generator) -> Field:
    """Hila, and the markings that branch from them and fade toward the wall."""
    x, y = plane.side - 0.19, plane.y + 0.02
    distance = np.hypot(x, y)
    wander = cloud(generator, plane.size, 2.2)
    branches = np.square(np.square(np.cos(4.5 * np.arctan2(y, x) + 1.8 * wander + 6 * distance)))
    fade = np.exp(-3.6 * distance)
    hila = np.exp(-np.square(x / 0.075) - np.square(y / 0.15))
    markings: Field = 0.11 * branches * fade * soft(distance - 0.08, 0.02) + 0.10 * hila
    return markings
