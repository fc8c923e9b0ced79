"""Where a model's files lie, what is fetched, and that digests of big ones are computed once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness import ModelFolder, WeightsError
from harness.data import model_folders
from harness.files import file_digest
from harness.text import shorten_name

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def make(name: str) -> ModelFolder:
    return ModelFolder(name, "config.json", WEIGHTS)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("hf/microsoft/rad-dino", "hf/microsoft/rad-dino"),
        ("timm/resnet18", "timm/resnet18"),
        ("tiny-cnn", "tiny-cnn"),
        ("hf/./encoders/rad-dino", "hf/rad-dino"),
        ("hf/../rad-dino/", "hf/rad-dino"),
        ("hf/~/rad-dino", "hf/rad-dino"),
        ("open-clip//home/me/biomed", "open-clip/biomed"),
    ],
)
def test_a_folder_is_published_by_its_own_name_alone(name, short):
    assert shorten_name(name) == make(name).name == short
    assert make(name).is_local == (name != short)


def test_files_of_the_hub_are_found_in_the_local_cache(tmp_path, monkeypatch):
    folder = tmp_path / "models--me--net" / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "models--me--net" / "refs").mkdir()
    (tmp_path / "models--me--net" / "refs" / "main").write_text("a" * 40)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert make("hf/me/net").find() == folder
    with pytest.raises(WeightsError, match="are not there: bring model"):
        make("hf/me/net").list_weights()


def fail(error: type[Exception]) -> Any:
    def raise_it(self: Any, name: str) -> list[str]:
        response = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co"))
        raise error("a\nlong story", response=response)  # type: ignore[call-arg]

    return raise_it


def test_a_gated_model_is_told_with_the_way_to_it(monkeypatch):
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    monkeypatch.setattr(HfApi, "list_repo_files", fail(GatedRepoError))
    with pytest.raises(WeightsError, match=r"'hf/google/medsiglip' is gated: accept its terms at .*/google/medsiglip"):
        make("hf/google/medsiglip").fetch()
    monkeypatch.setattr(HfApi, "list_repo_files", fail(RepositoryNotFoundError))
    with pytest.raises(WeightsError, match="the hub has no 'me/nothing', or shows it to its members alone"):
        make("hf/me/nothing").fetch()


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["model.safetensors", "pytorch_model.bin", "config.json"], ["config.json", "model.safetensors"]),
        (["pytorch_model.bin", "vocab.txt", "onnx/model.bin"], ["vocab.txt", "pytorch_model.bin"]),
        (
            ["model.safetensors.index.json", "model-1-of-1.safetensors"],
            ["model.safetensors.index.json", "model.safetensors", "model-*.safetensors"],
        ),
    ],
)
def test_one_set_of_weights_is_fetched_with_the_texts_beside(monkeypatch, files, wanted):
    import huggingface_hub

    asked = SimpleNamespace(patterns=None)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, name: files)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, allow_patterns: vars(asked).update(patterns=allow_patterns)
    )
    make("hf/me/net").fetch()
    assert asked.patterns == wanted


def test_the_digest_of_a_big_file_is_computed_once_as_long_as_it_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(model_folders, "BIG", 4)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text("{}")
    file = tmp_path / "net" / "pytorch_model.bin"
    computed = []

    def compute(path: Path) -> str:
        computed.append(path)
        return file_digest(path)

    monkeypatch.setattr(model_folders, "file_digest", compute)

    def digest(content: bytes, age: float) -> str:
        file.write_bytes(content)
        os.utime(file, (time.time() - age,) * 2)
        found = make(f"hf/{tmp_path}/net").digest_weights()
        model_folders._digest_once.cache_clear()  # as another process
        assert make(f"hf/{tmp_path}/net").digest_weights() == found
        return found

    first = digest(b"weights", 100)
    assert len(computed) == 1
    assert digest(b"WEIGHTS", 90) != first
    assert len(computed) == 2
    digest(b"just now", 0)  # what may yet be written in the same tick of the clock
    assert len(computed) == 4
