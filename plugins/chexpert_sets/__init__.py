"""`chexpert` and `mimic-cxr-jpg`: sets whose labels are the observations of CheXpert's labeler."""

from __future__ import annotations

from collections.abc import Iterable

from harness import Dataset, hookimpl

from . import chexpert, mimic


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """CheXpert and MIMIC-CXR-JPG."""
    return [
        Dataset(
            name="chexpert",
            load=chexpert.load,
            about="CheXpert: 224,316 images of 65,240 patients, 13 observations labeled from reports, some uncertain",
            citation=f"Irvin et al. 2019, CheXpert, AAAI (arXiv 1901.07031), {chexpert.LAYOUT.source}",
        ),
        Dataset(
            name="mimic-cxr-jpg",
            load=mimic.load,
            about="MIMIC-CXR-JPG: 377,110 images of 227,835 studies, 13 observations labeled from reports",
            citation=f"Johnson et al. 2019, MIMIC-CXR-JPG (arXiv 1901.07042), {mimic.LAYOUT.source}",
        ),
    ]
