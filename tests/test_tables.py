"""One table, however it was written; and what is no table is named by file and line."""

from __future__ import annotations

import csv
import gzip
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import DataError, read_lines, read_table

HEADER = ["image", "patient", "Edema"]
ROWS = [["Ä/1.png", "p1", "1"], ["b.png", "p 2", ""]]
PLAIN = "image,patient,Edema\nÄ/1.png,p1,1\nb.png,p 2,\n"


@pytest.fixture
def write(tmp_path):
    def write(content: bytes | str):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(path, **options):
    table = read_table(path, **options)
    assert table.columns.columns.tolist() == HEADER
    return table


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        PLAIN.replace("Ä", "A").encode("utf-16-le"),
        PLAIN.replace("Ä", "A").encode("utf-16-be"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.removesuffix("\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("p1,1\n", "p1,1,,\n"),
        "sep=,\n" + PLAIN,
        '"sep=|"\r\n' + PLAIN.replace(",", "|"),
        "\n" + PLAIN.replace("\n", "\n\n  \n"),
        "# made by hand\n" + PLAIN + "# the end\n",
        PLAIN.replace("p1", '"p1"').replace("Edema", '"Edema"'),
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(PLAIN.encode("utf-16"), mtime=0),
    ],
)
def test_a_table_is_the_same_in_every_encoding_and_dialect(write, content):
    rows = read(write(content)).columns.to_numpy().tolist()
    assert [[cell.replace("A/", "Ä/") for cell in row] for row in rows] == ROWS


def test_each_row_knows_its_line(write):
    assert read(write(PLAIN)).lines == [2, 3]
    assert read(write("sep=,\n# a\nimage,patient,Edema\n\na.png,p,1\n# b\nb.png,p,0\n")).lines == [5, 7]
    quoted = read(write('image,patient,Edema\na.png,"p\n# 1",1\nb.png,p,0\n'))
    assert quoted.lines == [2, 4]
    assert quoted.columns["patient"][0] == "p\n# 1"


def test_columns_that_are_not_wanted_are_left_out(write):
    for content in (PLAIN, PLAIN.replace("p1", '"p1"')):
        table = read_table(write(content), wanted=["Edema", "image"])
        assert table.columns.columns.tolist() == ["image", "Edema"]
        assert table.columns["Edema"].tolist() == ["1", ""]


def test_cells_that_are_not_wanted_are_not_kept_in_memory(write):
    row = ",".join(["ab"] * 100)
    path = write("image," + ",".join(f"c{number}" for number in range(100)) + "\n" + f'"a.png",{row}\n' * 5000)
    read_table(path, wanted=["image"])  # pandas is there
    tracemalloc.start()
    try:
        assert len(read_table(path, wanted=["image"]).columns) == 5000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * path.stat().st_size  # all cells take about 20 times as much as the file


def test_rows_that_do_not_fit_are_named_also_where_their_cells_are_not_wanted(write):
    path = write('image,Edema,more\n"a.png",1,2\n"b.png",1,2,3\n')
    with pytest.raises(DataError, match=r"t\.csv, line 3: 4 cells under 3 columns"):
        read_table(path, wanted=["image"])
    header = write('"image\nname",Edema\n')
    with pytest.raises(DataError, match="has a header and no rows"):
        read_table(header)


def test_a_table_without_a_column_that_is_wanted_has_its_rows(write):
    for content in (PLAIN, PLAIN.replace("p1", '"p1"')):
        table = read_table(write(content), wanted=["Mass"])
        assert table.columns.columns.tolist() == []
        assert table.lines == [2, 3]


def test_a_row_that_ends_early_is_blank_in_the_rest_where_that_is_wanted(write):
    for row in ("a.png,p", 'a.png,"p"'):
        path = write(f"image,patient,Edema\n{row}\nb.png,p,1\n")
        assert read(path, fill=True).columns["Edema"].tolist() == ["", "1"]
        with pytest.raises(DataError, match=r"t\.csv, line 2: 2 cells under 3 columns"):
            read_table(path)
    assert read(write("image,patient,Edema\na.png,p\nb.png,p\n"), fill=True).columns["Edema"].tolist() == ["", ""]


def test_what_could_be_guessed_wrongly_is_noted(write):
    assert not read(write(PLAIN)).notes
    assert not read(write(PLAIN.replace(",", ";"))).notes
    assert not read_table(write("image;Size[W,H]\na.png;1\n")).notes
    (note,) = read_table(write("image;Size[W,H]\na.png;1,2\n")).notes
    assert "t.csv: its header has commas and semicolons; columns are taken to be between" in note
    (note,) = read(write("#1\n#2\n" + PLAIN)).notes
    assert "2 lines that begin with # are taken for a comment, first line 1" in note


def test_commas_in_the_cells_of_a_table_with_semicolons_stay_there(write):
    table = read_table(write("image;Edema\na,b.png;0,53\nc.png;0,1\n"))
    assert table.columns.to_numpy().tolist() == [["a,b.png", "0,53"], ["c.png", "0,1"]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"image,Edema\na.png,1\n\xe9.png,0\n", r"t\.csv, line 3 is no UTF-8: byte 0xE9; save the file as UTF-8"),
        (b"image,Edema\na.png,1\nb\0.png,0\n", r"t\.csv, line 3 holds a NUL character"),
        ("image,Edema\n".encode("utf-16") + b"a", r"t\.csv, line 2 is no UTF-16-LE"),
        (b"", r"t\.csv is empty"),
        (b"# nothing\n\n", r"t\.csv is empty"),
        (b"image,Edema\n", r"t\.csv has a header and no rows"),
        (b"image,Edema\na.png,1\nb.png,1,2\n", r"t\.csv, line 3: 3 cells under 2 columns"),
        (b'image,Edema\na.png,1\n"b.png,1\nc.png,1\n', r"t\.csv, line 3: a cell's quotes are not closed rightly"),
        (b"PK\x03\x04more", r"t\.csv is a zip archive, as Excel's workbooks are; save"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-12], r"t\.csv is damaged: it begins as gzip does"),
        (b"\x1f\x8bnothing", r"t\.csv is damaged: it begins as gzip does"),
    ],
)
def test_what_is_no_table_is_named_by_file_and_line(write, content, says):
    with pytest.raises(DataError, match=says):
        read_table(write(content))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*absent\.csv"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is no ordinary file"):
        read_table(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_a_list_is_its_lines_without_comments_and_blanks(write, encoding):
    path = write("# names\r\na.png\r\n\r\n  b.png 0 1\r\n".encode(encoding))
    assert read_lines(path) == ["a.png", "b.png 0 1"]
    with pytest.raises(DataError, match=r"t\.csv, line 2 holds a NUL"):
        read_lines(write(b"a\nb\0\n"))


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=5)


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    st.sampled_from(",;\t"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_what_a_spreadsheet_writes_is_read_back(tmp_path_factory, rows, separator, encoding, end, always_quoted):
    rows = [(f"i{number}{first}", *rest) for number, (first, *rest) in enumerate(rows)]
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL if always_quoted else csv.QUOTE_MINIMAL
    )
    writer.writerows([HEADER, *rows])
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    table = read_table(path)
    assert table.columns.to_numpy().tolist() == [list(row) for row in rows]
    assert table.lines == list(range(2, len(rows) + 2))
    assert not table.notes
