"""Phalanx's own rules as the laws, the conformance command and the tests of bad input try them.

At least one example of every rule; a law that a rule does not promise is written down with the reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from phalanx.aggregators import (
    ClipNorm,
    Flame,
    Krum,
    Mean,
    Median,
    MultiKrum,
    NearestNeighborMixing,
    NormClipping,
    NormClippingWithNoise,
    PaperNoise,
    ParameterStdNoise,
    Pipeline,
    TrimmedMean,
)
from phalanx.core.families import Aggregator


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
_CLIPS_TO_A_FIXED_NORM = _CLIPS | {
    "scale": "the bound on norms is fixed",
    "identical_rows": "a common row above the bound is clipped too",
}
_ADDS_NOISE = {"identical_rows": "noise is added"}

AGGREGATORS: tuple[AggregatorExample, ...] = (
    AggregatorExample(Mean()),
    AggregatorExample(Median(num_byzantine=2), _PICKS, lambda n, f: 4 * (1 + _ratio(n, f)) ** 2),
    AggregatorExample(TrimmedMean(num_byzantine=2), kappa=lambda n, f: 6 * _ratio(n, f) * (1 + _ratio(n, f))),
    AggregatorExample(Krum(num_byzantine=2), _PICKS, lambda n, f: 6 * (1 + _ratio(n, f))),
    AggregatorExample(MultiKrum(num_byzantine=2)),
    AggregatorExample(MultiKrum(num_byzantine=1, num_selected=3), _PICKS),
    AggregatorExample(NormClipping(max_norm=1.0), _CLIPS_TO_A_FIXED_NORM),
    AggregatorExample(NormClipping(quantile=0.5), _CLIPS),
    AggregatorExample(NormClippingWithNoise(max_norm=1.0), _CLIPS_TO_A_FIXED_NORM | {"zeros": "noise is added"}),
    AggregatorExample(Flame(), _CLIPS | _ADDS_NOISE),
    AggregatorExample(Flame(noise=PaperNoise(level=0.0)), _CLIPS),
    AggregatorExample(
        Flame(space="update", noise=ParameterStdNoise(level=0.1)),
        _CLIPS | _ADDS_NOISE | {"scale": "the noise grows with the norm times the model's spread"},
    ),
    AggregatorExample(Pipeline((ClipNorm(max_norm=1.0), Mean())), _CLIPS_TO_A_FIXED_NORM),
    AggregatorExample(Pipeline((NearestNeighborMixing(num_byzantine=2), Krum(num_byzantine=2))), _PICKS),
    AggregatorExample(
        Pipeline((NearestNeighborMixing(num_byzantine=2), TrimmedMean(num_byzantine=2))),
        {
            "mean_without_byzantine": "the stages keep their own num_byzantine",
            "coordinates_alone": "who is a neighbour depends on all coordinates",
        },
    ),
)
"""Every rule of Phalanx, some with several settings."""
