"""Phalanx's own rules as the laws, the conformance command and the tests of bad input try them.

At least one example of every rule; a law that a rule does not promise is written down with the reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from phalanx.aggregators import (
    ARC,
    CAF,
    MDA,
    SMEA,
    Bucketing,
    Bulyan,
    CenteredClipping,
    ClipNorm,
    ClipToMedianNorm,
    DeepSight,
    DnC,
    Flame,
    FLDetector,
    FLTrust,
    FoolsGold,
    GeometricMedian,
    IterativeBulyan,
    IterativeMultiKrum,
    Krum,
    MeaMed,
    Mean,
    Median,
    MoNNA,
    MultiKrum,
    NearestNeighborMixing,
    Normalize,
    NormClipping,
    NormClippingWithNoise,
    OfficialSkyMask,
    PaperNoise,
    ParameterStdNoise,
    Phocas,
    Pipeline,
    RememberingSkyMask,
    RobustLearningRate,
    SignGuard,
    SignVote,
    SkyMask,
    Tolpegin,
    TrimmedMean,
)
from phalanx.core.families import Aggregator
from phalanx.privacy import AdaptiveCentralDP, CentralDP


@dataclass(frozen=True)
class AggregatorExample:
    """A rule, the laws that it does not promise with the reason, and its (f, κ)-bound κ(n, f) where one is known."""

    rule: Aggregator
    exempt: Mapping[str, str] = field(default_factory=dict)
    kappa: Callable[[int, int], float] | None = None


def _ratio(n: int, f: int) -> float:
    return f / (n - 2 * f)


_PICKS = {"mean_without_byzantine": "it picks rows or values even if nobody attacks"}
_CLIPS = {
    "translation": "norms change with the origin",
    "mean_without_byzantine": "long rows are clipped whoever sent them",
    "convex_hull": "clipped weights sum to less than 1",
    "coordinate_range": "clipping moves towards the origin, out of the rows' range",
}
_CLIPS_INSIDE_THE_RANGE = {law: why for law, why in _CLIPS.items() if law != "coordinate_range"}
_CLIPS_TO_A_FIXED_NORM = _CLIPS | {
    "scale": "the bound on norms is fixed",
    "identical_rows": "a common row above the bound is clipped too",
}
_ADDS_NOISE = {"identical_rows": "noise is added"}
_NOISE = dict.fromkeys(("zeros", "coordinate_range", "convex_hull"), "noise is added")

_DIVIDES_BY_WHAT_IS_EXPECTED = _CLIPS_TO_A_FIXED_NORM | {
    "mean_without_byzantine": "it divides by the expected number of clients",
    "identical_rows": "the same",
}
_VOTES = {
    "translation": "signs change with the origin",
    "scale": "the step is fixed",
    "mean_without_byzantine": "every coordinate moves by the step",
    "identical_rows": "a step is not the row",
    "coordinate_range": "the step may be longer than every row",
}
_REVERSES = {
    "translation": "signs change with the origin",
    "mean_without_byzantine": "what too few agree on is reversed whoever disagrees",
    "coordinate_range": "a reversed mean lies on the other side",
}
_KEEPS_ITS_OWN_F = {"mean_without_byzantine": "the stages keep their own num_byzantine"}
_COMPARES_DIRECTIONS = {
    "translation": "angles change with the origin",
    "mean_without_byzantine": "alike clients lose weight whoever they are",
    "identical_rows": "identical clients are sybils to it",
}
_TRUSTS = {
    "translation": "angles change with the origin",
    "scale": "rows get the length of the server's own update",
    "mean_without_byzantine": "clients count by their angle to the server's own update",
    "identical_rows": "the row gets the length of the server's own",
    "coordinate_range": "the same",
    "convex_hull": "weights change lengths",
    "float64_is_worked_in_float64": "a single client who is not trusted gives zero",
}
_TRAINS_MASKS = {
    "translation": "the merged model is another one",
    "scale": "the merged model is another one",
    "mean_without_byzantine": "honest clients may lie in two clusters",
}
_SPLITS_ALWAYS = {
    "identical_rows": "the server's own model may be unlike all of them",
    "coordinate_range": "the model is kept if nobody is like the server's own",
    "float64_is_worked_in_float64": "a single client is rejected",
}

AGGREGATORS: tuple[AggregatorExample, ...] = (
    AggregatorExample(Mean()),
    AggregatorExample(Median(num_byzantine=2), _PICKS, lambda n, f: 4 * (1 + _ratio(n, f)) ** 2),
    AggregatorExample(TrimmedMean(num_byzantine=2), kappa=lambda n, f: 6 * _ratio(n, f) * (1 + _ratio(n, f))),
    AggregatorExample(Krum(num_byzantine=2), _PICKS, lambda n, f: 6 * (1 + _ratio(n, f))),
    AggregatorExample(MultiKrum(num_byzantine=2)),
    AggregatorExample(MultiKrum(num_byzantine=1, num_selected=3), _PICKS),
    AggregatorExample(MeaMed(num_byzantine=2)),
    AggregatorExample(Phocas(num_byzantine=2)),
    AggregatorExample(Bulyan(num_byzantine=2), {"coordinates_alone": "who is chosen depends on all coordinates"}),
    AggregatorExample(GeometricMedian(num_byzantine=2), _PICKS, lambda n, f: 4 * (1 + _ratio(n, f)) ** 2),
    AggregatorExample(CenteredClipping(max_norm=1.0), _CLIPS_TO_A_FIXED_NORM),
    AggregatorExample(CenteredClipping(max_norm=0.2, num_iterations=3), _CLIPS_TO_A_FIXED_NORM),
    AggregatorExample(MDA(num_byzantine=2)),
    AggregatorExample(SMEA(num_byzantine=2)),
    AggregatorExample(MoNNA(num_byzantine=2, trusted_client=0), {"permutation": "the trusted client is one of the rows"}),
    AggregatorExample(
        MoNNA(num_byzantine=2),
        {
            "translation": "the server's own update stays where it is",
            "scale": "the server's own update keeps its length",
        },
    ),
    AggregatorExample(CAF(num_byzantine=2)),
    AggregatorExample(
        DeepSight(num_inputs=8, num_seeds=1), _CLIPS | {"scale": "what models say of noise does not grow with their updates"}
    ),
    AggregatorExample(DnC(num_byzantine=2)),
    AggregatorExample(DnC(num_byzantine=2, num_iterations=3, max_coordinates=2)),
    AggregatorExample(SignVote(step=0.1, num_byzantine=2), _VOTES),
    AggregatorExample(RobustLearningRate(threshold=3), _REVERSES),
    AggregatorExample(FoolsGold(), _COMPARES_DIRECTIONS),
    AggregatorExample(SignGuard(share=1.0), _CLIPS),
    AggregatorExample(IterativeMultiKrum(num_byzantine=2), _PICKS),
    AggregatorExample(
        IterativeBulyan(num_byzantine=2), _PICKS | {"coordinates_alone": "who is chosen depends on all coordinates"}
    ),
    AggregatorExample(FLTrust(), _TRUSTS),
    AggregatorExample(FLDetector()),
    AggregatorExample(
        Tolpegin(),
        _PICKS
        | {
            "permutation": "rows at equal distances have no first two components",
            "translation": "the same",
        },
    ),
    AggregatorExample(SkyMask(), _TRAINS_MASKS),
    AggregatorExample(OfficialSkyMask(), _TRAINS_MASKS | _SPLITS_ALWAYS),
    AggregatorExample(RememberingSkyMask(), _TRAINS_MASKS),
    AggregatorExample(NormClipping(max_norm=1.0), _CLIPS_TO_A_FIXED_NORM),
    AggregatorExample(NormClipping(quantile=0.5), _CLIPS),
    AggregatorExample(NormClippingWithNoise(max_norm=1.0), _CLIPS_TO_A_FIXED_NORM | {"zeros": "noise is added"}),
    AggregatorExample(CentralDP(1.0, noise_multiplier=0.0, expected_clients=11.0), _DIVIDES_BY_WHAT_IS_EXPECTED),
    AggregatorExample(CentralDP(1.0, noise_multiplier=1.0, expected_clients=11.0), _DIVIDES_BY_WHAT_IS_EXPECTED | _NOISE),
    AggregatorExample(AdaptiveCentralDP(noise_multiplier=1.0, expected_clients=11.0), _DIVIDES_BY_WHAT_IS_EXPECTED | _NOISE),
    AggregatorExample(Flame(), _CLIPS | _ADDS_NOISE),
    AggregatorExample(Flame(noise=PaperNoise(level=0.0)), _CLIPS),
    AggregatorExample(
        Flame(space="update", noise=ParameterStdNoise(level=0.1)),
        _CLIPS | _ADDS_NOISE | {"scale": "the noise grows with the norm times the model's spread"},
    ),
    AggregatorExample(Pipeline((ClipNorm(max_norm=1.0), Mean())), _CLIPS_TO_A_FIXED_NORM),
    AggregatorExample(Pipeline((ClipToMedianNorm(), Mean())), _CLIPS),
    AggregatorExample(Pipeline((Normalize(), Mean())), _CLIPS_TO_A_FIXED_NORM),
    AggregatorExample(
        Pipeline((ARC(num_byzantine=2), GeometricMedian())),
        _CLIPS_INSIDE_THE_RANGE,
    ),
    AggregatorExample(Pipeline((Bucketing(size=2), Mean()))),
    AggregatorExample(Pipeline((NearestNeighborMixing(num_byzantine=2), CAF(num_byzantine=2))), _KEEPS_ITS_OWN_F),
    AggregatorExample(Pipeline((NearestNeighborMixing(num_byzantine=2), Krum(num_byzantine=2))), _PICKS),
    AggregatorExample(
        Pipeline((NearestNeighborMixing(num_byzantine=2), TrimmedMean(num_byzantine=2))),
        _KEEPS_ITS_OWN_F
        | {
            "coordinates_alone": "who is a neighbour depends on all coordinates",
        },
    ),
)
"""Every rule of Phalanx, some with several settings."""
