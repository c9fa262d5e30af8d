"""What a run is judged by: accuracy and attack success, detection, norms, survival of a backdoor, outliers among triggers,
what inversion recovers."""

from phalanx.metrics.anomaly import anomaly_index
from phalanx.metrics.detection import Detection, detection
from phalanx.metrics.evaluation import TAUS, Evaluation, Gated, evaluate
from phalanx.metrics.image_quality import mse, psnr, ssim
from phalanx.metrics.norms import NormSummary, norm_summary
from phalanx.metrics.recovery import Recovery, recovery
from phalanx.metrics.success_bound import EXPLANATION, SuccessBound, success_bound
from phalanx.metrics.survival import survival

__all__ = [
    "EXPLANATION",
    "TAUS",
    "Detection",
    "Evaluation",
    "Gated",
    "NormSummary",
    "Recovery",
    "SuccessBound",
    "anomaly_index",
    "detection",
    "evaluate",
    "mse",
    "norm_summary",
    "psnr",
    "recovery",
    "ssim",
    "success_bound",
    "survival",
]
