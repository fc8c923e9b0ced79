"""Example images of the app."""

from __future__ import annotations

import numpy as np

from harness import DataError
from harness.serving.examples import order_examples


def test_examples_are_test_images_with_what_is_known_of_them(app, ask, toy_rows, small_data):
    found = ask(app, "/api/examples").json
    assert found["reason"] == ""
    assert 1 < len(found["examples"]) <= 8
    test = np.flatnonzero((small_data.table["split"] == "test").to_numpy())
    for one in found["examples"]:
        index = test[one["example"]]
        said = ask(app, f"/api/predict?row=0&example={one['example']}", b"").json["labels"]
        targets = dict(zip(small_data.labels, small_data.targets[index], strict=True))
        assert {label["label"]: label["known"] for label in said} == {
            label: "present" if target else "absent" for label, target in targets.items()
        }
        expected = toy_rows[0].predict([np.asarray(small_data.images[index])])
        assert [label["probability"] for label in said] == expected.calibrated[0].tolist()
        assert ask(app, f"/api/map?row=1&label=first&example={one['example']}", b"").status == 200


def test_without_the_images_the_page_says_why_there_are_no_examples(make_app, ask, image):
    def read() -> None:
        raise DataError("no labels.csv in data; give --data-root DIR")

    app = make_app(read=read)
    assert ask(app, "/api/examples").json == {
        "examples": [],
        "reason": "There are no examples: no labels.csv in data; give --data-root DIR.",
    }
    assert ask(app, "/api/predict?row=0", image).status == 200
    assert ask(app, "/api/predict?row=0&example=0", b"").status == 404


def test_the_first_examples_show_many_labels_and_one_shows_none():
    targets = np.zeros((200, 4), dtype=np.float32)
    targets[:150, 0] = 1
    targets[3, 1] = targets[5, 2] = targets[5, 3] = 1
    first = order_examples(targets)[:5]
    assert targets[first].max(axis=0).tolist() == [1, 1, 1, 1]
    assert (targets[first].sum(axis=1) == 0).sum() >= 1
