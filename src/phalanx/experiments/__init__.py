"""From a config to a result in a folder, from a sweep to a table, and back from folders to values."""

from phalanx.experiments.axis import Axis
from phalanx.experiments.custom import CustomData, CustomModel
from phalanx.experiments.leaderboard import Grid, Leaderboard, Score, leaderboards
from phalanx.experiments.losses import Losses, losses
from phalanx.experiments.record import RunRecord, experiment_of
from phalanx.experiments.run import RunResult, resume, run
from phalanx.experiments.run_sweep import SweepListener, run_sweep
from phalanx.experiments.sweep import Cell, Sweep
from phalanx.experiments.sweep_record import SweepRecord, is_sweep

__all__ = [
    "Axis",
    "Cell",
    "CustomData",
    "CustomModel",
    "Grid",
    "Leaderboard",
    "Losses",
    "RunRecord",
    "RunResult",
    "Score",
    "Sweep",
    "SweepListener",
    "SweepRecord",
    "experiment_of",
    "is_sweep",
    "leaderboards",
    "losses",
    "resume",
    "run",
    "run_sweep",
]
