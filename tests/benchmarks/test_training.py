"""Training's parts, each against its plain alternative in the same run: `make bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from harness import Augment, Data, Dataset, Inputs, Recipe
from harness.data.augmentation import augment
from harness.data.loading import Source
from harness.data.placement import place
from harness.data.prepare import Prepared, prepare
from harness.registry import load_registry
from harness.speed.plain import write_originals
from harness.training.engine import EngineOptions, set_up_process
from harness.training.fit import Training
from harness.training.numerics import choose_numerics
from harness.training.objective import make_objective
from harness.training.setup import Setup
from harness.training.task import make_task

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIDE, BATCH, STEPS, LABELS = 64, 32, 24, 14
BCE = nn.functional.binary_cross_entropy_with_logits


@pytest.fixture(scope="module", autouse=True)
def _all_cores(tmp_path_factory) -> Iterator[None]:
    """What a run sets up, with the cores that tests leave idle otherwise."""
    set_up_process(EngineOptions(), tmp_path_factory.mktemp("cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(torch.multiprocessing.cpu_count())
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    generator = np.random.default_rng(0)
    count = BATCH * STEPS
    images = generator.integers(0, 256, (count + 2, SIDE, SIDE), dtype=np.uint8)
    targets = (generator.random((count + 2, LABELS)) < 0.1).astype(np.float32)
    names = [str(number) for number in range(count + 2)]
    table = pd.DataFrame({"image": names, "patient": names, "split": ["train"] * count + ["val", "test"]})
    data = Data(labels=tuple(f"l{n}" for n in range(LABELS)), images=images, targets=targets, table=table)
    return Prepared(data=data, images=images, digest="")


# --- the step --------------------------------------------------------------------------------------------------------

RECIPE = Recipe(
    name="r", optimizer="adamw", epochs=10**6, batch_size=BATCH, load_size=SIDE, size=SIDE, select_on="loss"
)


def engine_epoch(model: str, prepared: Prepared) -> Callable[[], object]:
    """An epoch of the engine."""
    registry = load_registry()
    task = make_task(prepared, RECIPE, Inputs())
    network = registry.model(model).build(task).to(DEVICE)
    objective = make_objective(registry.loss("bce"), task, {}, DEVICE)
    setup = Setup(
        network=network,
        objective=objective,
        placed=place(prepared, DEVICE),
        recipe=RECIPE,
        task=task,
        seed=0,
        engine=EngineOptions(compile="off"),
    )
    training = Training(setup)
    next(training.epochs())
    return lambda: training._train(2)


def bare_epoch(model: str, prepared: Prepared) -> Callable[[], object]:
    """The same epoch as a bare PyTorch loop, on the same tensors, in the same numbers and layout."""
    task = make_task(prepared, RECIPE, Inputs())
    network = load_registry().model(model).build(task).to(DEVICE)
    numerics = choose_numerics(RECIPE, DEVICE, network)
    network = network.to(memory_format=numerics.layout).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RECIPE.lr, weight_decay=0.0, fused=True)
    images, targets = (torch.from_numpy(part).to(DEVICE) for part in (prepared.images, prepared.data.targets))

    def epoch() -> None:
        for index in torch.randperm(BATCH * STEPS, device=DEVICE).split(BATCH):
            view = numerics.arrange((images[index] / 255 - task.mean[0]).div(task.std[0]).unsqueeze(1))
            optimizer.zero_grad()
            with numerics.autocast():
                logits = network(view)
            BCE(logits.float(), targets[index]).backward()
            optimizer.step()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    return epoch


@pytest.mark.parametrize("how", [engine_epoch, bare_epoch])
@pytest.mark.parametrize("model", ["tiny-cnn", "chexnet", "efficientnet-b0"])
def test_an_epoch(benchmark, prepared, model, how):
    benchmark.group = f"an epoch of {STEPS} steps, {model}"
    benchmark.pedantic(how(model, prepared), rounds=5, warmup_rounds=1)


# --- augmentation ----------------------------------------------------------------------------------------------------

CHOICES = Augment(flip=True, rotation=10, shift=0.05, crop_scale=(0.5, 1.0), brightness=0.1, contrast=0.1)


def on_the_device(images: Tensor) -> Callable[[], object]:
    """The harness's: the batch at once."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    return lambda: augment(images, CHOICES, 224, mirrors=True, generator=generator).sum().item()


def one_by_one(images: Tensor) -> Callable[[], object]:
    """Torchvision's transforms of each image, as a DataLoader applies them."""
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomAffine(CHOICES.rotation, (CHOICES.shift, CHOICES.shift)),
            v2.RandomResizedCrop(224, scale=CHOICES.crop_scale, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(CHOICES.brightness, CHOICES.contrast),
        ]
    )
    return lambda: torch.stack([transform(image.unsqueeze(0) / 255) for image in images]).sum().item()


@pytest.mark.parametrize("how", [on_the_device, one_by_one])
def test_augmentation_of_a_batch(benchmark, how):
    benchmark.group = "augmentation of 64 images, 256 to 224 px"
    images = torch.randint(0, 256, (64, 256, 256), dtype=torch.uint8).to(DEVICE)
    benchmark.pedantic(how(images), rounds=5, warmup_rounds=1)


# --- placement -------------------------------------------------------------------------------------------------------


def resident(prepared: Prepared) -> Callable[[], object]:
    """Images where the step reads them."""
    placed = place(prepared, DEVICE, "resident")
    return lambda: [placed.images.index_select(0, index) for index, _ in placed.batches(_order(placed.splits["train"]))]


def streamed(prepared: Prepared) -> Callable[[], object]:
    """Images that come batch by batch, one ahead."""
    placed = place(prepared, DEVICE, "streamed")
    return lambda: [images for _, images in placed.batches(_order(placed.splits["train"]))]


def data_loader(prepared: Prepared) -> Callable[[], object]:
    """PyTorch's DataLoader over the same array."""
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(prepared.images), torch.from_numpy(prepared.data.targets))
    loader = torch.utils.data.DataLoader(dataset, BATCH, shuffle=True)
    return lambda: [images.to(DEVICE) for images, _ in loader]


def _order(train: Tensor) -> tuple[Tensor, ...]:
    order = torch.randperm(len(train), device=train.device)
    return tuple(train[order].split(BATCH))


@pytest.mark.parametrize("how", [resident, streamed, data_loader])
def test_bringing_batches_to_the_device(benchmark, prepared, how):
    benchmark.group = f"bringing {STEPS} batches of {BATCH} to the device, {SIDE} px"
    benchmark.pedantic(how(prepared), rounds=10, warmup_rounds=1)


# --- preparation -----------------------------------------------------------------------------------------------------


def prepared_by_all_cores(files: list[Path], folder: Path) -> Callable[[], object]:
    """The harness's, into a fresh cache."""
    names = [path.name for path in files]
    split = (["train", "val", "test"] * len(files))[: len(files)]
    targets = np.zeros((len(files), 1), dtype=np.float32)
    data = Data(
        labels=("a",),
        images=files,
        targets=targets,
        table=pd.DataFrame({"image": names, "patient": names, "split": split}),
    )
    source = Source(dataset=Dataset(name="files", load=lambda root: data), code="", options={}, root=folder)
    caches = (folder / f"cache{number}" for number in range(10**6))
    return lambda: prepare(source, data, 256, next(caches))


def decoded_one_by_one(files: list[Path], folder: Path) -> Callable[[], object]:
    """A plain loop of Pillow."""

    def decode() -> list[Any]:
        return [
            np.asarray(Image.open(path).convert("L").resize((256, 256), Image.Resampling.BILINEAR)) for path in files
        ]

    return decode


@pytest.mark.parametrize("how", [prepared_by_all_cores, decoded_one_by_one])
def test_preparing_files(benchmark, tmp_path, how):
    benchmark.group = "decoding 32 PNG files of 1024 px"
    benchmark.pedantic(how(write_originals(tmp_path), tmp_path), rounds=3, warmup_rounds=1)
