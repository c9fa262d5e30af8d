"""From a config to a result in a folder."""

from phalanx.experiments.custom import CustomData, CustomModel
from phalanx.experiments.run import RunResult, resume, run

__all__ = ["CustomData", "CustomModel", "RunResult", "resume", "run"]
