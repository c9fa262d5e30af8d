"""Phalanx's docstrings are plain text, made for `help()`; here they become Markdown."""

import re
from typing import Any

from griffe import Extension, Object

LABEL = re.compile(r"^(Raises|Reference|Differs from [^:]+): (?=\S)")
ARXIV = re.compile(r"\barXiv (\d{4}\.\d{4,5})")


def to_markdown(text: str) -> str:
    """A docstring as Markdown: a label begins a paragraph, a doctest is a code block, a number on arXiv is a link."""
    lines, in_doctest = list[str](), False
    for line in text.splitlines():
        if in_doctest and not line.strip():
            lines, in_doctest = [*lines, "```", ""], False
            continue
        if line.startswith(">>> ") and not in_doctest:
            lines, in_doctest = [*lines, "", "```pycon"], True
        if not in_doctest and LABEL.match(line):
            lines.append("")
            line = LABEL.sub(r"**\1:** ", line)
        lines.append(line if in_doctest else ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", line))
    return "\n".join([*lines, "```"] if in_doctest else lines)


class Docstrings(Extension):
    """Rewrites every docstring when griffe has read it."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
