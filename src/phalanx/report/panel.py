"""`Panel`: one section of a page. A method that has something of its own to show adds a panel with one file.

A panel gets the runs and returns pieces: plots, tables, text. It never writes HTML, so nothing that a config holds can get
into the page unescaped, and every plot can be a file for a paper, too.

    class Masks(Panel):
        title = "Masks"
        explains = "Which coordinates SkyMask took for an attacker's."
        place = 45                                        # on the page: the outcome is at 0, the config at 90

        def show(self, subject: Subject) -> Sequence[Piece] | None:
            values = [event["rule"].get("masked") for event in subject.groups[0].runs[0].rounds]
            if not any(values):
                return None                               # nothing to show: no section
            figure, axes = figure_with_axes()
            axes.plot(values)
            return [Plot("masks", figure, alt="The share of masked coordinates over rounds.")]

Phalanx's own panels are found exactly so: their modules are imported through the entry point group `phalanx.panels`,
whose entries name a module each:

    [project.entry-points."phalanx.panels"]
    mine = "my_package.panels"

A panel that raises loses its own section only; the page says there what went wrong.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from inspect import isabstract
from typing import ClassVar, TypeAlias

from matplotlib.figure import Figure

from phalanx.core.errors import ConfigError
from phalanx.report.group import Subject
from phalanx.report.numbers import count


@dataclass(frozen=True)
class Plot:
    """A figure, drawn once: inlined into the page, and written as PNG, SVG and PDF where asked for.

    `name`: the file's name; a second plot of the same name gets a number. `alt`: what it shows, for those who do not see it.
    `caption`: below it. `wide`: it wants the page's whole width.
    """

    name: str
    figure: Figure
    alt: str
    title: str = ""
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Grid:
    """A table. `best`, `tied`: fields (row, column) with a star or a dagger; a marked field says so in words, too."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    best: frozenset[tuple[int, int]] = frozenset()
    tied: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Code:
    """Something to copy, behind a title that opens and closes it."""

    title: str
    text: str
    is_open: bool = False


Piece: TypeAlias = Plot | Grid | Text | Code


class Panel(ABC):
    """A section of the page. Subclasses are found when the entry point of their module is loaded; they need no arguments.

    `title`; `explains`: one line below it; `place`: panels are in ascending order of it, equal ones by title.
    """

    title: ClassVar[str]
    explains: ClassVar[str]
    place: ClassVar[int] = 80

    @abstractmethod
    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """The section's pieces in order; None if these runs have nothing to show here."""


def left_out(number: int, what: str, where: str = "phalanx report of single runs shows more") -> list[Text]:
    """A sentence for what is too much for a page, and where it is to be found; nothing if nothing is left out.

    >>> left_out(2, "more plot"), left_out(0, "more plot")
    ([Text(text='2 more plots are left out: phalanx report of single runs shows more.')], [])
    """
    return [Text(f"{count(number, what)} {'is' if number == 1 else 'are'} left out: {where}.")] if number > 0 else []


def panels() -> list[Panel]:
    """All panels in the order of the page.

    Raises: ConfigError if an entry point cannot be imported.
    """
    for point in entry_points(group="phalanx.panels"):
        try:
            point.load()
        except Exception as error:
            raise ConfigError(f"The entry point {point.group}: {point.value} cannot be imported: {error}") from error
    # A class written again in the same place (a notebook cell) replaces the old one.
    found = {(kind.__module__, kind.__qualname__): kind for kind in _concrete(Panel.__subclasses__())}
    return [kind() for kind in sorted(found.values(), key=lambda kind: (kind.place, kind.title))]


def _concrete(kinds: Sequence[type[Panel]]) -> Iterator[type[Panel]]:
    for kind in kinds:
        yield from () if isabstract(kind) else (kind,)
        yield from _concrete(kind.__subclasses__())
