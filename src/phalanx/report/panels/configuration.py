"""The complete configs, and what differs between them."""

from collections.abc import Sequence
from typing import Any

import tomli_w

from phalanx.report.group import Subject
from phalanx.report.labels import differing, leaves
from phalanx.report.panel import Code, Grid, Panel, Piece, Text

MOST_CONFIGS, MOST_ROWS = 12, 60


class Configuration(Panel):
    """A sweep's file, or each run's config; where there are several, a table of the differences first."""

    title = "Configuration"
    explains = "Everything that decided the result, defaults included."
    place = 90

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """Configs as TOML, closed; a sweep's own file instead of its cells'."""
        if subject.sweep is not None:
            return [Code("The sweep", tomli_w.dumps(subject.sweep.sweep.to_tables()))]
        tables = [group.experiment.to_table() for group in subject.groups]
        pieces: list[Piece] = []
        if len(tables) > 1:
            paths = [path for path in differing(tables) if path != "run.seed"]
            rows = [[path, *(_shown(leaves(table).get(path)) for table in tables[:MOST_CONFIGS])] for path in paths[:MOST_ROWS]]
            head = ["setting", *(group.label for group in subject.groups[:MOST_CONFIGS])]
            pieces += [Grid(head, rows, "The settings that differ.")] if rows else []
        pieces += [
            Code(f"{group.label}, seed {group.seeds[0]}", group.experiment.to_toml()) for group in subject.groups[:MOST_CONFIGS]
        ]
        left_out = len(subject.groups) - MOST_CONFIGS
        return [*pieces, *([Text(f"{left_out} more configs are left out.")] if left_out > 0 else [])]


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
