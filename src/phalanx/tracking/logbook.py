"""`Logbook`: which run of a tracker a run folder belongs to, and how far it has been told."""

import json
from pathlib import Path

from phalanx.core.events import Event


class Logbook:
    """Kept in `tracking/` of the run folder, so that a run that goes on finds its other half; without a folder it is forgotten.

    `run`: the tracker's name for the run, or None before its first event.
    """

    def __init__(self, folder: Path | None, kind: str) -> None:
        self._path = folder / "tracking" / f"{kind}.json" if folder else None
        self.run: str | None = None
        self._told: dict[str, int] = {}
        if self._path is not None and self._path.exists():
            self._read(self._path)

    def begin(self, run: str) -> None:
        """Belong to another run, which has been told nothing."""
        self.run, self._told = run, {}
        self._write()

    def is_new(self, event: Event) -> bool:
        """Whether this event comes after all of its kind that were told."""
        return event.round > self._told.get(event.kind, -1)

    def note(self, event: Event) -> None:
        """Remember that this event was told."""
        self._told[event.kind] = event.round
        self._write()

    def _read(self, path: Path) -> None:
        try:
            held = json.loads(path.read_text())
            self.run, self._told = str(held["run"]), {str(kind): int(round) for kind, round in held["told"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):  # damaged: the tracker gets a new run, with all events
            self.run, self._told = None, {}

    def _write(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps({"run": self.run, "told": self._told}))
        draft.replace(self._path)
