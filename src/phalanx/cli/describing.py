"""What a component says of itself, as values: read off its class, its fields and its docstrings. `phalanx list` prints it."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from phalanx.core.component import Component, dump
from phalanx.core.numbers import LARGEST_FLOAT32, SMALLEST_FLOAT32

_SECTION = re.compile(r"(?:^|(?<=[.)] ))(Reference|Differs from [^:\n]*|Raises): ?", re.MULTILINE)
_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True)
class FieldDescription:
    """A field: its type and range as a reader would write them, its default (None where there is none), what it means."""

    name: str
    type: str
    is_required: bool
    default: Any
    text: str


@dataclass(frozen=True)
class Description:
    """A component: its first sentence, when to use it and when not, its fields, and where it comes from."""

    family: str | None
    kind: str
    summary: str
    text: str
    fields: tuple[FieldDescription, ...]
    reference: str
    differs: str
    raises: str

    def to_table(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)


def describe(member: type[Component]) -> Description:
    """Everything that a component's class says."""
    body = (inspect.getdoc(member) or "").partition("\n>>>")[0]
    summary, _, rest = body.partition("\n\n")
    text, *sections = _SECTION.split(rest)
    named = {name.partition(" ")[0]: " ".join(content.split()) for name, content in zip(sections[::2], sections[1::2])}
    documented = _field_texts(member)
    fields = tuple(_field(field, documented.get(field.name, "")) for field in dataclasses.fields(member))  # type: ignore[arg-type]
    return Description(
        family=member.family,
        kind=member.kind,
        summary=" ".join(summary.split()),
        text=text.strip(),
        fields=fields,
        reference=named.get("Reference", ""),
        differs=named.get("Differs", ""),
        raises=named.get("Raises", ""),
    )


def short_reference(reference: str) -> str:
    """First author and year; empty where a method has no paper of its own.

    >>> short_reference("Blanchard et al., Machine Learning with Adversaries, NeurIPS 2017 (arXiv 1703.02757).")
    'Blanchard 2017'
    >>> short_reference("none of its own; Gu et al., BadNets, 2017.")
    ''
    """
    year = re.search(r"\b(?:19|20)\d\d\b", re.sub(r"arXiv \S+", "", reference))
    if not year or reference.startswith("none"):
        return ""
    author = re.split(r",| et al\.| and ", reference)[0]
    return f"{author} {year[0]}"


def toml(value: Any) -> str:
    """A value as TOML writes it.

    >>> toml({"kind": "sgd", "lr": 0.1}), toml(True), toml([1, 2])
    ('{ kind = "sgd", lr = 0.1 }', 'true', '[1, 2]')
    """
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {toml(item)}' for name, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def type_name(annotation: Any) -> str:
    """A field's type as a reader would write it, with its range.

    >>> type_name(Annotated[float, "positive"] | None), type_name(tuple[int, ...]), type_name(Literal["a", "b"])
    ('float, optional', 'tuple[int, ...]', '"a" | "b"')
    >>> from phalanx.core.numbers import Share
    >>> type_name(Share), type_name(tuple[Share, Share])
    ('0 < float <= 1', 'tuple[0 < float <= 1, 0 < float <= 1]')
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _ranged(type_name(parts[0]), parts[1:])
    if origin is Literal:
        return " | ".join(map(toml, parts))
    if origin in (Union, UnionType):
        names = " | ".join(type_name(part) for part in parts if part is not NoneType)
        return f"{names}, optional" if NoneType in parts else names
    if origin is tuple:
        return f"tuple[{', '.join('...' if part is Ellipsis else type_name(part) for part in parts)}]"
    if isinstance(annotation, type) and issubclass(annotation, Component) and annotation.family:
        return annotation.family
    return {"str": "text"}.get(name := getattr(annotation, "__name__", str(annotation)), name)


def _ranged(name: str, notes: Iterable[Any]) -> str:
    """A type with what its annotations allow; the borders of float32 itself are no news, but that 0 is outside is."""
    rules = [rule for note in notes for rule in (getattr(note, "metadata", None) or [note])]
    found = {sign: value for rule in rules for sign in _SIGNS if isinstance(value := getattr(rule, sign, None), int | float)}
    if found.get("ge") == SMALLEST_FLOAT32:
        found = {"gt": 0, **{sign: value for sign, value in found.items() if sign != "ge"}}
    found = {sign: value for sign, value in found.items() if abs(value) != LARGEST_FLOAT32}
    below = "".join(f"{found[sign]:g} {_SIGNS[sign].replace('>', '<')} " for sign in ("gt", "ge") if sign in found)
    above = "".join(f" {_SIGNS[sign]} {found[sign]:g}" for sign in ("lt", "le") if sign in found)
    if below and not above:
        return "".join(f"{name} {_SIGNS[sign]} {found[sign]:g}" for sign in ("gt", "ge") if sign in found)
    return f"{below}{name}{above}"


def _field(field: "dataclasses.Field[Any]", text: str) -> FieldDescription:
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    required = default is dataclasses.MISSING
    return FieldDescription(field.name, type_name(field.type), required, None if required else dump(default), text)


def _field_texts(member: type[Component]) -> dict[str, str]:
    """The docstrings below fields, those of base classes included. Without source there are none."""
    found: dict[str, str] = {}
    for cls in reversed(member.__mro__):
        if not issubclass(cls, Component) or cls is Component:
            continue
        try:
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        except (OSError, TypeError, ValueError, SyntaxError):
            continue
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:]):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                text = below.value.value if isinstance(below.value, ast.Constant) else None
                found[field.target.id] = " ".join(text.split()) if isinstance(text, str) else ""
    return found
