"""What the real trackers hold, each read with its own package: every point, as a list, so that a double one shows."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Point = tuple[str, int, float]


def tensorboard_points(folder: Path) -> list[Point]:
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, TENSORS, EventAccumulator

    held = EventAccumulator(str(folder / "tensorboard"), size_guidance={SCALARS: 0, TENSORS: 0}).Reload()
    return [(name, point.step, point.value) for name in held.Tags()["scalars"] for point in held.Scalars(name)]


def mlflow_points(folder: Path) -> list[Point]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("phalanx").experiment_id])
    names = run.data.metrics
    return [(name, point.step, point.value) for name in names for point in client.get_metric_history(run.info.run_id, name)]


def wandb_points(folder: Path) -> list[Point]:
    import json

    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    from phalanx.tracking.wandb_file import records

    wandb.teardown()  # a run's last rows reach the file a moment after finish() has returned
    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in records(file.read_bytes()):
            history = Record.FromString(data).history
            for item in history.item:
                name = item.key or "/".join(item.nested_key)
                if not name.startswith("_"):
                    found.append((name, history.step.num, json.loads(item.value_json)))
    return found


@pytest.fixture(scope="session")
def points() -> dict[str, Callable[[Path], list[Point]]]:
    return {"tensorboard": tensorboard_points, "mlflow": mlflow_points, "wandb": wandb_points}


@pytest.fixture(scope="session")
def with_tables(tmp_path_factory) -> Callable[[Path], Path]:
    """Makes a folder with an mlflow.db that has its tables and nothing in them: MLflow takes seconds to make them anew."""
    from mlflow.tracking import MlflowClient

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()

    def make(folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        shutil.copy(file, folder / "mlflow.db")
        return folder

    return make
