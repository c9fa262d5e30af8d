"""Gradient inversion: what a client's update says about its images."""

from phalanx.core.leak import Leak, LocalSteps, Reconstruction
from phalanx.inversion.client import leak_of
from phalanx.inversion.combined_leaks import averaged_leak, group_leak
from phalanx.inversion.dlg import DLG
from phalanx.inversion.idlg import IDLG
from phalanx.inversion.inverting_gradients import InvertingGradients
from phalanx.inversion.labels import infer_labels
from phalanx.inversion.linear_recovery import LinearRecovery
from phalanx.inversion.mask_aware import MaskAware
from phalanx.inversion.policy_aware import PolicyAware
from phalanx.inversion.policy_scores import accuracy_score, privacy_score
from phalanx.inversion.transform_aware import TransformAware

__all__ = [
    "DLG",
    "IDLG",
    "InvertingGradients",
    "Leak",
    "LinearRecovery",
    "LocalSteps",
    "MaskAware",
    "PolicyAware",
    "Reconstruction",
    "TransformAware",
    "accuracy_score",
    "averaged_leak",
    "group_leak",
    "infer_labels",
    "leak_of",
    "privacy_score",
]
