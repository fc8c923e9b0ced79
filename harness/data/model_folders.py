"""Models that lie in a folder or on the Hugging Face hub: where, whether they are whole, and the digest of their files.

`FAMILY/NAME` means a name of the hub, of which there is a copy in the local cache; `FAMILY/./PATH`, `FAMILY/../PATH`,
`FAMILY/~/PATH` and `FAMILY//PATH` mean a folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.components import Recipe
from harness.errors import StorageError, UsageError, WeightsError
from harness.files import file_digest, write_atomically
from harness.text import PATH, shorten_name

TEXTS = (".json", ".txt", ".model", ".md")
"""Ends of what is fetched beside weights: configurations, transforms, tokenizers and the model's card."""
FILTERS = ("nearest", "bilinear", "bicubic")
"""What an encoder can be told to resize images by."""
BIG = 2**26
"""Bytes from which a file's digest is kept for other processes."""
SETTLED = 10.0
"""Seconds after which a file that is written again has another time of change, on any file system."""


@dataclass(frozen=True)
class ModelFolder:
    """The files of one model of a family."""

    model: str
    """The model's name as it was asked for, with the family before it."""
    config: str
    """The file that every such folder has."""
    weights: tuple[str, ...]
    """What its weight file may be called, the one that is preferred first; or an index of parts after that name."""

    @property
    def name(self) -> str:
        """The model's name as it is published, which is no path."""
        return shorten_name(self.model)

    @property
    def asked(self) -> str:
        """What stands after the family: a folder, or a name of the hub."""
        return self.model.partition("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether a folder is meant, and no name of the hub."""
        return bool(PATH.match(self.asked))

    def find(self) -> Path:
        """The folder, without asking any network. Raises `WeightsError` where it is not here."""
        if self.is_local:
            folder = Path(self.asked).expanduser()
            if not folder.is_dir():
                raise WeightsError(
                    f"model '{self.name}' is a folder '{self.asked}' that is not there, seen from where the run is "
                    "started; bring it there, or name another"
                )
            if not (folder / self.config).is_file():
                raise WeightsError(
                    f"model '{self.name}' lacks the file {self.config} in its folder; bring all its files"
                )
            return folder
        return self._find_in_cache()

    def _find_in_cache(self) -> Path:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            found = try_to_load_from_cache(self.asked, self.config)
        except HFValidationError:
            raise WeightsError(f"'{self.asked}' is no name of the hub; write OWNER/NAME, or ./FOLDER") from None
        if not isinstance(found, str):
            family = self.name.partition("/")[0]
            raise WeightsError(
                f"model '{self.name}' is not in the local cache; start the run where the hub can be reached, or name a "
                f"folder: {family}/./FOLDER"
            )
        return Path(found).parent

    def fetch(self) -> None:
        """Bring the files from the hub, safetensors where there are some. Raises `WeightsError`."""
        if self.is_local:
            return
        from huggingface_hub import HfApi, constants, snapshot_download
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        try:
            files = HfApi().list_repo_files(self.asked)
            wanted = [file for file in files if "/" not in file and file.endswith(TEXTS)]
            chosen = next((name for name in self.weights if {name, f"{name}.index.json"} & set(files)), self.weights[0])
            parts = f"{Path(chosen).stem}-*{Path(chosen).suffix}"
            snapshot_download(self.asked, allow_patterns=[*wanted, chosen, *([] if chosen in files else [parts])])
        except GatedRepoError:
            raise WeightsError(
                f"model '{self.name}' is gated: accept its terms at {constants.ENDPOINT}/{self.asked}, and then "
                "log in with `hf auth login`"
            ) from None
        except RepositoryNotFoundError:
            raise WeightsError(
                f"the hub has no '{self.asked}', or shows it to its members alone; correct the name, or log in with "
                "`hf auth login`"
            ) from None

    def list_weights(self) -> tuple[Path, ...]:
        """The files of tensors that are loaded: one, or the parts that an index names.

        Raises `WeightsError` where one is missing or was not wholly downloaded.
        """
        folder = self.find()
        for name in self.weights:
            index = folder / f"{name}.index.json"
            if (folder / name).is_file():
                return (self._require_whole(folder / name),)
            if index.is_file():
                parts = sorted(set(_read_json(index).get("weight_map", {}).values()))
                return tuple(self._require_whole(folder / part) for part in parts)
        raise WeightsError(f"the weights of model '{self.name}' are not there: bring {self.weights[0]}")

    def digest_weights(self) -> str:
        """`sha256:...` of the weight files; of each it is computed once as long as it stays. Raises `WeightsError`."""
        return _digest_files(self.list_weights())

    def digest(self, name: str) -> str:
        """`sha256:...` of one of the files. Raises `WeightsError` where it is not here."""
        path = self.find() / name
        if not path.is_file():
            raise WeightsError(f"model '{self.name}' lacks the file {name} in its folder; bring all its files")
        return _digest_files([path])

    def has(self, name: str) -> bool:
        """Whether a file of that name is among them. Raises `WeightsError` where the folder is not here."""
        return (self.find() / name).is_file()

    def read(self, name: str) -> dict[str, Any]:
        """The table in one of the JSON files. Raises `WeightsError` where it is missing or none."""
        return _read_json(self.find() / name)

    def _require_whole(self, path: Path) -> Path:
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise WeightsError(
                f"the weights of model '{self.name}' are not all there: {path.name} is missing; fetch it"
            )
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, framework="np"):
                    pass
            except (OSError, SafetensorError) as error:
                raise WeightsError(
                    f"{path.name} of model '{self.name}' is damaged or not wholly downloaded ({error}); fetch it again"
                ) from None
        return path


def _read_json(path: Path) -> dict[str, Any]:
    """A table in a JSON file. Raises `WeightsError` for what is none."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path.name} of the folder '{path.parent.name}' cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise WeightsError(f"{path.name} of the folder '{path.parent.name}' holds no table")
    return table


def require_library(package: str, extra: str, least: int) -> str:
    """The library and its version in words, not importing it. Raises `WeightsError` where it lacks or is too old."""
    way_out = f"pip install 'cxr-harness[{extra}]'"
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise WeightsError(f"models of the family {extra}/* need {package}: {way_out}") from None
    if int(re.match(r"\d*", version)[0] or 0) < least:  # type: ignore[index]
        raise WeightsError(
            f"models of the family {extra}/* need {package} {least} or later, here is {version}: {way_out}"
        )
    return f"{package} {version}"


def require_size(name: str, recipe: Recipe, size: int, filter_: str) -> None:
    """Raise `UsageError` where an encoder cannot get images of its size from what the recipe gives."""
    way_out = f"--set recipe.size={size}"
    if recipe.size < size:
        raise UsageError(f"model '{name}' sees images of {size} px, and the recipe gives {recipe.size}; {way_out}")
    if recipe.size > size and filter_ not in FILTERS:
        raise UsageError(
            f"model '{name}' resizes images by a filter that only its library has ({filter_}); have the harness do it: "
            f"{way_out}"
        )


# --- digests ----------------------------------------------------------------------------------------------------------


def _digest_files(paths: Iterable[Path]) -> str:
    """`sha256:...` of one file, or of several with their names."""
    digests = {path.name: _digest(path) for path in paths}
    one = next(iter(digests.values()))
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
    return f"sha256:{one if len(digests) == 1 else hashlib.sha256(lines.encode()).hexdigest()}"


def _digest(path: Path) -> str:
    about = path.stat()
    return _digest_once(path.resolve(), about.st_size, about.st_mtime_ns)


@cache
def _digest_once(path: Path, size: int, changed: int) -> str:
    """A file's sha256. That of a big one is kept in the user's cache, for other processes."""
    if size < BIG or time.time() - changed / 1e9 < SETTLED:
        return file_digest(path)
    name = hashlib.sha256(f"{path}\n{size}\n{changed}".encode()).hexdigest()
    kept = _find_cache() / "digests" / name
    try:
        known = kept.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        known = ""
    if re.fullmatch(r"[0-9a-f]{64}", known):
        return known
    found = file_digest(path)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, found)
    except (OSError, StorageError):
        pass  # it is computed again next time
    return found


def _find_cache() -> Path:
    import platformdirs

    return Path(os.environ.get("HARNESS_CACHE_DIR") or platformdirs.user_cache_dir("cxr-harness", appauthor=False))
