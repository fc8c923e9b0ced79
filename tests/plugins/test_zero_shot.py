"""Zero-shot rows: an encoder's head of sentences is measured like any other network, and nothing is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness import Task, UsageError
from harness.board import Row
from harness.choices import resolve
from harness.results.identity import explain_missing_origin
from harness.training.weights import load_initial_weights

LABELS = ("Mass", "Nodule", "Edema")
SIZE = 28


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_a_score_is_the_scaled_difference_of_the_librarys_cosines(registry, encoders, kind):
    from transformers import AutoModel, AutoTokenizer

    from harness import read_prompts

    model = registry.model(f"hf/{encoders / kind}")
    task = Task(labels=LABELS, channels=3, size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, prevalence=(0.1,) * 3)
    network = model.build(task, prompts="chest")
    load_initial_weights(network, model, task, "pretrained", {"prompts": "chest"})
    images = torch.randn(2, 3, SIZE, SIZE)
    whole = AutoModel.from_pretrained(encoders / kind).eval()
    tokenizer = AutoTokenizer.from_pretrained(encoders / kind)
    padding = "max_length" if kind == "siglip" else True

    def look(texts: tuple[str, ...]) -> Any:
        tokens = tokenizer(list(texts), padding=padding, truncation=True, max_length=64, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        found = torch.nn.functional.normalize(whole.get_text_features(**tokens).pooler_output, dim=-1).mean(0)
        return found / found.norm()

    with torch.inference_mode():
        seen = torch.nn.functional.normalize(whole.get_image_features(images).pooler_output, dim=-1)
        chosen = read_prompts("chest").choose(LABELS).values()
        against = torch.stack([look(one.present) - look(one.absent) for one in chosen])
        wanted = whole.logit_scale.exp() * seen @ against.T
        torch.testing.assert_close(network.eval()(images), wanted, atol=1e-4, rtol=0)


def test_a_label_without_sentences_is_refused_by_name(registry, encoders):
    model = registry.model(f"hf/{encoders / 'clip'}")
    task = Task(labels=("Mass", "Gout"), channels=3, size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, prevalence=(0.1,) * 2)
    network = model.build(task, prompts="chest")
    with pytest.raises(UsageError, match="no prompts for the label Gout"):
        load_initial_weights(network, model, task, "pretrained", {"prompts": "chest"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chexnet", "the weights of 'chexnet' leave its head random; take an image-text encoder with model.prompts"),
        ("hf/./dino", "model 'hf/dino' has no head yet: --set model.prompts=chest"),
        ("open-clip/./biomed", "model 'open-clip/biomed' has no head yet: --set model.prompts=chest"),
    ],
)
def test_a_network_without_a_head_cannot_go_untrained(registry, encoders, monkeypatch, name, said):
    monkeypatch.chdir(encoders)
    choices = resolve(Row(model=name, loss="bce", recipe="zero-shot"), registry)
    assert said in str(explain_missing_origin(choices))
    random = replace(choices, recipe=replace(choices.recipe, weights="random"))
    assert explain_missing_origin(random) is None or name != "chexnet"


DATA = [part for option in ("train=60", "val=40", "test=40") for part in ("--option", option)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "changes"),
    [("open-clip/{}/open", ["model.prompts=chest"]), ("hf/{}/dino", ["recipe.train=head", "recipe.size=32"])],
)
def test_a_row_of_an_encoder_is_measured_restored_and_known_by_its_files(harness, encoders, tmp_path, model, changes):
    asked = [part for change in changes for part in ("--set", change)]
    names = ["--models", model.format(encoders), "--losses", "bce", "--recipes", "zero-shot", "--seeds", "0"]
    code, out, err = harness("run", "--dataset", "phantom", *DATA, *names, *asked, "--board", "b")
    assert code == 0, err
    (path,) = (tmp_path / "b" / "records").glob("*.json")
    text = path.read_text()
    record = json.loads(text)
    short = model.format("").replace("//", "/")
    assert (record["status"], record["combo"]["model"]) == ("done", short)
    assert record["combo"]["row"].startswith(f"{short.replace('/', '_')}--bce--zero-shot--")
    assert record["combo"]["made_of"]["weights"].startswith("sha256:")
    assert record["pretraining"][0]["name"] == "unknown"
    assert encoders.name not in text + out
    code, _, err = harness("predict", f"b::{record['combo']['row']}", "phantom", *DATA, "--out", "again.npz")
    assert code == 0, err
    stored, again = np.load(f"b/runs/{record['key']}/predictions-test.npz"), np.load("again.npz")
    assert list(stored["image"]) == list(again["image"])
    np.testing.assert_allclose(again["logits"], stored["logits"], atol=1e-5, rtol=0)
    assert not json.loads(harness("run", "b", "--dry-run", "--json")[1]).get("to_run")


@pytest.mark.slow
def test_a_dataset_with_a_label_without_sentences_is_refused_before_anything_is_trained(harness, encoders, tmp_path):
    (tmp_path / "mine.toml").write_text('[Mass]\npresent = ["a mass"]\nabsent = ["no mass"]\n')
    names = ["--models", f"open-clip/{encoders}/open", "--losses", "bce", "--recipes", "zero-shot", "--board", "b"]
    code, _, err = harness("run", "--dataset", "phantom", *DATA, *names, "--set", "model.prompts=mine.toml")
    assert code == 2
    assert "model 'open-clip/open' cannot be used here: there are no prompts for the labels Atelectasis" in err


@pytest.mark.slow
def test_another_version_of_the_library_puts_a_row_out_of_date(harness, encoders, monkeypatch):
    import importlib.metadata

    names = ["--models", f"hf/{encoders}/dino", "--losses", "bce", "--recipes", "linear-probe", "--board", "b"]
    assert harness("run", "--dataset", "phantom", *DATA, *names, "--set", "recipe.size=32")[0] == 0
    assert json.loads(harness("status", "b", "--json")[1])["stale"] == 0
    version = importlib.metadata.version
    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: "5.99.0" if name == "transformers" else version(name)
    )
    assert json.loads(harness("status", "b", "--json")[1])["stale"] == 1
