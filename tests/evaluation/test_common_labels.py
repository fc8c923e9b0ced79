"""Over which labels numbers are that stand side by side."""

from __future__ import annotations

from harness.evaluation.common_labels import tell_labels

ALL = ("Edema", "Mass", "Hernia")


def test_metrics_over_one_set_of_labels_share_a_sentence_that_has_its_number():
    labels = {
        "auroc": ("Edema",),
        "brier": ALL,
        "f1@val-f1": ("Edema",),
        "f1@0.5": ("Edema",),
        "ece": ("Mass", "Edema"),
    }
    those = "those defined in all that stand side by side"
    assert tell_labels(labels, ALL) == [
        f"auroc, f1@val-f1 and f1@0.5 are over 1 of 3 labels, {those}: without Mass, Hernia",
        f"ece is over 2 of 3 labels, {those}: without Hernia",
    ]


def test_of_many_labels_that_are_left_out_the_first_are_named():
    known = [f"l{number}" for number in range(9)]
    (text,) = tell_labels({"auroc": ("l0",)}, known)
    assert text.endswith("without l1, l2, l3, l4, l5 and 3 more")
