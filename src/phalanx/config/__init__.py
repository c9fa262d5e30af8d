"""Experiments as values and as TOML files."""

from phalanx.config.experiment import Experiment
from phalanx.config.settings import EvaluationSettings, InversionSettings, PrivacySettings, RunSettings

__all__ = ["EvaluationSettings", "Experiment", "InversionSettings", "PrivacySettings", "RunSettings"]
