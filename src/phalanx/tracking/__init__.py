"""Trackers: sinks that hand a run's events to TensorBoard, MLflow or Weights & Biases. None is imported unless asked for."""

from phalanx.tracking.following import follow
from phalanx.tracking.mlflow import MLflow
from phalanx.tracking.tensorboard import TensorBoard
from phalanx.tracking.wandb import WeightsAndBiases

__all__ = ["MLflow", "TensorBoard", "WeightsAndBiases", "follow"]
