"""Which run of a tracker a run folder belongs to: kept in its `tracking/`, so that a run that goes on finds its other half."""

from pathlib import Path

from phalanx.core.files import make_subfolder, write_atomically


def known_run(folder: Path | None, kind: str) -> str | None:
    """The tracker's name for the run in this folder, if it has one."""
    path = folder / "tracking" / kind if folder else None
    return path.read_text().strip() or None if path and path.exists() else None


def keep_run(folder: Path | None, kind: str, run: str) -> None:
    """Remember the tracker's name for the run; without a folder it cannot go on anyway."""
    if folder is not None:
        make_subfolder(folder / "tracking")
        write_atomically(folder / "tracking" / kind, f"{run}\n".encode())
