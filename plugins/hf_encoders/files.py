"""The files of an encoder, and what they say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from harness import ModelFolder, WeightsError, require_library

from .configuration import UNSUITED, is_composite, vision_of
from .transform import PROCESSOR, TRANSFORM, parse_transform

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
LEAST = 5
"""The transformers version from which this is tested."""


class Pretrained:
    """Where an encoder's files lie, and what they say."""

    def __init__(self, name: str) -> None:
        self.folder = ModelFolder(name, CONFIG, WEIGHTS)
        self.name = self.folder.name

    def __repr__(self) -> str:
        return self.name

    def read_config(self) -> Any:
        """The configuration of the library. Raises `WeightsError` for a kind that it does not know."""
        require_library("transformers", "hf", LEAST)
        folder = self.folder.find()
        kind = self.folder.read(CONFIG).get("model_type")
        if kind is None:
            raise WeightsError(f"{CONFIG} of model '{self.name}' names no model_type; it is no model of transformers")
        with quiet():
            from transformers import CONFIG_MAPPING, AutoConfig

            if kind not in CONFIG_MAPPING:
                version = require_library("transformers", "hf", LEAST)
                raise WeightsError(
                    f"{version} does not know the kind '{kind}' of model '{self.name}', and code that comes with "
                    "weights is never run; pip install --upgrade transformers, or take another encoder"
                )
            try:
                config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            except Exception as error:  # noqa: BLE001 - whatever the library raises
                raise WeightsError(
                    f"{CONFIG} of model '{self.name}' cannot be read: {str(error).splitlines()[0]}"
                ) from None
        if vision_of(config).model_type in UNSUITED:
            why = UNSUITED[vision_of(config).model_type]
            raise WeightsError(f"model '{self.name}' {why}; take another encoder")
        if not (is_composite(config) or hasattr(config, "num_channels")):
            raise WeightsError(f"model '{self.name}' is no encoder of images: it is of the kind '{kind}'")
        return config

    def read_transform(self) -> dict[str, Any]:
        """Mean and std of pixels in 0..1, size and filter, as the encoder's own files give them.

        Raises `WeightsError` where they do not say how images are to be prepared.
        """
        if self.folder.has(TRANSFORM):
            said = self.folder.read(TRANSFORM)
        elif self.folder.has(PROCESSOR):
            said = self.folder.read(PROCESSOR).get("image_processor") or {}
        else:
            raise WeightsError(
                f"model '{self.name}' does not say how images are prepared: its folder has no {TRANSFORM}; bring it, "
                "since a guess would change every number"
            )
        return parse_transform(said, self.name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the library from telling of every step."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
