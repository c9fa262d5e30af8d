"""Attackers who replace what their clients send."""

from phalanx.attacks.update.a_little_is_enough import ALittleIsEnough
from phalanx.attacks.update.gaussian import Gaussian
from phalanx.attacks.update.min_max import MinMax
from phalanx.attacks.update.model_replacement import ModelReplacement
from phalanx.attacks.update.scaling import Scaling
from phalanx.attacks.update.sign_flip import SignFlip

__all__ = ["ALittleIsEnough", "Gaussian", "MinMax", "ModelReplacement", "Scaling", "SignFlip"]
