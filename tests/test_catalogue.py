"""Everything that a config can name is well formed: found through the installed entry points, described, closed under TOML."""

import contextlib
import dataclasses
import importlib
import tomllib
from importlib.metadata import entry_points
from typing import Annotated, get_args, get_origin

import pytest
import tomli_w
from pydantic import TypeAdapter, ValidationError

import phalanx.core.families
from phalanx.core.component import families, members
from phalanx.core.errors import ConfigError

FAMILIES = [family for family in families().values() if family.__module__ == phalanx.core.families.__name__]
MEMBERS = [
    (family, member) for family in FAMILIES for member in members(family).values() if member.__module__.startswith("phalanx.")
]


def test_every_family_is_announced_by_its_plural():
    groups = entry_points().groups
    assert groups >= {f"phalanx.{family.family}s" for family in FAMILIES if family.family != "stage"}
    assert not groups & {f"phalanx.{family.family}" for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_members_and_each_is_named_once(family):
    found = members(family)
    assert found
    assert all(member.kind == kind for kind, member in found.items())


@pytest.mark.parametrize(("family", "member"), MEMBERS)
def test_a_member_says_what_it_is(family, member):
    assert member.__doc__
    assert not member.__doc__.startswith(f"{member.__name__}("), "dataclasses wrote this docstring, not a person"


@pytest.mark.parametrize(("family", "member"), MEMBERS)
def test_a_member_is_exported_by_its_package(family, member):
    package = importlib.import_module(member.__module__.rpartition(".")[0])
    assert member.__name__ in package.__all__


@pytest.mark.parametrize(("family", "member"), MEMBERS)
def test_a_member_with_its_defaults_survives_toml_or_says_what_it_requires(family, member):
    with contextlib.suppress(ConfigError):
        component = family.from_table({"kind": member.kind})
        assert type(component) is member
        assert family.from_table(tomllib.loads(tomli_w.dumps(component.to_table()))) == component


@pytest.mark.parametrize(("family", "member"), MEMBERS)
def test_an_unknown_field_of_a_member_is_refused(family, member):
    with pytest.raises(ConfigError, match="no_such_field: unknown field"):
        family.from_table({"kind": member.kind, "no_such_field": 1})


@pytest.mark.parametrize(
    ("member", "field"),
    [(member, field) for _, member in MEMBERS for field in dataclasses.fields(member) if "float" in str(field.type)],
    ids=lambda value: getattr(value, "kind", getattr(value, "name", None)),
)
def test_a_float_that_a_tensor_cannot_hold_is_refused(member, field):
    with pytest.raises(ValidationError, match="less than"):
        TypeAdapter(field.type).validate_python(too_large(field.type))


def too_large(kind):
    """1e39, or tuples of it, as deep as the type has them."""
    if get_origin(kind) is Annotated:
        return too_large(get_args(kind)[0])
    inside = [part for part in get_args(kind) if part is not Ellipsis]
    return tuple(map(too_large, inside)) if get_origin(kind) is tuple else 1e39
