"""The console that commands print to: a terminal's own width there, and in a pipe lines as long as they are."""

import os

from rich.console import Console

PIPE_WIDTH = 1000
"""In a pipe nothing is wrapped: a path cut in two is no path. No table stretches to the width, so no line is this long."""


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error where standard output is for a script. `NO_COLOR` and `COLUMNS` are respected."""
    shown = Console(stderr=stderr)
    return shown if shown.is_terminal or "COLUMNS" in os.environ else Console(stderr=stderr, width=PIPE_WIDTH)
