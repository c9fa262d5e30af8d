"""TensorBoard: an event file in the run folder, shown by `tensorboard --logdir runs`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from typing import Any

import tomli_w

from phalanx.core.events import Event, RunFacts, Sink
from phalanx.core.families import Tracker
from phalanx.core.files import refuse_link
from phalanx.tracking.requirements import require_package, require_place
from phalanx.tracking.scalars import scalars


class TensorBoard(Tracker, kind="tensorboard"):
    """Scalars of every round and evaluation, the config and the final row as text, in TensorBoard's own files.

    A run that goes on writes its events so far once more, after a mark that makes TensorBoard drop everything older: no point
    is there twice and none is missing, whatever cut the run off. The time of those points is then that of going on.
    """

    folder: str | None = None
    """Where to write, in a folder named after the run; None: the folder `tensorboard` in the run's."""

    def check(self, folder: Path | None) -> None:
        """Raises: ConfigError."""
        require_package(self.kind, "tensorboard")
        require_place(self.kind, folder, self.folder, "folder")

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """A new event file."""
        place = Path(self.folder) / run.name if self.folder is not None else Path(str(run.folder)) / "tensorboard"
        if self.folder is None:
            refuse_link(place)
        place.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        with (place / f"events.out.tfevents.{time.time_ns()}.{getpid()}").open("wb") as file:
            sink = _EventFile(file)
            sink.begin(run)
            for event in run.events:
                sink.emit(event)
            yield sink


class _EventFile:
    """Writes in the run's own thread: TensorBoard's writer has one of its own, which a full disk ends with a traceback."""

    def __init__(self, file: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._records = RecordWriter(file)

    def begin(self, run: RunFacts) -> None:
        """The file's head, the mark that drops older points, and what the run is."""
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from torch.utils.tensorboard.summary import text

        self._write(0, file_version="brain.Event:2")
        self._write(0, session_log=SessionLog(status=SessionLog.START))
        tags = "\n".join(f"- {name}: `{value}`" for name, value in run.tags.items())
        config = "".join(f"    {line}\n" for line in tomli_w.dumps(run.config).splitlines())
        self._write(0, summary=text("config", f"{tags}\n\n{config}"))  # type: ignore[no-untyped-call]

    def emit(self, event: Event) -> None:
        """Write an event's scalars; of the end, a table."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from torch.utils.tensorboard.summary import text

        found = scalars(event)
        if event.kind == "end":
            rows = "".join(f"| {name} | {value:g} |\n" for name, value in found.items())
            table = f"| | |\n|---|---|\n{rows}"
            self._write(event.round, summary=text("final", table))  # type: ignore[no-untyped-call]
            return
        values = [Summary.Value(tag=name, simple_value=value) for name, value in found.items()]
        self._write(event.round, summary=Summary(value=values))

    def _write(self, step: int, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record

        self._records.write(Record(wall_time=time.time(), step=step, **what).SerializeToString())
        self._records.flush()
