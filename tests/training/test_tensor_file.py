"""A file of tensors is read whatever it is called, and what is none is named as what it is."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shlex
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from harness.errors import WeightsError
from harness.training.tensor_file import read_tensors

STATE = {"conv.weight": torch.arange(4.0), "conv.bias": torch.ones(1)}


@pytest.mark.parametrize(
    ("content", "prefix"),
    [
        (STATE, ""),
        (OrderedDict(STATE), ""),
        ({"state_dict": STATE, "epoch": 3, "arch": "densenet121", "best": 0.8}, "state_dict/"),
        ({"model": {"state_dict": STATE}, "optimizer": {"state": {}}}, "model/state_dict/"),
        ([{"params_ema": STATE}], "0/params_ema/"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.ckpt", "w.safetensors", "w"])
def test_tensors_of_a_checkpoint_have_whole_names(tmp_path, content, prefix, name):
    torch.save(content, tmp_path / name)
    assert read_tensors(tmp_path / name).keys() == {prefix + name for name in STATE}


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin", "w.pth"])
def test_safetensors_are_read_by_any_name(tmp_path, name):
    save_file(STATE, tmp_path / name)
    assert read_tensors(tmp_path / name).keys() == STATE.keys()


def test_checkpoints_of_the_old_format_are_read(tmp_path):
    torch.save({"state_dict": STATE}, tmp_path / "w.pth.tar", _use_new_zipfile_serialization=False)
    assert len(read_tensors(tmp_path / "w.pth.tar")) == 2


def save_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def zip_bytes(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return buffer.getvalue()


def array_bytes() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty, 0 bytes"),
        (bytes(2000), "a file of zeros"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"\xef\xbb\xbf\n  <html>", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "a server's message"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "pointer of Git LFS.*git lfs pull"),
        (b"../../.git/annex/objects/ab/cd/x.pth", "pointer of git-annex"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "HDF5 file, as Keras"),
        (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:" + bytes(90), "an ONNX model"),
        (b"GGUF" + bytes(90), "a GGUF file"),
        (gzip.compress(b"weights" * 100, mtime=0), "an archive: unpack it"),
        (json.dumps({"weight_map": {"a": "model-1.safetensors"}}).encode(), "a text file, such as an index"),
        (zip_bytes(config_dot_json="{}", model_dot_weights_dot_h5=""), "a Keras model"),
        (zip_bytes(readme_dot_txt="", weights__model_dot_pth=""), r"an archive \(readme.txt, weights/model.pth\)"),
        (array_bytes(), "an archive of NumPy arrays"),
        (zip_bytes(net__data_dot_pkl="", net__constants_dot_pkl=""), "a TorchScript program"),
        (zip_bytes(net__archive_format="pt2"), "a program of torch.export"),
        (save_bytes(STATE)[:-300], "a torch checkpoint that was cut off"),
        (save(STATE)[:-3], "safetensors file that was cut off, 1[0-9]{2} of its 1[0-9]{2} bytes"),
        (save(STATE)[:40], "it begins as a .safetensors file, but"),
        (b"noise", " safely: torch raised UnpicklingError, so that it is damaged"),
        (b"\x80\x02noise", " safely: torch raised UnpicklingError, so that it is damaged"),
    ],
)  # fmt: skip
def test_what_holds_no_weights_is_named_as_what_it_is(tmp_path, content, says):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"^model\.pth holds no weights that can be read.*{says}") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"epoch": 3}, {}, []])
def test_a_checkpoint_without_tensors_says_what_to_save(tmp_path, content):
    torch.save(content, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match=r"holds no tensors by name; save network\.state_dict"):
        read_tensors(tmp_path / "empty.pth")


def test_two_tensors_of_one_name_are_refused(tmp_path):
    torch.save({"a": {"b": torch.ones(1)}, "a/b": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="two tensors by the name a/b"):
        read_tensors(tmp_path / "w.pth")


@pytest.mark.parametrize("name", [".", "absent.pth"])
def test_what_is_no_file_is_one_line(tmp_path, name):
    with pytest.raises(WeightsError, match="cannot be read: "):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "named", "tensors"),
    [
        ({"state_dict": STATE, "args": argparse.Namespace(lr=0.1)}, "argparse.Namespace", {"state_dict/conv.weight"}),
        ({"net": nn.Linear(2, 3), "epoch": 1}, "torch.nn.modules.linear.Linear", {"net/weight", "net/bias"}),
        (nn.Linear(2, 3), "torch.nn.modules.linear.Linear", {"weight", "bias"}),
    ],
)
def test_foreign_objects_are_named_and_the_command_that_is_printed_converts_them(tmp_path, content, named, tensors):
    name = """model's "best" $HOME.pth"""  # which a shell must take for nothing else
    torch.save(content, tmp_path / name)
    with pytest.raises(WeightsError, match=named) as caught:
        read_tensors(tmp_path / name)
    program = str(caught.value).partition("in its folder: python ")[2]
    subprocess.run(f"{shlex.quote(sys.executable)} {program}", shell=True, cwd=tmp_path, check=True)
    assert tensors <= read_tensors(tmp_path / f"tensors-of-{name}").keys()


def test_reading_runs_no_code_of_the_file(tmp_path):
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"state_dict": STATE, "trap": Trap()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="runs code"):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "sprung").exists()
