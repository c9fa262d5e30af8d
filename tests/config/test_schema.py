"""The schema says about a table what `from_table` says, as far as a schema can."""

from abc import ABC
from typing import Annotated, Literal

import jsonschema
import pytest
from pydantic import Field, NonNegativeInt

from phalanx.config.experiment import Experiment
from phalanx.config.schema import json_schema
from phalanx.core.component import Component, members
from phalanx.core.errors import ConfigError
from phalanx.core.families import Aggregator


class Tool(Component, ABC, family="schema_tool"):
    """Anything that one can hold."""


class Hammer(Tool):
    """A hammer. Its first paragraph
    is its description.

    And this is not.
    """

    weight: Annotated[float, Field(gt=0)] = 1.0


class Saw(Tool):
    """A saw."""

    teeth: NonNegativeInt
    grip: Literal["left", "right"] = "right"


class Belt(Tool):
    """Tools that hang together, belts among them."""

    tools: tuple[Tool, ...] = ()
    spare: Tool | None = None


class Handle(Component):
    """What a box is carried by."""

    length: float = 0.5


class Box(Component):
    """A box of tools."""

    best: Tool = Hammer(2.0)
    spare: Tool | None = None
    cutter: Saw = Saw(3)
    tools: tuple[Tool, ...] = ()
    handles: tuple[Handle, ...] = ()
    lid: Handle = Handle()
    depth: int | None = None


@pytest.fixture(scope="module")
def schema():
    return json_schema(Box)


@pytest.fixture(scope="module")
def validator(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


VALID = [
    {},
    {"best": {"kind": "hammer"}},
    {"best": {"kind": "saw", "teeth": 3, "grip": "left"}},
    {"best": {"kind": "belt", "tools": [{"kind": "belt", "spare": {"kind": "hammer", "weight": 1}}]}},
    {"spare": {"kind": "hammer"}, "cutter": {"teeth": 3}, "handles": [{"length": 1.5}], "lid": {}, "depth": 3},
    {"cutter": {"kind": "saw", "teeth": 3}},
    Box().to_table(),
    Box(best=Belt((Saw(1), Hammer())), spare=Belt(spare=Belt()), depth=2, handles=(Handle(), Handle(1.0))).to_table(),
]
WRONG = [
    {"bets": {}},
    {"best": {}},
    {"best": 3},
    {"best": {"kind": "axe"}},
    {"best": {"kind": "saw"}},
    {"best": {"kind": "hammer", "teeth": 3}},
    {"best": {"kind": "hammer", "weight": 0}},
    {"best": {"kind": "hammer", "weight": "1"}},
    {"best": {"kind": "saw", "teeth": 1.5}},
    {"best": {"kind": "saw", "teeth": True}},
    {"best": {"kind": "belt", "tools": [{"kind": "belt", "spare": {"kind": "hammer", "weight": -1}}]}},
    {"cutter": {"kind": "hammer", "teeth": 3}},
    {"cutter": {"teeth": 3, "grip": "both"}},
    {"handles": {"length": 1.0}},
    {"lid": {"size": 1}},
    {"depth": "3"},
    {"kind": "box"},
]


@pytest.mark.parametrize("table", VALID)
def test_what_the_component_takes_the_schema_takes(table, validator):
    Box.from_table(table)
    validator.validate(table)


@pytest.mark.parametrize("table", WRONG)
def test_what_the_component_refuses_the_schema_refuses(table, validator):
    with pytest.raises(ConfigError):
        Box.from_table(table)
    assert not validator.is_valid(table)


def test_every_member_is_described_by_its_first_paragraph_and_its_defaults(schema):
    hammer = schema["$defs"]["schema_tool.hammer"]
    assert hammer["description"] == "A hammer. Its first paragraph is its description."
    assert hammer["properties"]["weight"]["default"] == 1.0
    assert hammer["required"] == ["kind"]
    assert schema["properties"]["best"]["default"] == {"kind": "hammer", "weight": 2.0}
    assert schema["$defs"]["schema_tool.saw"]["required"] == ["kind", "teeth"]


def test_the_schema_of_an_experiment_knows_every_aggregator_and_takes_the_default():
    schema = json_schema(Experiment)
    choices = [choice["$ref"].rpartition(".")[2] for choice in schema["$defs"]["aggregator"]["oneOf"]]
    assert choices == list(members(Aggregator))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    validator.validate(Experiment().to_table())
    assert not validator.is_valid({"aggregator": {"kind": "krumm"}})
