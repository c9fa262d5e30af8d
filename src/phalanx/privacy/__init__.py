"""Differential privacy: mechanisms with a proof, what they cost, what is said of it, and how that is checked."""

from phalanx.privacy.adaptive_central_dp import AdaptiveCentralDP
from phalanx.privacy.central_dp import CentralDP
from phalanx.privacy.local_dp import LocalDP
from phalanx.privacy.one_run_audit import OneRunAudit
from phalanx.privacy.plan import PrivacyPlan
from phalanx.privacy.statement import PrivacyStatement

__all__ = ["AdaptiveCentralDP", "CentralDP", "LocalDP", "OneRunAudit", "PrivacyPlan", "PrivacyStatement"]
