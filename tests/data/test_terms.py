"""What labels of different datasets have to do with each other."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest

from harness.data.terms import find_term, match_labels, read_terms


def others(found):
    return {match.label: match.others for match in found.matches if match.others}


def reasons(found):
    return {match.label: match.reason for match in found.matches if not match.others}


def test_the_table_names_terms_that_it_has_and_no_term_is_under_itself():
    known = read_terms()
    graph = {name: {*term.under, *term.made_of} for name, term in known.terms.items()}
    assert set().union(*graph.values()) <= set(known.terms)
    assert {term for labels in known.labels.values() for term in labels.values()} <= set(known.terms)
    list(TopologicalSorter({name: set(term.under) for name, term in known.terms.items()}).static_order())


def test_every_term_is_used():
    known = read_terms()
    used = {term for labels in known.labels.values() for term in labels.values()}
    used |= {name for term in known.terms.values() for name in (*term.under, *term.made_of)}
    assert set(known.terms) <= used


def test_labels_of_one_meaning_meet_whatever_they_are_called():
    found = others(match_labels("nih-cxr14", "chexpert"))
    assert found["Effusion"] == ("Pleural Effusion",)
    assert found["Cardiomegaly"] == ("Cardiomegaly",)
    assert others(match_labels("chexpert", "vindr-cxr"))["Pleural Effusion"] == ("Pleural effusion",)


def test_what_is_exactly_a_union_is_merged_and_what_is_only_some_kinds_is_not():
    vindr = match_labels("vindr-cxr", "nih-cxr14")
    assert others(vindr)["Nodule/Mass"] == ("Nodule", "Mass")
    assert "some kinds of it" in reasons(vindr)["Lung Opacity"]
    nih = reasons(match_labels("nih-cxr14", "vindr-cxr"))
    assert nih["Nodule"] == nih["Mass"] == "vindr-cxr has only Nodule/Mass, which is wider"
    assert reasons(match_labels("nih-cxr14", "rsna-pneumonia"))["Hernia"] == "rsna-pneumonia has no label for it"


def test_a_label_of_ones_own_table_is_found_by_its_name():
    assert find_term("pleural_effusion", "csv") == "Effusion"
    assert find_term("NODULE/MASS", "csv") == "Nodule or mass"
    assert find_term("Bones", "csv") == ""
    found = match_labels("csv", "nih-cxr14", ["pleural effusion", "Bones"])
    assert others(found) == {"pleural effusion": ("Effusion",)}
    assert reasons(found) == {"Bones": "the table of terms does not know this label"}
    assert "Edema" in found.unused


def test_a_set_meets_itself_whole():
    for dataset, labels in read_terms().labels.items():
        found = match_labels(dataset, dataset)
        assert others(found) == {label: (label,) for label in labels}
        assert found.unused == ()


@pytest.mark.parametrize("dataset", ["phantom", "medmnist"])
def test_labels_of_bundled_sets_are_those_of_the_table(dataset, registry):
    from harness.plugins import medmnist
    from harness.plugins.phantom import labels as phantom

    wanted = {"phantom": phantom.LABELS, "medmnist": medmnist.CHESTMNIST}[dataset]
    assert all(find_term(label, dataset) for label in wanted)
    registry.dataset(dataset)
