"""The training choices of Strick et al.: the replicated CheXNet, DACNet and the ViT, as their scripts have them."""

from __future__ import annotations

from collections.abc import Iterable

from harness import Augment, Choice, Float, Int, Recipe, Schedule, hookimpl

CITATION = "Strick et al. 2025, Reproducing and Improving CheXNet (arXiv 2505.06646)"
SPACE: dict[str, Float | Int | Choice] = {
    "lr": Float(1e-6, 1e-2, log=True),
    "weight_decay": Float(1e-7, 1e-1, log=True),
    "batch_size": Choice((8, 16, 32, 64)),
}


@hookimpl
def harness_recipes() -> Iterable[Recipe]:
    """chexnet, dacnet and vit."""
    return [
        Recipe(
            name="chexnet",
            optimizer="adam",
            lr=1e-3,
            weight_decay=1e-5,
            schedule=Schedule(kind="plateau", patience=1, factor=0.1),
            epochs=20,
            batch_size=16,
            load_size=224,
            size=224,
            augment=Augment(flip=True),
            evaluate_at="resize",
            weights="imagenet",
            select_on="auroc",
            patience=5,
            space=SPACE,
            about="the paper's replica of CheXNet: Adam, flips, plateau schedule",
            citation=CITATION,
        ),
        Recipe(
            name="dacnet",
            optimizer="adamw",
            lr=5e-5,
            weight_decay=1e-5,
            schedule=Schedule(kind="plateau", patience=1, factor=0.1),
            epochs=25,
            batch_size=8,
            load_size=256,
            size=224,
            augment=Augment(flip=True, crop_scale=(0.08, 1.0), brightness=0.1, contrast=0.1),
            evaluate_at="center-crop",
            weights="imagenet",
            select_on="auroc",
            patience=5,
            space=SPACE | {"augment.brightness": Float(0.0, 0.5), "augment.contrast": Float(0.0, 0.5)},
            about="the paper's DACNet: AdamW, random crops and jitter (its loss is focal)",
            citation=CITATION,
        ),
        Recipe(
            name="vit",
            optimizer="adam",
            lr=1e-4,
            weight_decay=1e-5,
            schedule=Schedule(kind="plateau", patience=3, factor=0.1),
            epochs=20,
            batch_size=16,
            load_size=224,
            size=224,
            evaluate_at="resize",
            weights="imagenet",
            select_on="auroc",
            patience=5,
            space=SPACE,
            about="the paper's ViT: Adam, no augmentation",
            citation=CITATION,
        ),
    ]
