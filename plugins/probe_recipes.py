"""Probes of frozen networks: logistic regression and nearest neighbors on stored embeddings, also of few patients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness import Choice, Recipe, hookimpl

EXACT: dict[str, Any] = {"weights": "pretrained", "precision": "float32"}
"""Embeddings are made once, so that float32 costs little, and is the same everywhere."""
SHARES = {"1": 0.01, "5": 0.05, "10": 0.1}


@hookimpl
def harness_recipes() -> Iterable[Recipe]:
    """linear-probe, knn, and linear probes of few patients."""
    return [
        Recipe(
            name="linear-probe",
            train="head",
            space={"evaluate_at": Choice(("resize", "flip"))},
            about="logistic regression on the embeddings of a frozen network, its penalty chosen on validation",
            citation="Alain and Bengio 2016, Understanding intermediate layers (arXiv 1610.01644)",
            **EXACT,
        ),
        Recipe(
            name="knn",
            train="neighbors",
            about="the nearest training images by embeddings of a frozen network, their number chosen on validation",
            citation="Caron et al. 2021, Emerging properties in self-supervised vision transformers (arXiv 2104.14294)",
            **EXACT,
        ),
        *(
            Recipe(
                name=f"few-shot-{percent}-percent",
                train="head",
                train_share=share,
                about=f"a linear probe that sees {percent} % of the training patients",
                **EXACT,
            )
            for percent, share in SHARES.items()
        ),
        Recipe(
            name="few-shot-8-positives",
            train="head",
            train_positives=8,
            about="a linear probe that sees 8 training patients with each label, and 8 without any",
            **EXACT,
        ),
    ]
