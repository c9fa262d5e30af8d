"""The page's own sections, one a file. Third parties add theirs the same way: see `phalanx.report.panel`."""

from phalanx.report.panels.configuration import Configuration
from phalanx.report.panels.curves import Curves
from phalanx.report.panels.detection import Detection
from phalanx.report.panels.embedding import Embedding
from phalanx.report.panels.failures import Failures
from phalanx.report.panels.influence import Influence
from phalanx.report.panels.inversion import Inversion
from phalanx.report.panels.norms import Norms
from phalanx.report.panels.partition import Partition
from phalanx.report.panels.privacy import Privacy
from phalanx.report.panels.refusals import Refusals
from phalanx.report.panels.rejections import Rejections
from phalanx.report.panels.reproduction import Reproduction
from phalanx.report.panels.results import Results
from phalanx.report.panels.robustness import Robustness
from phalanx.report.panels.scores import Scores
from phalanx.report.panels.times import Times

__all__ = [
    "Configuration",
    "Curves",
    "Detection",
    "Embedding",
    "Failures",
    "Influence",
    "Inversion",
    "Norms",
    "Partition",
    "Privacy",
    "Refusals",
    "Rejections",
    "Reproduction",
    "Results",
    "Robustness",
    "Scores",
    "Times",
]
