"""Rules that combine client updates, and the pre-aggregators that go in front of them."""

from phalanx.aggregators.arc import ARC
from phalanx.aggregators.bucketing import Bucketing
from phalanx.aggregators.bulyan import Bulyan
from phalanx.aggregators.caf import CAF
from phalanx.aggregators.centered_clipping import CenteredClipping
from phalanx.aggregators.clip_norm import ClipNorm
from phalanx.aggregators.clip_tensors import ClipTensors
from phalanx.aggregators.clip_to_median_norm import ClipToMedianNorm
from phalanx.aggregators.deep_sight import DeepSight
from phalanx.aggregators.dnc import DnC
from phalanx.aggregators.flame import Flame
from phalanx.aggregators.flame_noise import FlameNoise, PaperNoise, ParameterStdNoise
from phalanx.aggregators.fldetector import FLDetector
from phalanx.aggregators.fltrust import FLTrust
from phalanx.aggregators.fools_gold import FoolsGold
from phalanx.aggregators.geometric_median import GeometricMedian
from phalanx.aggregators.iterative_bulyan import IterativeBulyan
from phalanx.aggregators.iterative_multi_krum import IterativeMultiKrum
from phalanx.aggregators.krum import Krum
from phalanx.aggregators.mda import MDA
from phalanx.aggregators.meamed import MeaMed
from phalanx.aggregators.mean import Mean
from phalanx.aggregators.median import Median
from phalanx.aggregators.monna import MoNNA
from phalanx.aggregators.multi_krum import MultiKrum
from phalanx.aggregators.nearest_neighbor_mixing import NearestNeighborMixing
from phalanx.aggregators.norm_clipping import NormClipping
from phalanx.aggregators.norm_clipping_with_noise import NormClippingWithNoise
from phalanx.aggregators.normalize import Normalize
from phalanx.aggregators.official_skymask import OfficialSkyMask
from phalanx.aggregators.phocas import Phocas
from phalanx.aggregators.pipeline import Pipeline
from phalanx.aggregators.remembering_skymask import RememberingSkyMask
from phalanx.aggregators.robust_learning_rate import RobustLearningRate
from phalanx.aggregators.sign_guard import SignGuard
from phalanx.aggregators.sign_vote import SignVote
from phalanx.aggregators.skymask import SkyMask
from phalanx.aggregators.smea import SMEA
from phalanx.aggregators.tolpegin import Tolpegin
from phalanx.aggregators.trimmed_mean import TrimmedMean

__all__ = [
    "ARC",
    "Bucketing",
    "Bulyan",
    "CAF",
    "CenteredClipping",
    "ClipNorm",
    "ClipTensors",
    "ClipToMedianNorm",
    "DeepSight",
    "DnC",
    "Flame",
    "FlameNoise",
    "FLDetector",
    "FLTrust",
    "FoolsGold",
    "GeometricMedian",
    "IterativeBulyan",
    "IterativeMultiKrum",
    "Krum",
    "MDA",
    "MeaMed",
    "Mean",
    "Median",
    "MoNNA",
    "MultiKrum",
    "NearestNeighborMixing",
    "NormClipping",
    "NormClippingWithNoise",
    "Normalize",
    "OfficialSkyMask",
    "PaperNoise",
    "ParameterStdNoise",
    "Phocas",
    "Pipeline",
    "RememberingSkyMask",
    "RobustLearningRate",
    "SMEA",
    "SignGuard",
    "SignVote",
    "SkyMask",
    "Tolpegin",
    "TrimmedMean",
]
