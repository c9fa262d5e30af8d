"""`Component`: the one way in which every method of Phalanx holds its hyper-parameters.

A component is a frozen dataclass validated by pydantic, in Python exactly as in TOML: unknown fields are refused, integers are
strict, nothing is coerced. A *family* (`Aggregator`, `UpdateAttack` …) is a direct subclass that names itself; a field typed as
a family takes an instance or a table with `kind`, and writes that table back.
"""

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from inspect import isabstract
from types import NoneType
from typing import Any, ClassVar, Self, cast, dataclass_transform, get_args

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import ArgsKwargs, CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from phalanx.core.errors import ConfigError
from phalanx.core.explain import explain, nearest

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=False)
Table = dict[str, Any]
GIVEN_IN_PYTHON = "custom"


@dataclass_transform(frozen_default=True, field_specifiers=(Field, dataclasses.field))
class Component:
    """Base of everything that a config can name. Subclass a family, write fields with types, and it is configurable.

    Class keywords: `family="aggregator"` makes a direct subclass a family; `kind="resnet20"` overrides the snake-case name.
    Components hold no tensors and no mutable state; equality, hash and repr are those of their fields.
    """

    family: ClassVar[str | None] = None
    kind: ClassVar[str]
    _base: ClassVar[type["Component"] | None] = None

    def __init_subclass__(cls, *, family: str | None = None, kind: str | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if family is not None:
            cls.family, cls._base = family, cls
        cls.kind = kind or snake_case(cls.__name__)
        pydantic_dataclass(frozen=True, config=_STRICT)(cls)
        construct = cls.__init__
        positional = [field.name for field in dataclasses.fields(cls) if not field.kw_only]  # type: ignore[arg-type]
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            if NoneType in get_args(field.type) and getattr(field.default, "default", field.default) is not None:
                raise TypeError(
                    f"{cls.__name__}.{field.name} may be None, so None must be its default: TOML cannot write None."
                )

        @functools.wraps(construct)
        def init(self: Component, *args: Any, **fields: Any) -> None:
            named = dict(zip(positional, args))  # so that an error says the field's name, not its place
            if len(args) > len(positional):
                raise ConfigError(
                    f"{type(self).__name__} takes at most {len(positional)} values without a name "
                    f"({', '.join(positional)}); got {len(args)}. Write the others as name=value."
                )
            try:
                construct(self, **named, **fields)
            except ValidationError as error:
                raise ConfigError(explain(error, prefix=type(self).__name__)) from None

        cls.__init__ = init  # type: ignore[assignment, method-assign]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        if cls._base is cls:
            return core_schema.no_info_plain_validator_function(
                functools.partial(_choose, cls), serialization=core_schema.plain_serializer_function_ser_schema(dump)
            )
        schema = handler(source)
        # Strict is for the fields; a table must still be able to become the dataclass itself.
        inner = cast(dict[str, Any], handler.resolve_ref_schema(schema))
        if inner["type"] == "dataclass":
            inner["strict"] = False
        return core_schema.no_info_before_validator_function(functools.partial(_refuse_unknown, cls), schema)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        if cls._base is cls:
            return {"x-family": cls.family}
        described = handler(schema)
        table = handler.resolve_ref_schema(described)
        table["description"] = " ".join((cls.__doc__ or "").partition("\n\n")[0].split())
        for name, field in cast(Any, cls).__pydantic_fields__.items():
            if not field.is_required():
                table["properties"][name]["default"] = dump(field.get_default(call_default_factory=True))
        if cls._base is not None:
            table["properties"] = {"kind": {"const": cls.kind}} | table["properties"]
        return described

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Build from a TOML table: with `kind` for a family, without for a concrete class.

        Raises: ConfigError naming the path, the value and the nearest valid name.
        """
        try:
            return TypeAdapter(cls).validate_python(_freeze(table))
        except ValidationError as error:
            raise ConfigError(explain(error)) from None

    def to_table(self) -> Table:
        """The component as a TOML table; `from_table` of it is equal to the component. Fields that are None are left out."""
        return cast(Table, dump(self))


def snake_case(name: str) -> str:
    """A class name as a config spells it.

    >>> [snake_case(name) for name in ("MultiKrum", "ALittleIsEnough", "SGD", "FedAdam")]
    ['multi_krum', 'a_little_is_enough', 'sgd', 'fed_adam']
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def dump(value: Any) -> Any:
    """A component, or any value inside one, as TOML-ready tables, lists and scalars."""
    if isinstance(value, Component):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}  # type: ignore[arg-type]
        kind = {} if value._base is None else {"kind": value.kind}
        return kind | {name: dump(item) for name, item in fields.items() if item is not None}
    if isinstance(value, tuple):
        return [dump(item) for item in value]
    if isinstance(value, Mapping):
        return {key: dump(item) for key, item in value.items()}
    return value


def members(family: type[Component]) -> dict[str, type[Component]]:
    """All concrete members of a family by `kind`: those imported, Phalanx's own, and those that entry points announce.

    Left out is `custom`: it records what was given in Python, so a config may hold it, but nobody can write it.

    Raises: ConfigError if two different classes claim one name, or an entry point cannot be imported.
    """
    for name in sorted(families(family)):
        for point in entry_points(group=f"phalanx.{name}s"):
            try:
                point.load()
            except Exception as error:
                raise ConfigError(f"The entry point {point.group}: {point.value} cannot be imported: {error}") from error
    return {kind: member for kind, member in sorted(_imported(family).items()) if kind != GIVEN_IN_PYTHON}


def families(base: type[Component] = Component) -> dict[str, type[Component]]:
    """The families at and below `base`, by name."""
    found = {} if base.family is None else {base.family: base}
    for child in base.__subclasses__():
        if child._base is child:
            found |= families(child)
    return found


def _imported(family: type[Component]) -> dict[str, type[Component]]:
    found: dict[str, type[Component]] = {}
    for member in _descendants(family):
        other = found.get(member.kind, member)
        if (other.__module__, other.__qualname__) != (member.__module__, member.__qualname__):
            raise ConfigError(
                f"Two classes are called {member.kind!r} in family {family.family}: "
                f"{other.__module__}.{other.__qualname__} and {member.__module__}.{member.__qualname__}. Rename one."
            )
        found[member.kind] = member  # a class written again in the same place (a notebook cell) replaces the old one
    return found


def _descendants(base: type[Component]) -> Iterator[type[Component]]:
    for child in base.__subclasses__():
        if not isabstract(child) and not child.__name__.startswith("_"):
            yield child
        yield from _descendants(child)


def _choose(family: type[Component], value: Any) -> Component:
    """Validate a family's field: an instance passes, a table is built by its `kind`."""
    if isinstance(value, family):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError(
            "family", "expected a table with kind = one of the {family} family", {"family": family.family}
        )
    fields = dict(value)
    kind = fields.pop("kind", None)
    if kind is None:
        raise PydanticCustomError("kind", "kind is missing. Allowed: {allowed}.", {"allowed": ", ".join(members(family))})
    chosen = _lookup(family, kind)
    return TypeAdapter(chosen).validate_python(fields)


def find(family: type[Component], kind: str) -> type[Component] | None:
    """The member of a family that is called so. Entry points are read (milliseconds) only where no imported one is.

    Raises: ConfigError as `members` does.
    """
    if kind not in _imported(family):
        members(family)  # imports what entry points announce
    return _imported(family).get(kind)


def _lookup(family: type[Component], kind: Any) -> type[Component]:
    known = find(family, str(kind))
    if isinstance(kind, str) and known is not None:
        return known
    hint = nearest(str(kind), members(family))
    raise PydanticCustomError("kind", "kind = {kind} is unknown{hint}", {"kind": repr(kind), "hint": hint})


def _freeze(value: Any, *path: object) -> Any:
    """TOML's lists as tuples, for strict validation takes no list for a tuple; its integers held to TOML's 64 bits."""
    if isinstance(value, Mapping):
        return {key: _freeze(item, *path, key) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_freeze(item, *path, place) for place, item in enumerate(value))
    if isinstance(value, int) and value.bit_length() > 63:
        raise ConfigError(f"{'.'.join(map(str, path))}: input should be an integer of at most 64 bits.")
    return value


def _refuse_unknown(cls: type[Component], value: Any) -> Any:
    """Name every unknown field with its nearest neighbour; pydantic's own message knows neither.

    A table may repeat the `kind` of the class that it is for, as `to_table` writes it.
    """
    given = value.kwargs if isinstance(value, ArgsKwargs) else value
    if not isinstance(given, Mapping):
        return value
    if given is value and cls._base is not None and given.get("kind") == cls.kind:
        given = value = {name: item for name, item in value.items() if name != "kind"}
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    unknown: list[InitErrorDetails] = [
        InitErrorDetails(
            type=PydanticCustomError("unknown", "unknown field{hint}", {"hint": nearest(str(name), names)}),
            loc=(str(name),),
            input=given[name],
        )
        for name in given
        if name not in names
    ]
    if unknown:
        raise ValidationError.from_exception_data(cls.__name__, unknown)
    return value
