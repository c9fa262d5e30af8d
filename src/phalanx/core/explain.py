"""What was wrong with a config, in sentences: the path, the value, the rule, and the nearest valid name."""

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from phalanx.core.numbers import LARGEST_FLOAT32, SMALLEST_FLOAT32

FLOAT32_BOUNDS = {
    SMALLEST_FLOAT32: "input should be positive (float32: at least 1.2e-38)",
    LARGEST_FLOAT32: "input should be at most 3.4e38, the largest number of float32",
    -LARGEST_FLOAT32: "input should be at least -3.4e38, the lowest number of float32",
}
"""In place of pydantic's forty digits."""


def explain(error: ValidationError, *, prefix: str = "") -> str:
    """A validation error as one line a mistake: path, what is wrong, what came, what is allowed."""
    items = error.errors(include_url=False)
    return "\n".join(_sentence(item, prefix) for item in items if not _merely_follows(item, items))


def _merely_follows(item: ErrorDetails, items: list[ErrorDetails]) -> bool:
    """A tuple is "too short" for pydantic when its entries are wrong, too; that would be a second, false reason."""
    inside = (other["loc"][: len(item["loc"])] == item["loc"] for other in items if other is not item)
    return item["type"] == "too_short" and any(inside)


def _sentence(item: ErrorDetails, prefix: str) -> str:
    path = ".".join(str(part) for part in (prefix, *item["loc"]) if part != "")
    bounds = item.get("ctx", {})
    message = FLOAT32_BOUNDS.get(bounds.get("ge", bounds.get("le", 0)), item["msg"].removeprefix("Value error, "))
    if item["type"] in ("missing", "missing_argument"):
        message = "this field is required."
    elif item["type"] not in ("unknown", "kind", "value_error"):
        message = f"{message[0].lower()}{message[1:]}; got {_short(item['input'])}."
    return f"{path}: {message}" if path else message


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def nearest(name: str, allowed: Iterable[str]) -> str:
    """'; did you mean …?' for a near miss, then what is allowed."""
    names = list(allowed)
    close = get_close_matches(name, names, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else "."
    return f"{guess} Allowed: {', '.join(names) or 'nothing'}."
