"""Adapters: the rules of Phalanx, ByzFL and Flower as subjects of the same cases."""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from phalanx import aggregators as ours
from phalanx.core.errors import ConfigError
from phalanx.core.families import Aggregator
from phalanx.testing.conformance.cases import N, Rule, Subject
from phalanx.testing.conformance.references import CLIP


def phalanx_subjects() -> Iterator[Subject]:
    """Every rule of ours that the cases have a reference for."""
    makers: Mapping[str, Callable[[int], Aggregator]] = {
        "mean": lambda f: ours.Mean(),
        "median": lambda f: ours.Median(num_byzantine=f),
        "trimmed_mean": ours.TrimmedMean,
        "meamed": ours.MeaMed,
        "phocas": ours.Phocas,
        "krum": ours.Krum,
        "multi_krum": ours.MultiKrum,
        "bulyan": ours.Bulyan,
        "geometric_median": lambda f: ours.GeometricMedian(num_byzantine=f),
        "centered_clipping": lambda f: ours.CenteredClipping(max_norm=CLIP),
        "mda": ours.MDA,
        "smea": ours.SMEA,
        "monna": lambda f: ours.MoNNA(num_byzantine=f, trusted_client=0),
        "caf": ours.CAF,
        "nearest_neighbor_mixing": lambda f: ours.Pipeline((ours.NearestNeighborMixing(f), ours.TrimmedMean(f))),
        "bucketing": lambda f: ours.Pipeline((ours.Bucketing(size=N), ours.Median())),
        "clipping": lambda f: ours.Pipeline((ours.ClipNorm(max_norm=CLIP), ours.Mean())),
        "arc": lambda f: ours.Pipeline((ours.ARC(f), ours.Mean())),
    }
    for method, make in makers.items():
        yield Subject(str(make(2).kind if method not in _STAGES else method), method, make)


_STAGES = frozenset({"nearest_neighbor_mixing", "bucketing", "clipping", "arc"})


def byzfl_subjects() -> Iterator[Subject]:
    """ByzFL's aggregators and pre-aggregators.

    Raises: ConfigError if ByzFL is not installed.
    """
    byzfl = import_byzfl()

    def behind(pre: Callable[[int], Any], rule: Callable[[int], Any]) -> Callable[[int], Rule]:
        return lambda f: lambda rows: torch.as_tensor(rule(f)(pre(f)(rows)))

    def average(f: int) -> Any:
        return byzfl.Average()

    makers: Mapping[str, tuple[str, Callable[[int], Rule]]] = {
        "Average": ("mean", average),
        "Median": ("median", lambda f: byzfl.Median()),
        "TrMean": ("trimmed_mean", byzfl.TrMean),
        "Meamed": ("meamed", byzfl.Meamed),
        "Krum": ("krum", byzfl.Krum),
        "MultiKrum": ("multi_krum", byzfl.MultiKrum),
        "GeometricMedian": ("geometric_median", lambda f: byzfl.GeometricMedian()),
        "CenteredClipping": ("centered_clipping", lambda f: byzfl.CenteredClipping(L=1, tau=CLIP)),
        "MDA": ("mda", byzfl.MDA),
        "SMEA": ("smea", byzfl.SMEA),
        "MoNNA": ("monna", byzfl.MoNNA),
        "CAF": ("caf", byzfl.CAF),
        "NNM + TrMean": ("nearest_neighbor_mixing", behind(byzfl.NNM, byzfl.TrMean)),
        "Bucketing + Median": ("bucketing", behind(lambda f: byzfl.Bucketing(N), lambda f: byzfl.Median())),
        "Clipping + Average": ("clipping", behind(lambda f: byzfl.Clipping(CLIP), average)),
        "ARC + Average": ("arc", behind(byzfl.ARC, average)),
    }
    for name, (method, make) in makers.items():
        yield Subject(name, method, make)


def import_byzfl() -> ModuleType:
    """ByzFL's aggregators alone: its package imports torchvision, which they do not need.

    Raises: ConfigError if it is not installed.
    """
    if "byzfl" not in sys.modules:
        found = importlib.util.find_spec("byzfl")
        if found is None or found.origin is None:
            raise ConfigError("ByzFL is not installed: pip install --no-deps byzfl")
        package = ModuleType("byzfl")
        package.__path__ = [str(Path(found.origin).parent)]
        sys.modules["byzfl"] = package
    return importlib.import_module("byzfl.aggregators")


def flower_subjects() -> Iterator[Subject]:
    """Flower's strategies, each given one round of replies with one array.

    Raises: ConfigError if Flower is not installed.
    """
    try:
        strategy = importlib.import_module("flwr.serverapp.strategy")
    except ImportError:
        raise ConfigError("Flower is not installed; in a clone: pip install '.[flower]'") from None
    logging.getLogger("flwr").setLevel(logging.ERROR)  # a line for each aggregation would hide the table
    makers: Mapping[str, tuple[str, Callable[[int], Any]]] = {
        "FedAvg": ("mean", lambda f: strategy.FedAvg()),
        "FedMedian": ("median", lambda f: strategy.FedMedian()),
        "Krum": ("krum", lambda f: strategy.Krum(num_malicious_nodes=f)),
        "Bulyan": ("bulyan", lambda f: strategy.Bulyan(num_malicious_nodes=f)),
    }
    for name, (method, make) in makers.items():
        yield Subject(name, method, _flower_rule(make), _flower_counting_rule(make))
    # These two want a share and a number of rows, which f and n give together.
    trimmed = _by_rows(lambda f, n: strategy.FedTrimmedAvg(beta=f / n))
    yield Subject("FedTrimmedAvg", "trimmed_mean", _flower_rule(trimmed), _flower_counting_rule(trimmed))
    multi = _by_rows(lambda f, n: strategy.MultiKrum(num_malicious_nodes=f, num_nodes_to_select=n - f))
    yield Subject("MultiKrum", "multi_krum", _flower_rule(multi), _flower_counting_rule(multi))


LIBRARIES: Mapping[str, tuple[str, Callable[[], Iterator[Subject]]]] = {
    "phalanx": ("phalanx", phalanx_subjects),
    "byzfl": ("byzfl", byzfl_subjects),
    "flower": ("flwr", flower_subjects),
}
"""Each library's package and subjects."""


def library_version(name: str) -> str:
    """The installed version of a library of `LIBRARIES`."""
    return version(LIBRARIES[name][0])


class _by_rows:
    """A strategy that is made when the number of rows is known."""

    def __init__(self, make: Callable[[int, int], Any]) -> None:
        self.make = make

    def __call__(self, f: int) -> Callable[[int], Any]:
        return lambda n: self.make(f, n)


def _flower_rule(make: Callable[[int], Any]) -> Callable[[int], Rule]:
    counting = _flower_counting_rule(make)
    return lambda f: lambda rows: counting(f)(rows, [1] * len(rows))


def _flower_counting_rule(make: Callable[[int], Any]) -> Callable[[int], Callable[[Tensor, list[int]], Tensor]]:
    def for_f(f: int) -> Callable[[Tensor, list[int]], Tensor]:
        def rule(rows: Tensor, counts: list[int]) -> Tensor:
            made = make(f)
            strategy = made(len(rows)) if isinstance(make, _by_rows) else made
            arrays, _ = strategy.aggregate_train(1, _replies(rows, counts))
            if arrays is None:
                raise RuntimeError("the strategy gave no result")
            return torch.from_numpy(arrays.to_numpy_ndarrays()[0].copy())

        return rule

    return for_f


def _replies(rows: Tensor, counts: list[int]) -> list[Any]:
    """One reply a row, as Flower's server gets them."""
    app = importlib.import_module("flwr.app")
    replies = []
    for node, (row, count) in enumerate(zip(rows.numpy(), counts), start=1):
        content = app.RecordDict(
            {"arrays": app.ArrayRecord([row.copy()]), "metrics": app.MetricRecord({"num-examples": count})}
        )
        replies.append(_Reply(content, SimpleNamespace(src_node_id=node)))
    return replies


@dataclass(frozen=True)
class _Reply:
    """As much of Flower's Message as its strategies read; a real one can only be made inside of a running app."""

    content: Any
    metadata: SimpleNamespace

    def has_error(self) -> bool:
        return False
