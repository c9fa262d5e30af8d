"""What a server can say of a round, as plain JSON values. It does not know who is malicious."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite

import torch

from phalanx.core.events import Value
from phalanx.core.types import Aggregate, Updates
from phalanx.server.screening import Rejection


class Stopwatch:
    """Seconds per phase of a round."""

    def __init__(self) -> None:
        self.seconds: dict[str, Value] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside, under `name`."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 6)


def number(value: float | None, digits: int = 6) -> float | None:
    """A JSON number with `digits` significant digits; None for what JSON has no number for."""
    return None if value is None or not isfinite(value) else float(f"{value:.{digits}g}")


def round_values(
    *,
    sampled: int,
    absent: Mapping[str, int],
    updates: Updates,
    aggregate: Aggregate,
    rejected: Sequence[Rejection],
    kept_model: str | None,
) -> dict[str, Value]:
    """The values of a round's event. `absent` counts sampled clients that sent nothing, by why."""
    values: dict[str, Value] = {
        "sampled": sampled,
        **absent,
        "received": len({*updates.ids.tolist(), *(one.client for one in rejected)}),
        "update_norm": None if aggregate.update is None else number(float(torch.linalg.vector_norm(aggregate.update))),
        "clients": updates.ids.tolist(),
        "rejected": by_reason(rejected),
    }
    if kept_model is not None:
        values["kept_model"] = kept_model
    if aggregate.influence is not None:
        values["influence"] = [float(f"{share:.4g}") for share in aggregate.influence.tolist()]
    if aggregate.scores is not None:
        values["scores"] = [number(score, 4) for score in aggregate.scores.tolist()]
    if aggregate.embedding is not None:
        values["embedding"] = [[number(place, 3) for place in point] for point in aggregate.embedding.tolist()]
    values["rule"] = {name: number(value) for name, value in aggregate.metrics.items()}
    return values


def by_reason(rejected: Sequence[Rejection]) -> dict[str, Value]:
    """Clients whose rows were dropped, grouped by reason."""
    reasons = sorted({rejection.reason for rejection in rejected})
    return {reason: [one.client for one in rejected if one.reason == reason] for reason in reasons}
