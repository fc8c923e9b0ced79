"""What is searched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board import Row
from harness.choices import resolve
from harness.cli.study_listing import print_space
from harness.components import Choice, Float, Int
from harness.errors import UnknownNameError, UsageError
from harness.tuning.figures import locate
from harness.tuning.space import (
    Dimension,
    default_values,
    gather_space,
    parse_search,
    read_space,
    require_space,
    with_values,
)

ROW = Row(model="tiny-cnn", loss="focal", recipe="demo")


def gather(registry, *searched, file=None, fixed=None):
    return gather_space(resolve(ROW, registry), file, searched, fixed or {})


def test_components_declare_their_space_with_their_section(registry):
    found = gather(registry)
    assert {"model.width", "loss.gamma", "recipe.lr"} <= set(found)
    assert found["loss.gamma"] == Dimension("loss.gamma", Float(0.0, 5.0), "loss 'focal'")


def test_a_probe_does_not_search_what_a_network_does_only_in_training(registry):
    probe = resolve(Row(model="tiny-cnn", loss="bce", recipe="linear-probe"), registry)
    assert "model.width" in gather_space(probe, None, (), {})
    assert "model.drop_rate" not in gather_space(probe, None, (), {})
    assert "model.drop_rate" in gather_space(probe, None, ("model.drop_rate=0.1,0.2",), {})


def test_search_adds_and_replaces_and_what_is_set_is_not_searched(registry):
    found = gather(
        registry, "recipe.lr=1e-5..1e-3:log", "recipe.augment.flip=true,false", fixed={"loss": {"gamma": 2.0}}
    )
    assert found["recipe.lr"].values == Float(1e-5, 1e-3, log=True)
    assert found["recipe.augment.flip"].values == Choice((True, False))
    assert "loss.gamma" not in found


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("recipe.epochs=2..8", Int(2, 8)),
        ("recipe.lr=1..2.5", Float(1.0, 2.5)),
        ("recipe.batch_size=8,16", Choice((8, 16))),
        ("recipe.optimizer=adam,sgd", Choice(("adam", "sgd"))),
        ("recipe.gradient_clip=none,1.0", Choice((None, 1.0))),
    ],
)
def test_a_search_on_the_command_line_is_a_range_or_a_choice(text, values):
    assert parse_search(text).values == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr=1..2", "write --search recipe.lr"),
        ("recipe.lr", "write --search recipe.lr"),
        ("recipe.lr=2..1", "low must be below high"),
        ("recipe.lr=0..1:log", "begins above 0"),
        ("recipe.lr=a..b", "must be numbers"),
        ("recipe.lr=1..2:exp", ":log or nothing"),
        ("recipe.lr=1", "at least two values"),
    ],
)
def test_a_search_that_means_nothing_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_search(text)


def test_a_file_is_the_space_in_place_of_the_components(registry, tmp_path):
    file = tmp_path / "space.toml"
    file.write_text("[recipe]\nlr = { low = 1e-5, high = 1e-3, log = true }\naugment.flip = [true, false]\n")
    found = gather(registry, file=file)
    assert {name: one.values for name, one in found.items()} == {
        "recipe.lr": Float(1e-5, 1e-3, log=True),
        "recipe.augment.flip": Choice((True, False)),
    }
    assert found["recipe.lr"].origin == "space.toml"


@pytest.mark.parametrize(
    ("text", "message"),
    [("[recipes]\nlr = [1, 2]", "did you mean 'recipe'"), ("[recipe]\nlr = 1", "give a range"), ("=", "is not TOML")],
)
def test_a_file_that_means_nothing_is_refused(tmp_path, text, message):
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises((UsageError, UnknownNameError), match=message):
        read_space(file)
    with pytest.raises(UsageError, match="No such file"):
        read_space(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("recipe.lrr=1..2", "did you mean 'recipe.lr'"),
        ("loss.gama=1..2", "did you mean 'loss.gamma'"),
        ("recipe.lr=-1..1", "recipe.lr = -1 .*is not allowed"),
        ("recipe.epochs=0..3", "epochs must be at least 1"),
        ("recipe.optimizer=adam,adamm", "optimizer"),
        ("model.width=8.5..9.5", "must be a whole number between 1 and 1024, got 8.5"),
        ("loss.gamma=1..2", "nothing is built here"),
    ],
)
def test_what_components_do_not_have_or_do_not_allow_is_refused(registry, search, message):
    with pytest.raises((UsageError, UnknownNameError), match=message):
        require_space(gather(registry, search), ROW, registry, refuse)


def refuse(choices):
    """A component that allows nothing."""
    raise ValueError("nothing is built here")


def test_nothing_to_search_is_refused_with_what_to_do(registry):
    fixed: dict[str, dict[str, int]] = {"model": {}, "loss": {}, "recipe": {}}
    for name in gather(registry):
        section, _, inner = name.partition(".")
        fixed[section][inner] = 1
    with pytest.raises(UsageError, match="--search recipe"):
        gather(registry, fixed=fixed)


def test_defaults_are_those_of_the_row_and_values_make_a_row(registry):
    row = Row(model="tiny-cnn", loss="focal", recipe="demo", params={"loss": {"gamma": 1.5}})
    defaults = default_values(gather(registry), resolve(row, registry))
    assert defaults["loss.gamma"] == 1.5
    changed = with_values(row, {"loss.gamma": 3.0, "recipe.augment.flip": True, "model.width": 9})
    assert changed.params == {"model": {"width": 9}, "loss": {"gamma": 3.0}, "recipe": {"augment.flip": True}}
    assert resolve(changed, registry).recipe.augment.flip
    assert with_values(row, {}) == row


@given(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0), st.booleans())
def test_a_place_in_a_dimension_grows_with_the_value(one, other, log):
    dimension = Dimension("recipe.lr", Float(1e-6, 1.0, log), "")
    lower, upper = (locate(value, dimension) for value in sorted((one, other)))
    assert lower is not None
    assert upper is not None
    assert 0 <= lower <= upper <= 1 + 1e-9
    assert locate(2.0, dimension) is None
    assert locate("b", Dimension("x.y", Choice(("a", "b", "c")), "")) == 0.5


@pytest.mark.parametrize(
    ("values", "inside", "outside"),
    [
        (Float(0.0, 1.0), [0, 0.5, 1.0], [1.5, None, "0.5", True]),
        (Int(1, 3), [1, 3], [0, 2.0, True]),
        (Choice((True, 1.0, None)), [True, 1.0, None], [1, False]),
    ],
)
def test_a_dimension_knows_what_it_holds(values, inside, outside):
    dimension = Dimension("recipe.x", values, "")
    assert all(map(dimension.holds, inside))
    assert not any(map(dimension.holds, outside))


def test_a_space_is_printed_with_names_and_values_of_any_text(make_plan, capsys):
    values = Choice(("[red]", "[/]", "x[0]", "a<b>", "肺炎"))
    name = "model.[bold]"
    print_space(
        make_plan(dimensions={name: Dimension(name, values, "[/].toml")}, defaults={name: "[dim]"}), "it takes a while"
    )
    out = capsys.readouterr().out
    for text in ("model.[bold]", "[red]", "[/]", "x[0]", "a<b>", "肺炎", "[/].toml", "[dim]"):
        assert text in out
