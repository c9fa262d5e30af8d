"""Things that happen inside every local step."""

from phalanx.training.hooks.clamp_gradient import ClampGradient
from phalanx.training.hooks.clip_gradient_norm import ClipGradientNorm
from phalanx.training.hooks.fed_prox import FedProx

__all__ = ["ClampGradient", "ClipGradientNorm", "FedProx"]
