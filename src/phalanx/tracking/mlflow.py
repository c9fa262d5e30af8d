"""MLflow: a run in a tracking store, the run folder's own or a server's."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from phalanx.core.errors import ConfigError, Stopped
from phalanx.core.events import Event, RunFacts, Sink
from phalanx.core.families import Tracker
from phalanx.core.files import refuse_link
from phalanx.tracking.known_run import keep_run, known_run
from phalanx.tracking.requirements import require_package, require_place
from phalanx.tracking.scalars import parameters, scalars
from phalanx.tracking.turns import one_at_a_time

LONGEST = 6000  # characters of a parameter's value, and
MOST = 100  # parameters in one request: MLflow's limits


class MLflow(Tracker, kind="mlflow"):
    """Metrics of every round and evaluation, the config as parameters, the final row, and the experiment's digest as a tag.

    A run that goes on is the same MLflow run: it is told what it does not hold yet, and nothing twice. MLflow's telemetry is
    switched off, unless MLFLOW_DISABLE_TELEMETRY says otherwise.
    """

    tracking_uri: str | None = None
    """A server (`https://…`) or a database (`sqlite:///mlflow.db`); None: the file mlflow.db in the run folder."""
    experiment: str = "phalanx"
    run_name: str | None = None
    """None: the name of the run folder."""

    def check(self, folder: Path | None) -> None:
        """Raises: ConfigError."""
        require_package(self.kind, "mlflow")
        require_place(self.kind, folder, self.tracking_uri, "tracking_uri")
        if self.tracking_uri is None or self.tracking_uri.startswith("sqlite:"):
            # A database needs more than mlflow-skinny brings.
            require_package(self.kind, "sqlalchemy")
            require_package(self.kind, "alembic")
        elif "://" not in self.tracking_uri and self.tracking_uri != "databricks":
            raise ConfigError(
                f"tracking.tracking_uri must be like sqlite:///mlflow.db or https://…; got {self.tracking_uri!r}."
            )

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """The MLflow run of this run, running."""
        # Read when MLflow is imported, so before that.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # Seven, MLflow's own number, would hold the run for minutes when a server goes away.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        from mlflow.tracking import MlflowClient

        # It would tell of every table that it makes.
        logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)
        if self.tracking_uri is None:
            refuse_link(Path(str(run.folder)) / "mlflow.db")
        # MLflow lets two processes make the tables of one new file at once, and both fail: a sweep's cells would.
        with one_at_a_time(self.tracking_uri):
            client = MlflowClient(
                tracking_uri=self.tracking_uri or f"sqlite:///{Path(str(run.folder)).resolve() / 'mlflow.db'}"
            )
            experiment = self._experiment(client, run.folder)
        number = known_run(run.folder, self.kind)
        if number is None or not _exists(client, number):
            number = self._create(client, experiment, run)
            keep_run(run.folder, self.kind, number)
        sink = _RunSink(client, number)
        for event in run.events:
            sink.emit(event)
        try:
            yield sink
        except BaseException as error:
            is_failure = isinstance(error, Exception) and not isinstance(error, Stopped)
            client.set_terminated(number, "FAILED" if is_failure else "KILLED")
            raise
        client.set_terminated(number, "FINISHED")

    def _experiment(self, client: Any, folder: Path | None) -> str:
        """The number of the MLflow experiment, which is made if there is none."""
        from mlflow.exceptions import MlflowException

        # Without a place for artifacts they would belong into a folder `mlruns` where the command was given.
        artifacts = (Path(str(folder)).resolve() / "mlflow").as_uri() if self.tracking_uri is None else None
        if found := client.get_experiment_by_name(self.experiment):
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(self.experiment, artifact_location=artifacts))
        except MlflowException:  # another cell of a sweep may just have made it
            if found := client.get_experiment_by_name(self.experiment):
                return str(found.experiment_id)
            raise

    def _create(self, client: Any, experiment: str, run: RunFacts) -> str:
        from mlflow.entities import Param

        made = client.create_run(experiment, run_name=self.run_name or run.name, tags=dict(run.tags)).info.run_id
        params = [Param(name, str(value)[:LONGEST]) for name, value in parameters(run.config).items()]
        for start in range(0, len(params), MOST):
            client.log_batch(made, params=params[start : start + MOST])
        return str(made)


class _RunSink:
    """Logs an event's scalars in one request, so that either all of them are there or none."""

    def __init__(self, client: Any, run: str) -> None:
        self._client, self._run = client, run
        client.update_run(run, status="RUNNING")
        # What the store holds, and not what a file says: the run may have been killed between the two.
        names = client.get_run(run).data.metrics
        self._last = {name: max(point.step for point in client.get_metric_history(run, name)) for name in names}

    def emit(self, event: Event) -> None:
        """Log what the store does not hold yet."""
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), event.round
        new = {name: value for name, value in scalars(event).items() if step > self._last.get(name, -1)}
        if new:
            self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in new.items()])
            self._last |= dict.fromkeys(new, step)


def _exists(client: Any, run: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
