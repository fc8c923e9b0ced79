"""The table of what networks are pretrained on, and the file that declares it beside weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.data.loading import find_source
from harness.data.pretraining import UNKNOWN, find_sources, read_declaration, read_table
from harness.errors import UnknownNameError, UsageError

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"


def declare(folder: Path, text: str) -> Path:
    weights = folder / "net.pth"
    (folder / "net.pth.toml").write_text(text)
    return weights


@pytest.mark.parametrize("name", read_table().sources)
def test_a_source_is_of_a_dataset_and_of_options_that_there_are(registry, name, tmp_path):
    source = read_table().sources[name]
    assert source.about
    if source.dataset:
        assert find_source(registry.offer("dataset", source.dataset), source.options, tmp_path).options


def test_datasets_of_the_same_images_and_of_any_images_are_those_of_the_registry(registry):
    table = read_table()
    for name in {*table.any_images, *(name for group in table.same_images for name in group)}:
        assert registry.dataset(name).name == name
    assert table.share_images("nih-cxr14", "rsna-pneumonia")
    assert not table.share_images("nih-cxr14", "nih-cxr14")
    assert not table.share_images("nih-cxr14", "chexpert")


def test_the_document_lists_every_name():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert not [name for name in read_table().sources if f"| `{name}` |" not in text]


def test_a_misspelt_name_is_refused_with_the_nearest(registry):
    with pytest.raises(UnknownNameError, match="imagenet") as raised:
        find_sources(["imagenett"], "--pretrained-on")
    assert "--pretrained-on names it" in str(raised.value)


def test_a_file_beside_weights_names_sources_datasets_and_lists_of_images(tmp_path):
    (tmp_path / "seen.txt").write_text("00000001_000.png Mass\n\n00000002_000.png\n")
    text = """
    pretrained_on = [
        "imagenet", "imagenet",
        { dataset = "nih-cxr14", options = { split = "dacnet" }, splits = ["train"] },
        { name = "mine", about = "our own list", dataset = "nih-cxr14", images = "seen.txt" },
    ]
    """
    imagenet, dacnet, mine = read_declaration(declare(tmp_path, text)) or ()
    assert imagenet == read_table().sources["imagenet"]
    assert (dacnet.name, dacnet.options, dacnet.splits) == ("nih-cxr14", {"split": "dacnet"}, ("train",))
    assert (mine.name, mine.images) == ("mine", ("00000001_000.png", "00000002_000.png"))


def test_weights_without_such_a_file_declare_nothing(tmp_path):
    assert read_declaration(tmp_path / "net.pth") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold one list"),
        ("pretrained_on = []", "must hold one list"),
        ('pretrained_on = "imagenet"', "must hold one list"),
        ('pretrained_on = ["imagenet"]\nother = 1', "must hold one list"),
        ("pretrained_on = [1]", "neither a name nor a table"),
        ("pretrained_on = [", "cannot be read"),
        ('pretrained_on = [{ name = "mine", images = ["a.png"] }]', "need dataset"),
        ('pretrained_on = [{ dataset = "nih-cxr14", images = "absent.txt" }]', "absent.txt cannot be read"),
        ('pretrained_on = [{ dataset = "nih-cxr14", images = "empty.txt" }]', "empty.txt is empty"),
        ('pretrained_on = [{ dataset = "nih-cxr14", split = "train" }]', "unknown key 'split': did you mean 'splits'"),
        ('pretrained_on = [{ dataset = "nih-cxr14", splits = ["trian"] }]', "splits"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(tmp_path, text, said):
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UsageError, match=said):
        read_declaration(declare(tmp_path, text))


def test_an_unknown_name_in_a_declaration_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match=UNKNOWN):
        read_declaration(declare(tmp_path, 'pretrained_on = ["chexpert"]'))
