"""Stacked bars in the terminal: what each client holds, class by class. The class is a character, so colour is not needed."""

from itertools import groupby

import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

MOST_ROWS = 30
MARKS = "0123456789abcdefghijklmnopqrstuvwxyz"
# Backgrounds on which black is legible, neighbours far apart: also for the colour-blind, since the mark tells them apart.
COLOURS = ("#8dd3c7", "#ffed6f", "#bebada", "#fb8072", "#80b1d3", "#fdb462", "#b3de69", "#fccde5", "#d9d9d9", "#bc80bd")


def bars(counts: Tensor, *, width: int) -> Table:
    """A bar for each client of `[n, C]`, or for MOST_ROWS of them, evenly spaced; the longest fills the width."""
    ids = torch.linspace(0, len(counts) - 1, min(len(counts), MOST_ROWS)).round().long().tolist()
    most = max(1, int(counts[ids].sum(1).max()))
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("client", justify="right")
    table.add_column("samples", justify="right")
    table.add_column("", no_wrap=True)
    for client in ids:
        own = groups(counts[client])
        size = int(own.sum())
        table.add_row(f"{client:,}", f"{size:,}", bar(own, length=max(round((width - 18) * size / most), int(size > 0))))
    return table


def bar(own: Tensor, *, length: int) -> Text:
    """One client's samples by class `[C]` as `length` characters, by largest remainders.

    >>> bar(torch.tensor([5, 0, 3]), length=8).plain, bar(torch.tensor([0, 0]), length=0).plain
    ('00000222', '')
    """
    exact = own.double() * length / own.sum().clamp(min=1)
    cells = exact.floor().long()
    largest = torch.argsort(exact - cells, descending=True, stable=True)[: length - int(cells.sum())]
    cells[largest] += 1
    marks = "".join(MARKS[place] * number for place, number in enumerate(cells.tolist()))
    return Text.assemble(*(("".join(run), _style(MARKS.index(mark))) for mark, run in groupby(marks)))


def groups(own: Tensor) -> Tensor:
    """Counts by class, where there are more classes than marks as counts by tens (hundreds …) of neighbouring classes."""
    size = group_size(len(own))
    return torch.nn.functional.pad(own, (0, -len(own) % size)).view(-1, size).sum(1)


def group_size(classes: int) -> int:
    """How many classes share a mark.

    >>> group_size(10), group_size(36), group_size(100)
    (1, 1, 10)
    """
    size = 1
    while classes > size * len(MARKS):
        size *= 10
    return size


def legend(classes: int) -> Text:
    """Which mark is which class."""
    size = group_size(classes)
    if size > 1:
        last = MARKS[-(-classes // size) - 1]
        return Text(f"Marks 0 to {last} are the classes 0 to {classes - 1}, {size} a mark.", style="dim")
    parts: list[Text | str] = ["class "]
    for place in range(classes):
        parts += [Text(f" {MARKS[place]} ", style=_style(place)), " "] if classes <= 10 else [f"{MARKS[place]} "]
    return Text.assemble(*parts)


def _style(place: int) -> str:
    return f"#000000 on {COLOURS[place % len(COLOURS)]}"
