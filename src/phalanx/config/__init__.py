"""Experiments as values and as TOML files."""

from phalanx.config.experiment import Experiment
from phalanx.config.settings import EvaluationSettings, PrivacySettings, RunSettings

__all__ = ["EvaluationSettings", "Experiment", "PrivacySettings", "RunSettings"]
