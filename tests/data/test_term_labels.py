"""Lists of terms become labels: by a table of usual names, all that are frequent, or those that are named."""

from __future__ import annotations

import numpy as np
import pytest

from harness import UnknownNameError, UsageError, label_by_terms

LISTS = [frozenset(), frozenset({"small mass", "fine"}), frozenset({"nodule"})]
CODES = np.array([0, 1, 1, 2])


def label(asked, fewest=1):
    return label_by_terms(
        LISTS, CODES, asked, usual={"Mass": ("small mass", "mass")}, fewest=fewest, no_labels={"fine"}, dataset="d"
    )


def test_a_usual_label_is_present_where_one_of_its_terms_is():
    names, targets = label("usual")
    assert names == ("Mass",)
    assert targets.dtype == np.float32
    assert targets.tolist() == [[0], [1], [1], [0]]


def test_all_terms_are_labels_that_enough_images_have_and_that_are_not_ruled_out():
    assert label("all")[0] == ("nodule", "small mass")
    names, targets = label("all", fewest=2)
    assert names == ("small mass",)
    assert targets.tolist() == [[0], [1], [1], [0]]
    with pytest.raises(UsageError, match="d: no label has 3 images"):
        label("all", fewest=3)


@pytest.mark.parametrize("asked", ["nodule, Mass,", ["nodule", "Mass", "nodule"]])
def test_names_of_both_kinds_can_be_listed_in_any_order(asked):
    names, targets = label(asked)
    assert names == ("nodule", "Mass")
    assert targets.tolist() == [[0, 0], [0, 1], [0, 1], [1, 0]]


def test_a_name_that_is_no_term_of_any_image_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown label of d 'nodul': did you mean 'nodule'"):
        label("nodul")
    with pytest.raises(UsageError, match="d: labels is empty"):
        label("")
