"""`phalanx schema`: the JSON schema of an experiment's file and of a sweep's, for editors."""

import json
from typing import Any

from phalanx.config import Experiment
from phalanx.config.schema import json_schema

TITLE = "An experiment of Phalanx, or a sweep"
SWEEP: dict[str, Any] = {
    "description": "Crosses the rest of the file with seeds, with values of single settings, and with named variants.",
    "type": "object",
    "properties": {
        "seeds": {
            "description": "Every cell is run once with each seed; scores are averaged over them.",
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "minItems": 1,
            "uniqueItems": True,
        },
        "let": {
            "description": 'Values that variants share: "$name" stands for the value of that name. A variant may set its own.',
            "type": "object",
        },
        "cross": {
            "description": "Settings with the values to cross: training.lr = [0.1, 0.3].",
            "$ref": "#/$defs/sweep.values",
        },
    },
    "additionalProperties": {
        "description": "An axis: its variants by name, each a table of settings that is laid over the file.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": "object"},
    },
}
VALUES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "array", "minItems": 1}, {"$ref": "#/$defs/sweep.values"}]},
}


def schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a config's file: all sections of an experiment, and `[sweep]`.

    Whether a sweep's variants fit the experiment shows only when they are laid over it: phalanx sweep FILE --dry-run.
    """
    document = json_schema(Experiment)
    document["title"] = TITLE
    document["properties"]["sweep"] = SWEEP
    document["$defs"]["sweep.values"] = VALUES
    return document


def print_schema() -> None:
    """Print it."""
    print(json.dumps(schema(), indent=2, ensure_ascii=False))  # noqa: T201 - the command's output
