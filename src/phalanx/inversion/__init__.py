"""Gradient inversion: what a client's update says about its images."""

from phalanx.core.leak import Leak, LocalSteps, Reconstruction
from phalanx.inversion.client import leak_of
from phalanx.inversion.dlg import DLG
from phalanx.inversion.idlg import IDLG
from phalanx.inversion.inverting_gradients import InvertingGradients
from phalanx.inversion.labels import infer_labels
from phalanx.inversion.linear_recovery import LinearRecovery
from phalanx.inversion.mask_aware import MaskAware
from phalanx.inversion.policy_scores import accuracy_score, privacy_score

__all__ = [
    "DLG",
    "IDLG",
    "InvertingGradients",
    "Leak",
    "LinearRecovery",
    "LocalSteps",
    "MaskAware",
    "Reconstruction",
    "accuracy_score",
    "infer_labels",
    "leak_of",
    "privacy_score",
]
