"""Weights & Biases: a run on disk that `wandb sync` uploads, or a live one."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from phalanx.core.events import Event, RunFacts, Sink
from phalanx.core.families import Tracker
from phalanx.core.files import refuse_link
from phalanx.tracking.known_run import keep_run, known_run
from phalanx.tracking.requirements import require_package, require_place
from phalanx.tracking.scalars import parameters, scalars
from phalanx.tracking.wandb_file import newest_steps


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
        if self.folder is None:
            refuse_link(place / "wandb")
        place.mkdir(parents=True, exist_ok=True)
        number = known_run(run.folder, self.kind)
        if number is None:
            number = secrets.token_hex(8)
            keep_run(run.folder, self.kind, number)
        # What the files hold, and not what was logged: a run that is killed takes up to 15 s of points with it.
        last = newest_steps(sorted((place / "wandb").glob(f"*run-*-{number}/run-{number}.wandb")))
        live = wandb.init(
            project=self.project,
            entity=self.entity,
            name=self.run_name or run.name,
            id=number,
            resume="allow",
            reinit="create_new",
            dir=str(place),
            config={**parameters(run.config), **run.tags},
            settings=wandb.Settings(
                mode=self.mode, silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True
            ),
        )
        sink = _RunSink(live, last)
        try:
            for event in run.events:
                sink.emit(event)
            yield sink
        except BaseException:
            live.finish(exit_code=1)
            raise
        live.finish(exit_code=0)


class _RunSink:
    """`last`: the newest step of every name that W&B holds already."""

    def __init__(self, live: Any, last: Mapping[str, int]) -> None:
        self._live, self._last = live, last

    def emit(self, event: Event) -> None:
        """Log what W&B does not hold yet."""
        if event.kind == "end":
            self._live.summary.update(scalars(event))
            return
        new = {name: value for name, value in scalars(event).items() if event.round > self._last.get(name, -1)}
        if new:
            self._live.log(new, step=event.round)
