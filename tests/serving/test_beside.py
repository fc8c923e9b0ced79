"""What a network gets beside images is read from a table, in the images' order, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import DataError
from harness.data.columns import apply_codes
from harness.serving.beside import read_beside_table
from tests.serving.untrained import CODES, make_row

WHOLE = "image,sex,age,view,comment\nb.png,F, 70 ,AP,x\na.png,M,50,PA,y\nc.png,,,,z\n"


def read(tmp_path: Path, text: str, names: tuple[str, ...] = ("a.png", "b.png", "c.png")):
    (tmp_path / "table.csv").write_text(text)
    return read_beside_table(tmp_path / "table.csv", names, list(CODES.values()))


def test_rows_follow_the_images_and_blank_cells_are_unknown(tmp_path):
    numbers = apply_codes(list(CODES.values()), read(tmp_path, WHOLE))
    assert numbers[..., 0].tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert numbers[..., 1].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WHOLE.replace("view", "position"), "has no column view: it needs the columns image, age, sex, view"),
        (WHOLE.replace("c.png", "b.png"), "image 'b.png' stands in it more than once"),
        (WHOLE.replace("c.png", "d.png"), "1 of 3 images has no row in it, first 'c.png'"),
        (WHOLE.replace("50", "fifty"), "image 'a.png': age must be a number, got 'fifty'"),
    ],
)
def test_a_table_that_cannot_mean_one_thing_is_refused(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        read(tmp_path, text)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_beside_table(tmp_path / "none.csv", ["a.png"], list(CODES.values()))


@pytest.mark.slow
def test_the_control_of_permuted_columns_says_what_it_is(registry, tmp_path):
    row = make_row("chexnet-demographics-permuted", registry, tmp_path, size=32)
    assert "a control that was given the columns of other images" in row.notes[0]
    table = read(tmp_path, WHOLE)
    images = np.zeros((3, 32, 32), dtype=np.uint8)
    assert row.predict(images, table).logits.shape == (3, 3)
