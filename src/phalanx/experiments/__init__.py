"""From a config to a result in a folder."""

from phalanx.experiments.custom import CustomData, CustomModel
from phalanx.experiments.run import RunResult, experiment_of, resume, run

__all__ = ["CustomData", "CustomModel", "RunResult", "experiment_of", "resume", "run"]
