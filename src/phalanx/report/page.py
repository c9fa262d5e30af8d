"""The page: one HTML file that asks nobody for anything. No script, no font, no image from elsewhere, and it says so itself."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files

from phalanx.report.group import Subject
from phalanx.report.harm import HARM
from phalanx.report.html import Html, join, tag
from phalanx.report.outcome import outcome
from phalanx.report.panel import Code, Grid, Panel, Piece, Plot, Text, panels
from phalanx.report.style import settle, style
from phalanx.report.svg import inline_svg

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
LONG = 40  # characters: a longer field of a table may wrap
SPOKEN = {"best": " (best)", "tied": " (not shown to be worse)"}
LONGEST_NUMBER = 24  # characters: what is longer is a digest


@dataclass(frozen=True)
class Section:
    """What a panel had to show, or the sentence that it failed with."""

    panel: Panel
    pieces: Sequence[Piece]
    failure: str | None = None


def sections(subject: Subject, shown: Sequence[Panel] | None = None) -> list[Section]:
    """Every panel with something to show, in order, each plot with a name of its own. A panel that raises fails alone."""
    found: list[Section] = []
    taken: set[str] = set()
    for panel in panels() if shown is None else shown:
        try:
            with style():
                pieces = [_named(piece, taken) if isinstance(piece, Plot) else piece for piece in panel.show(subject) or ()]
                for plot in (piece for piece in pieces if isinstance(piece, Plot)):
                    settle(plot.figure)
        except Exception as error:  # noqa: BLE001 - a third party's panel must not lose the page
            found.append(Section(panel, (), f"This section could not be made: {type(error).__name__}: {error}"))
            continue
        if pieces:
            found.append(Section(panel, pieces))
    return found


def _named(plot: Plot, taken: set[str]) -> Plot:
    """A plot whose name no other has: it becomes a file, and part of its ids. A file system may not tell `A` from `a`."""
    names = (f"{plot.name}-{number}" if number > 1 else plot.name for number in itertools.count(1))
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return replace(plot, name=name)


def plots(found: Sequence[Section]) -> list[Plot]:
    """All plots of the sections, in order."""
    return [piece for section in found for piece in section.pieces if isinstance(piece, Plot)]


def page(subject: Subject, found: Sequence[Section]) -> str:
    """The whole page; the same subject and sections give the same characters."""
    title = _title(subject)
    css = Html(files("phalanx.report").joinpath("page.css").read_text(encoding="utf-8"))
    head = (
        Html('<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n')
        + f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<meta name="color-scheme" content="light dark">\n'
    )
    sentences = outcome(subject)
    links = [tag("a", section.panel.title, href=f"#{_anchor(place)}") for place, section in enumerate(found)]
    top = [
        tag("h1", title),
        tag("p", " ".join(sentences), class_="outcome"),
        *([tag("p", HARM, class_="note")] if any(group.is_attacked for group in subject.groups) else []),
        tag("nav", *links, aria_label="Sections"),
    ]
    body = [
        tag("header", *top),
        tag("main", *(_section(section, place) for place, section in enumerate(found))),
        tag(
            "footer",
            f"Made by Phalanx {_version()} with phalanx report. Rounds are counted from 1 here, from 0 in events.jsonl.",
        ),
    ]
    content = join(body, "\n")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n'
        f"<body>\n{content}\n</body>\n</html>\n"
    )


def _title(subject: Subject) -> str:
    if subject.sweep is not None:
        return f"Sweep {subject.sweep.folder.resolve().name}"
    names = [run.folder.resolve().name for group in subject.groups for run in group.runs]
    return (
        f"Run {names[0]}" if len(names) == 1 else f"{len(names)} runs: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
    )


def _version() -> str:
    from importlib.metadata import version

    return version("phalanx")


def _anchor(place: int) -> str:
    return f"section-{place + 1}"


def _section(section: Section, place: int) -> Html:
    heading = (
        tag("div", tag("h2", section.panel.title), tag("p", section.panel.explains, class_="explains"), class_="heading"),
    )
    if section.failure is not None:
        return tag("section", *heading, tag("p", section.failure, class_="failed"), id=_anchor(place))
    is_narrow = len(section.pieces) == 1 and isinstance(section.pieces[0], Plot) and not section.pieces[0].wide
    return tag("section", *heading, *_pieces(section.pieces), id=_anchor(place), class_="narrow" if is_narrow else "full")


def _pieces(pieces: Sequence[Piece]) -> list[Html]:
    """The pieces in order; plots that follow each other share a grid."""
    found: list[Html] = []
    row: list[Html] = []
    for piece in pieces:
        if isinstance(piece, Plot):
            row.append(_plot(piece))
            continue
        if row:
            found.append(tag("div", *row, class_="plots"))
            row = []
        found.append(_piece(piece))
    return [*found, tag("div", *row, class_="plots")] if row else found


def _piece(piece: Grid | Text | Code) -> Html:
    if isinstance(piece, Text):
        return tag("p", piece.text, class_="note")
    if isinstance(piece, Code):
        return tag("details", tag("summary", piece.title), tag("pre", piece.text), open=piece.is_open)
    return _table(piece)


def _plot(plot: Plot) -> Html:
    title = [tag("h3", plot.title)] if plot.title else []
    caption = [tag("figcaption", plot.caption)] if plot.caption else []
    drawn = Html(inline_svg(plot.figure, plot.name, escape(plot.alt)))
    if plot.wide:  # on a phone it keeps its size, and is scrolled
        drawn = tag("div", drawn, class_="scroll", tabindex="0", role="region", aria_label=plot.title or plot.name)
    return tag("figure", *title, drawn, *caption, class_="wide" if plot.wide else "narrow")


def _table(grid: Grid) -> Html:
    numeric = [
        bool(grid.rows) and place > 0 and all(_is_number(row[place]) for row in grid.rows) for place in range(len(grid.head))
    ]
    head = [tag("th", name, scope="col", class_="number" if right else "text") for name, right in zip(grid.head, numeric)]
    rows = [
        tag("tr", *(_field(text, numeric[column], column, _mark(grid, row, column)) for column, text in enumerate(fields)))
        for row, fields in enumerate(grid.rows)
    ]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows))
    scrolled = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=grid.caption or ", ".join(grid.head))
    return join([scrolled, tag("p", grid.caption, class_="note")]) if grid.caption else scrolled


def _mark(grid: Grid, row: int, column: int) -> str:
    return "best" if (row, column) in grid.best else "tied" if (row, column) in grid.tied else ""


def _field(text: str, is_number: bool, column: int, mark: str) -> Html:
    if column == 0:
        return tag("th", text, scope="row")
    kinds = [name for name, holds in (("number", is_number), (mark, mark), ("long", len(text) > LONG)) if holds]
    spoken = [tag("span", SPOKEN[mark], class_="hidden")] if mark else []
    return tag("td", text, *spoken, class_=" ".join(kinds) or "text")


def _is_number(text: str) -> bool:
    return not text or (text[0] in "–-<0123456789" and len(text) <= LONGEST_NUMBER)
