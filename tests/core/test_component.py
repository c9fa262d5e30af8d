"""A component behaves in Python as in TOML: strict, closed, and every message names the path, the value and the way out."""

import contextlib
import copy
import dataclasses
import textwrap
import tomllib
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from phalanx.core import component
from phalanx.core.component import Component, families, members, snake_case
from phalanx.core.errors import ConfigError


class Shape(Component, ABC, family="test_shape"):
    """Anything with an outline."""


class Circle(Shape):
    """A circle."""

    radius: PositiveFloat = 1.0


class Square(Shape):
    """A square with an open range."""

    side: PositiveInt
    _: KW_ONLY
    colour: Literal["red", "blue"] = "red"
    label: str | None = None
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"low must be below high; got low={self.low}, high={self.high}.")


class Group(Shape):
    """Shapes that belong together."""

    parts: tuple[Shape, ...] = ()
    frame: Shape | None = None


class Drawing(Component):
    """What a config holds: families, a concrete class, scalars."""

    title: str = ""
    main: Shape = Circle()
    corner: Square = Square(1)
    parts: tuple[Shape, ...] = ()
    weights: tuple[float, ...] = ()
    size: tuple[int, int] = (1, 1)
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    copies: NonNegativeInt = 1
    visible: bool = True


FULL = {
    "title": "a",
    "main": {"kind": "group", "parts": [{"kind": "circle", "radius": 2.0}, {"kind": "square", "side": 3, "colour": "blue"}]},
    "corner": {"side": 2, "label": "c"},
    "parts": [{"kind": "circle"}, {"kind": "group", "frame": {"kind": "circle", "radius": 0.5}}],
    "weights": [1, 2.5],
    "size": [3, 4],
    "alpha": 0.25,
    "copies": 0,
    "visible": False,
}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"titel": "a"}, "titel: unknown field; did you mean 'title'? Allowed: title, main, corner"),
        ({"zzz": 1}, "zzz: unknown field. Allowed: title"),
        ({"copies": "3"}, "copies: input should be a valid integer; got '3'."),
        ({"copies": True}, "copies: input should be a valid integer; got True."),
        ({"copies": 2.0}, "copies: input should be a valid integer; got 2.0."),
        ({"copies": -1}, "copies: input should be greater than or equal to 0; got -1."),
        ({"alpha": "0.5"}, "alpha: input should be a valid number; got '0.5'."),
        ({"alpha": True}, "alpha: input should be a valid number; got True."),
        ({"alpha": float("nan")}, "alpha: input should be a finite number; got nan."),
        ({"alpha": float("inf")}, "alpha: input should be a finite number; got inf."),
        ({"alpha": 1.5}, "alpha: input should be less than or equal to 1; got 1.5."),
        ({"visible": 1}, "visible: input should be a valid boolean; got 1."),
        ({"visible": "true"}, "visible: input should be a valid boolean; got 'true'."),
        ({"title": 3}, "title: input should be a valid string; got 3."),
        ({"weights": 3}, "weights: input should be a valid tuple; got 3."),
        ({"weights": [1, "a"]}, "weights.1: input should be a valid number; got 'a'."),
        ({"weights": [10**400]}, "weights.0: input should be an integer of at most 64 bits."),
        ({"copies": 16**20_000}, "copies: input should be an integer of at most 64 bits."),
        ({"copies": 2**63 - 1, "alpha": 2}, "alpha: input should be less than or equal to 1; got 2."),
        ({"size": [1]}, "size.1: this field is required."),
        ({"size": [1, 2, 3]}, "size: tuple should have at most 2 items"),
        ({"main": 5}, "main: expected a table with kind = one of the test_shape family; got 5."),
        ({"main": {}}, "main: kind is missing. Allowed: circle, group, square."),
        (
            {"main": {"kind": "cirlce"}},
            "main: kind = 'cirlce' is unknown; did you mean 'circle'? Allowed: circle, group, square.",
        ),
        ({"main": {"kind": 3}}, "main: kind = 3 is unknown. Allowed: circle, group, square."),
        ({"main": {"kind": {}}}, "main: kind = {} is unknown. Allowed: circle, group, square."),
        ({"main": {"kind": "test_shape"}}, "main: kind = 'test_shape' is unknown"),
        ({"main": {"kind": "circle", "radius": 0}}, "main.radius: input should be greater than 0; got 0."),
        ({"main": {"kind": "circle", "side": 1}}, "main.side: unknown field. Allowed: radius."),
        ({"main": {"kind": "square"}}, "main.side: this field is required."),
        ({"corner": {"side": 1, "colour": "green"}}, "corner.colour: input should be 'red' or 'blue'; got 'green'."),
        ({"corner": {"kind": "circle", "side": 1}}, "corner.kind: unknown field"),
        ({"corner": 4}, "corner: input should be a dictionary or an instance of Square; got 4."),
        ({"corner": {"side": 1, "low": 2}}, "corner: low must be below high; got low=2.0, high=1.0."),
        (
            {"main": {"kind": "group", "parts": [{"kind": "circle"}, {"kind": "square", "side": -1}]}},
            "main.parts.1.side: input",
        ),
        ({"parts": [{"kind": "group", "frame": {"kind": "cube"}}]}, "parts.0.frame: kind = 'cube' is unknown. Allowed:"),
        ({"kind": "drawing"}, "kind: unknown field"),
    ],
)
def test_a_wrong_table_is_refused_with_path_value_and_remedy(table, message):
    with pytest.raises(ConfigError) as error:
        Drawing.from_table(table)
    assert str(error.value).startswith(message)


def test_every_mistake_of_a_table_has_its_own_line():
    with pytest.raises(ConfigError) as error:
        Drawing.from_table({"copies": "3", "alpha": 7, "main": {"kind": "circle", "radius": "x"}})
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["main.radius", "alpha", "copies"]


def test_a_wrong_entry_of_a_tuple_is_one_mistake():
    class Steps(Component):
        milestones: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]

    with pytest.raises(ConfigError) as error:
        Steps.from_table({"milestones": [0]})
    assert str(error.value) == "milestones.0: input should be greater than 0; got 0."
    with pytest.raises(ConfigError, match=r"^milestones: tuple should have at least 1 item"):
        Steps.from_table({"milestones": []})


def test_a_table_that_is_no_table_is_refused():
    for value in (5, "circle", None, []):
        with pytest.raises(ConfigError, match=r"^input should be a dictionary"):
            Drawing.from_table(value)
        with pytest.raises(ConfigError, match=r"^expected a table with kind"):
            Shape.from_table(value)


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ConfigError) as error:
        Drawing.from_table({"copies": "x" * 1000})
    assert len(str(error.value)) < 160


def test_python_is_as_strict_as_toml_and_names_the_field():
    with pytest.raises(ConfigError, match=r"^Square\.side: input should be a valid integer; got True\.$"):
        Square(True)
    with pytest.raises(ConfigError, match=r"^Square\.oops: unknown field"):
        Square(1, oops=2)
    with pytest.raises(ConfigError, match=r"^Square\.side: this field is required\.$"):
        Square()
    with pytest.raises(ConfigError, match=r"^Square: low must be below high; got low=3\.0"):
        Square(1, low=3.0)
    with pytest.raises(ConfigError, match=r"^Group\.parts\.1\.side: "):
        Group((Circle(), {"kind": "square", "side": "x"}))


def test_options_are_given_by_name_only():
    with pytest.raises(ConfigError, match=r"^Square takes at most 1 values without a name \(side\); got 2\."):
        Square(1, "red")
    assert Square(1, colour="blue").colour == "blue"


def test_a_value_given_twice_is_an_error_as_for_any_function():
    with pytest.raises(TypeError, match="multiple values"):
        Square(1, side=1)


def test_an_integer_is_a_number():
    assert Circle(2).radius == 2.0
    assert type(Circle(2).radius) is float


def test_a_family_field_takes_an_instance_as_it_is():
    circle = Circle(3.0)
    assert Group((circle,)).parts[0] is circle
    with pytest.raises(ConfigError, match="expected a table with kind"):
        Group((Drawing(),))


def test_components_are_values():
    one, same, other = Square(2, label="a"), Square(2, label="a"), Square(3)
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert len({one, same, other}) == 2
    assert one != Circle()
    assert repr(other) == "Square(side=3, colour='red', label=None, low=0.0, high=1.0)"
    assert copy.deepcopy(one) == one
    assert dataclasses.replace(one, side=3).label == "a"


def test_components_are_frozen():
    square = Square(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        square.side = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del square.side


def test_replacing_a_field_validates_again():
    with pytest.raises(ConfigError, match="low must be below high"):
        dataclasses.replace(Square(1), low=2.0)


def test_a_table_becomes_the_component_that_python_writes():
    drawing = Drawing.from_table(FULL)
    assert drawing.main == Group((Circle(2.0), Square(3, colour="blue")))
    assert drawing.parts[1] == Group(frame=Circle(0.5))
    assert drawing.weights == (1.0, 2.5)


def test_a_component_survives_toml():
    drawing = Drawing.from_table(FULL)
    text = tomli_w.dumps(drawing.to_table())
    assert Drawing.from_table(tomllib.loads(text)) == drawing
    assert tomllib.loads(text)["main"]["parts"][1]["kind"] == "square"


def test_a_member_survives_as_itself_and_through_its_family():
    square = Square(2, label="a")
    assert square.to_table()["kind"] == "square"
    assert Square.from_table(square.to_table()) == square
    assert Shape.from_table(square.to_table()) == square
    with pytest.raises(ConfigError, match="kind: unknown field"):
        Circle.from_table({"kind": "square"})


def test_from_table_leaves_the_table_alone():
    table = copy.deepcopy(FULL)
    Drawing.from_table(table)
    assert table == FULL


def test_none_is_left_out_of_the_table_because_toml_has_none():
    assert "label" not in Square(1).to_table()
    with pytest.raises(TypeError, match=r"Bad\.x may be None, so None must be its default"):
        type("Bad", (Component,), {"__annotations__": {"x": int | None}, "x": 3})


def test_a_hand_written_toml_file_is_read():
    text = """
        title = "hand"
        [main]
        kind = "square"
        side = 4
        [[parts]]
        kind = "circle"
    """
    drawing = Drawing.from_table(tomllib.loads(textwrap.dedent(text)))
    assert (drawing.main, drawing.parts) == (Square(4), (Circle(),))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("SGD", "sgd"), ("MultiKrum", "multi_krum"), ("DPSGDTrainer", "dpsgd_trainer"), ("X", "x"), ("MinMax2", "min_max2")],
)
def test_a_class_name_is_spelt_in_snake_case(name, expected):
    assert snake_case(name) == expected


def test_the_kind_can_be_given_by_hand_and_is_not_inherited():
    class Base(Component, ABC, family="test_kinds"): ...

    class First(Base, kind="number1"): ...

    class Second(First): ...

    assert list(members(Base)) == ["number1", "second"]
    assert First.from_table({}) == First()
    assert Base.from_table({"kind": "second"}) == Second()


def test_abstract_and_private_classes_are_no_members():
    class Base(Component, ABC, family="test_abstract"): ...

    class Middle(Base, ABC):
        @abstractmethod
        def area(self) -> float: ...

    class _Hidden(Base): ...

    class Leaf(Middle):
        def area(self) -> float:
            return 0.0

    assert members(Base) == {"leaf": Leaf}


def test_a_family_below_a_family_is_found_from_both():
    class Outer(Component, ABC, family="test_outer"): ...

    class Inner(Outer, ABC, family="test_inner"): ...

    class Leaf(Inner):
        size: int = 1

    class Holder(Component):
        item: Outer = Leaf()

    assert families(Outer) == {"test_outer": Outer, "test_inner": Inner}
    assert Outer.from_table({"kind": "leaf", "size": 3}) == Leaf(3)
    assert Holder.from_table(Holder(Leaf(2)).to_table()) == Holder(Leaf(2))


def test_two_classes_with_one_name_are_an_error_wherever_they_are_asked_for():
    class Base(Component, ABC, family="test_clash"): ...

    def first():
        class Same(Base): ...

        return Same

    def second():
        class Same(Base): ...

        return Same

    kept = first(), second()
    assert kept[0] is not kept[1]
    with pytest.raises(ConfigError, match="Two classes are called 'same' in family test_clash"):
        members(Base)
    with pytest.raises(ConfigError, match="Two classes are called 'same' in family test_clash"):
        Base.from_table({"kind": "same"})


def test_a_class_written_again_in_the_same_place_replaces_the_old_one():
    class Base(Component, ABC, family="test_again"): ...

    def define(default):
        class Cell(Base):
            size: int = default

        return Cell

    old, new = define(1), define(2)
    assert members(Base) == {"cell": new}
    assert Base.from_table({"kind": "cell"}) == new()
    assert type(Base.from_table({"kind": "cell"})) is not old


def test_third_parties_join_through_entry_points(monkeypatch):
    class Base(Component, ABC, family="test_plugin"): ...

    made = []

    def load():
        class Foreign(Base):
            size: int = 1

        made.append(Foreign)

    point = SimpleNamespace(group="phalanx.test_plugins", value="foreign.package", load=lambda: made or load())
    monkeypatch.setattr(component, "entry_points", lambda group: [point] if group == point.group else [])
    assert Base.from_table({"kind": "foreign", "size": 2}).size == 2
    assert members(Base) == {"foreign": made[0]}


def test_what_was_given_in_python_loads_but_is_not_suggested():
    class Base(Component, ABC, family="test_given"): ...

    class Here(Base, kind="custom"):
        digest: str

    class Other(Base): ...

    assert members(Base) == {"other": Other}
    assert Base.from_table(Here("abc").to_table()) == Here("abc")
    with pytest.raises(ConfigError, match=r"kind = 'custom_' is unknown. Allowed: other.$"):
        Base.from_table({"kind": "custom_"})


def test_an_entry_point_that_cannot_be_imported_is_named(monkeypatch):
    class Base(Component, ABC, family="test_break"): ...

    def load():
        raise ImportError("no such thing")

    point = SimpleNamespace(group="phalanx.test_breaks", value="broken.package", load=load)
    monkeypatch.setattr(component, "entry_points", lambda group: [point])
    with pytest.raises(ConfigError, match=r"The entry point phalanx\.test_breaks: broken\.package cannot be imported: no such"):
        members(Base)


scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(10**300, 10**310) | st.floats() | st.text(max_size=5) | st.dates()
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "side", "parts", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value, prefix=()):
    """Every place in a nested table, the root left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*prefix, key)
        yield from paths(item, (*prefix, key))


@st.composite
def mutated(draw):
    """The valid table with one to three of its values replaced, removed or joined by a stranger."""
    table = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(paths(table)) or [("title",)]))
        place = table
        for key in way:
            place = place[key]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                place[last] = draw(anything)
            case "remove":
                del place[last]
            case "add" if isinstance(place, dict):
                place[draw(st.text(max_size=6))] = draw(anything)
    return table


@given(mutated())
def test_a_mutated_table_is_either_valid_or_a_config_error(table):
    _loads_or_refuses(table)


@pytest.mark.slow
@settings(max_examples=1000)
@given(mutated())
def test_a_thousand_mutated_tables_are_valid_or_config_errors(table):
    _loads_or_refuses(table)


def _loads_or_refuses(table):
    with contextlib.suppress(ConfigError):
        drawing = Drawing.from_table(table)
        assert Drawing.from_table(drawing.to_table()) == drawing
