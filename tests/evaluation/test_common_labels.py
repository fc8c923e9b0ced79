"""Over which labels numbers are that stand side by side."""

from __future__ import annotations

from harness.evaluation.common_labels import tell_labels, tell_pooled

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


def test_what_is_pooled_says_over_which_labels_it_is():
    assert tell_pooled({"auroc": ALL, "ece": ALL, "f1": ("Mass",), "brier": ()}, ALL) == [
        "micro and weighted of auroc and ece are over all 3 labels",
        "micro and weighted of f1 are over 1 of 3 labels: without Edema, Hernia",
        "micro and weighted of brier are left out: its seeds are over different labels",
    ]
    assert tell_pooled({"auroc": (), "ece": ()}, ALL)[0].endswith("left out: their seeds are over different labels")
