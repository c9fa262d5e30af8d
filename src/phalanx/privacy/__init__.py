"""Differential privacy: mechanisms with a proof, what they cost, and what is said of it."""

from phalanx.privacy.adaptive_central_dp import AdaptiveCentralDP
from phalanx.privacy.central_dp import CentralDP
from phalanx.privacy.local_dp import LocalDP
from phalanx.privacy.plan import PrivacyPlan
from phalanx.privacy.statement import PrivacyStatement

__all__ = ["AdaptiveCentralDP", "CentralDP", "LocalDP", "PrivacyPlan", "PrivacyStatement"]
