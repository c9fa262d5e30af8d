"""The JSON schema of a config, for editors that check TOML while it is typed: each family becomes one choice by `kind`."""

from typing import Any

from pydantic import TypeAdapter

from phalanx.core.component import Component, families, members


def json_schema(root: type[Component]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of `root` as a table, with every family that it can reach and all their members.

    A family is one definition (`aggregator`), each member another (`aggregator.krum`), so a pipeline of aggregators is no
    infinite schema. What only Python can check, such as two fields against each other, is not in it.
    """
    definitions: dict[str, Any] = {}
    document = _table(root, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "$defs": definitions}


def _table(component: type[Component], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = TypeAdapter(component).json_schema()
    for name, shared in schema.pop("$defs", {}).items():
        definitions[name] = _resolved(shared, definitions)
    resolved: dict[str, Any] = _resolved(schema, definitions)
    return resolved


def _resolved(node: Any, definitions: dict[str, Any]) -> Any:
    """The node with families as references and without null, which TOML cannot write."""
    if isinstance(node, list):
        return [_resolved(item, definitions) for item in node if item != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    found = {key: _resolved(item, definitions) for key, item in node.items() if (key, item) != ("default", None)}
    if len(found.get("anyOf", ())) == 1:
        found |= found.pop("anyOf")[0]
    if "x-family" in found:
        found["$ref"] = _family(found.pop("x-family"), definitions)
    return found


def _family(name: str, definitions: dict[str, Any]) -> str:
    """A reference to the family's definition, which is written first if this is the first time."""
    if name not in definitions:
        choices: list[dict[str, str]] = []
        definitions[name] = {"oneOf": choices}  # before its members, who may hold the family themselves
        choices += [{"$ref": _member(member, definitions)} for member in members(families()[name]).values()]
    return f"#/$defs/{name}"


def _member(member: type[Component], definitions: dict[str, Any]) -> str:
    name = f"{member.family}.{member.kind}"
    if name not in definitions:
        definitions[name] = {}
        table = _table(member, definitions)
        definitions[name] = table | {"required": ["kind", *table.get("required", [])]}
    return f"#/$defs/{name}"
