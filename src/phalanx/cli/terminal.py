"""The console that commands print to: a terminal's own width there, and in a pipe lines as long as they are."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.segment import Segment

PIPE_WIDTH = 1000
"""In a pipe nothing is wrapped: a path cut in two is no path. No table stretches to the width, so no line is this long."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error where standard output is for a script. `NO_COLOR` and `COLUMNS` are respected.

    Control characters in what is printed are shown as `�`: a run's folder may be a stranger's, and his words must not move the
    cursor or set the clipboard.
    """
    shown = Console(stderr=stderr)
    if not (shown.is_terminal or "COLUMNS" in os.environ):
        shown = Console(stderr=stderr, width=PIPE_WIDTH)
    shown.push_render_hook(_Printable())
    return shown


def printable(text: str) -> str:
    """A text without control characters, but for line ends and tabs.

    >>> printable("red\\x1b[31m")
    'red�[31m'
    """
    return _CONTROLS.sub("\ufffd", text)


class _Printable(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Cleaned(renderable) for renderable in renderables]


@dataclass
class _Cleaned:
    """What is rendered, with printable text; the console's own control codes pass."""

    inner: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self.inner, options):
            yield Segment(text if control else printable(text), style, control)
