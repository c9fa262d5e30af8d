"""What a run is judged by: accuracy and attack success, detection, norms, survival of a backdoor, outliers among triggers."""

from phalanx.metrics.anomaly import anomaly_index
from phalanx.metrics.detection import Detection, detection
from phalanx.metrics.evaluation import Evaluation, evaluate
from phalanx.metrics.norms import NormSummary, norm_summary
from phalanx.metrics.survival import survival

__all__ = ["Detection", "Evaluation", "NormSummary", "anomaly_index", "detection", "evaluate", "norm_summary", "survival"]
