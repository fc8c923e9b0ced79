"""Sentences about labels are data: bundled for the usual labels, or a file's."""

from __future__ import annotations

import pytest

from harness import UsageError, WeightsError, read_prompts

NIH = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
]
CHEXPERT = [
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
]


def test_the_bundled_set_has_the_labels_of_nih_and_of_chexpert():
    chosen = read_prompts("chest").choose([*NIH, *CHEXPERT])
    assert all(one.present and one.absent for one in chosen.values())
    texts = [text for one in chosen.values() for text in (*one.present, *one.absent)]
    assert all(text[0].isupper() and text.endswith(".") for text in texts)


def test_names_may_differ_in_case_and_punctuation():
    assert list(read_prompts("chest").choose(["pleural thickening"])) == ["pleural thickening"]


def test_a_label_without_sentences_is_refused_by_name():
    told = "no prompts for the labels Tuberculosis, Silicosis; write a file with a table"
    with pytest.raises(UsageError, match=told):
        read_prompts("chest").choose(["Mass", "Tuberculosis", "Silicosis"])


def test_a_file_counts_by_its_sentences_alone(tmp_path):
    one, other, third = (tmp_path / f"{name}.toml" for name in "abc")
    one.write_text('[Mass]\npresent = ["a mass"]\nabsent = ["no mass"]\n')
    other.write_text('# mine\n[Mass]\nabsent = ["no mass"]\npresent = ["a mass"]\n')
    third.write_text('[Mass]\npresent = ["a big mass"]\nabsent = ["no mass"]\n')
    digests = [read_prompts(str(path)).digest for path in (one, other, third)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Mass", "cannot be read"),
        ('Mass = "a mass"', r"\[Mass\] must have two lists of sentences, present and absent"),
        ('[Mass]\npresent = ["a mass"]', r"\[Mass\] must have two lists"),
        ("[Mass]\npresent = []\nabsent = ['no']", r"\[Mass\] must have two lists"),
        ("[Mass]\npresent = [1]\nabsent = ['no']", r"\[Mass\] must have two lists"),
        ("[Mass]\npresent = ['a']\nabsent = ['no']\nmore = 1", r"\[Mass\] must have two lists"),
    ],
)
def test_a_file_that_means_nothing_is_refused(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_prompts(str(path))


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(WeightsError, match=r"'gone\.toml', which is no bundled set \(chest\)"):
        read_prompts("folder/gone.toml")
