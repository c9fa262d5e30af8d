"""Rules that combine client updates, and the pre-aggregators that go in front of them."""

from phalanx.aggregators.clip_norm import ClipNorm
from phalanx.aggregators.flame import Flame
from phalanx.aggregators.flame_noise import FlameNoise, PaperNoise, ParameterStdNoise
from phalanx.aggregators.krum import Krum
from phalanx.aggregators.mean import Mean
from phalanx.aggregators.median import Median
from phalanx.aggregators.multi_krum import MultiKrum
from phalanx.aggregators.nearest_neighbor_mixing import NearestNeighborMixing
from phalanx.aggregators.norm_clipping import NormClipping
from phalanx.aggregators.norm_clipping_with_noise import NormClippingWithNoise
from phalanx.aggregators.pipeline import Pipeline
from phalanx.aggregators.trimmed_mean import TrimmedMean

__all__ = [
    "ClipNorm",
    "Flame",
    "FlameNoise",
    "Krum",
    "Mean",
    "Median",
    "MultiKrum",
    "NearestNeighborMixing",
    "NormClipping",
    "NormClippingWithNoise",
    "PaperNoise",
    "ParameterStdNoise",
    "Pipeline",
    "TrimmedMean",
]
