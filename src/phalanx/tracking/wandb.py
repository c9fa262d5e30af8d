"""Weights & Biases: a run on disk that `wandb sync` uploads, or a live one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from phalanx.core.events import Event, RunFacts, Sink
from phalanx.core.families import Tracker
from phalanx.tracking.logbook import Logbook
from phalanx.tracking.requirements import require_package, require_place
from phalanx.tracking.scalars import parameters, scalars


class WeightsAndBiases(Tracker, kind="wandb"):
    """Scalars of every round and evaluation at step = round, the config, the final row in the summary.

    Offline, nothing leaves this machine until you call `wandb sync FOLDER/wandb/offline-run-*`. Every time a run goes on there
    is one more such folder with the same run ID, and no point in two of them: synced in order, they are one run. Reports of
    errors to W&B's makers are switched off, unless WANDB_ERROR_REPORTING says otherwise.
    """

    project: str = "phalanx"
    entity: str | None = None
    run_name: str | None = None
    """None: the name of the run folder."""
    mode: Literal["offline", "online"] = "offline"
    folder: str | None = None
    """Where the folder `wandb` is made; None: the run folder."""

    def check(self, folder: Path | None) -> None:
        """Raises: ConfigError."""
        require_package(self.kind, "wandb")
        require_place(self.kind, folder, self.folder, "folder")

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """The W&B run of this run, by its ID in the run folder."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        place = Path(self.folder) if self.folder is not None else Path(str(run.folder))
        place.mkdir(parents=True, exist_ok=True)
        logbook = Logbook(run.folder, self.kind)
        if logbook.run is None:
            logbook.begin(secrets.token_hex(8))
        live = wandb.init(
            project=self.project,
            entity=self.entity,
            name=self.run_name or run.name,
            id=logbook.run,
            resume="allow",
            reinit="create_new",
            dir=str(place),
            config={**parameters(run.config), **run.tags},
            settings=wandb.Settings(
                mode=self.mode, silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True
            ),
        )
        sink = _RunSink(live, logbook)
        try:
            for event in run.events:
                sink.emit(event)
            yield sink
        except BaseException:
            live.finish(exit_code=1)
            raise
        live.finish(exit_code=0)


class _RunSink:
    def __init__(self, live: Any, logbook: Logbook) -> None:
        self._live, self._logbook = live, logbook

    def emit(self, event: Event) -> None:
        """Log an event that W&B has not been told yet."""
        if not self._logbook.is_new(event):
            return
        # Noted first: W&B cannot take a point back, so a run killed here rather lacks one than has it twice.
        self._logbook.note(event)
        if event.kind == "end":
            self._live.summary.update(scalars(event))
            return
        self._live.log(scalars(event), step=event.round)
