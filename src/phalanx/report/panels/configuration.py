"""The complete configs, and what differs between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

from phalanx.report.group import Subject
from phalanx.report.labels import differing, leaves
from phalanx.report.panel import Code, Grid, Panel, Piece, left_out

MOST_CONFIGS, MOST_ROWS = 12, 60


class Configuration(Panel):
    """A sweep's file, or each run's config; where there are several, a table of the differences first."""

    title = "Configuration"
    explains = "Everything that decided the result, defaults included. Trackers did not, and are left out with their passwords."
    place = 90

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """Configs as TOML, closed; a sweep's own file instead of its cells'."""
        if subject.sweep is not None:
            return [Code("The sweep", tomli_w.dumps(without_tracking(subject.sweep.sweep.to_tables())))]
        tables = [without_tracking(group.experiment.to_table()) for group in subject.groups]
        pieces: list[Piece] = []
        if len(tables) > 1:
            paths = [path for path in differing(tables) if path != "run.seed"]
            rows = [[path, *(_shown(leaves(table).get(path)) for table in tables[:MOST_CONFIGS])] for path in paths[:MOST_ROWS]]
            head = ["setting", *(group.label for group in subject.groups[:MOST_CONFIGS])]
            pieces += [Grid(head, rows, "The settings that differ.")] if rows else []
            pieces += left_out(len(paths) - MOST_ROWS, "more differing setting", "the configs below have them all")
        pieces += [
            Code(f"{group.label}, seed {group.seeds[0]}", tomli_w.dumps(table))
            for group, table in zip(subject.groups[:MOST_CONFIGS], tables)
        ]
        return [*pieces, *left_out(len(subject.groups) - MOST_CONFIGS, "more config")]


def without_tracking(table: Mapping[str, Any]) -> dict[str, Any]:
    """A config or a sweep without its trackers: their addresses may hold a password, and the page is for others.

    >>> without_tracking({"run": {"seed": 1}, "tracking": [], "sweep": {"a": {"b": {"tracking": [], "run.rounds": 2}}}})
    {'run': {'seed': 1}, 'sweep': {'a': {'b': {'run.rounds': 2}}}}
    """
    kept = {name: value for name, value in table.items() if name != "tracking"}
    return {name: without_tracking(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
