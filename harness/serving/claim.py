"""CLAIM 2024, the checklist for articles on artificial intelligence in medical imaging: its 44 items in short words.

Tejani et al. 2024, Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 update, Radiology: Artificial
Intelligence 6(4).
"""

from __future__ import annotations

ITEMS: tuple[str, ...] = (
    "Title: the study is one of AI, and of which kind",
    "Abstract: structured summary",
    "Background, intended use and role of the AI",
    "Aims, objectives and hypotheses",
    "Prospective or retrospective study",
    "Goal of the study",
    "Sources of the data",
    "Inclusion and exclusion criteria",
    "Preprocessing of the data",
    "Selection of subsets of the data",
    "De-identification",
    "How missing data were handled",
    "Protocol of image acquisition",
    "Reference standard: how it was obtained",
    "Reference standard: why it was chosen",
    "Reference standard: who annotated",
    "Annotation of the test set",
    "Variability between and within annotators",
    "How data were assigned to partitions",
    "Level at which partitions are disjoint",
    "Intended sample size",
    "Description of the model",
    "Software and its versions",
    "Initialization of the parameters",
    "Details of the training",
    "How the final model was selected",
    "Ensembling",
    "Metrics of performance",
    "Measures of significance and uncertainty",
    "Robustness or sensitivity analysis",
    "Explainability or interpretability",
    "Evaluation on internal data",
    "Testing on external data",
    "Registration of a clinical trial",
    "Patients or examinations included and excluded",
    "Demographic and clinical characteristics of each partition",
    "Performance with its uncertainty",
    "Diagnostic performance with its precision",
    "Failure analysis of wrong results",
    "Limitations",
    "Implications for practice",
    "Protocol of the study, or further technical details",
    "Availability of software, model and data",
    "Funding, and the role of funders",
)
"""What each item asks for; the first has number 1."""
UNKNOWN = "unknown"
