"""What a round says of itself: events, as plain JSON values. Only here is the rule's verdict compared with the truth."""

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from math import isfinite

import torch

from phalanx.core.events import Event, Value
from phalanx.core.types import Aggregate, Updates
from phalanx.metrics import TAUS, Evaluation, detection, norm_summary
from phalanx.server import Rejection


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


def round_event(
    round: int,
    *,
    sampled: int,
    absent: Mapping[str, int],
    updates: Updates,
    aggregate: Aggregate,
    rejected: Sequence[Rejection],
    malicious: Set[int],
    loss: float | None,
    kept_model: str | None,
    attack: Mapping[str, float],
    seconds: dict[str, Value],
) -> Event:
    """The event of one round. `absent` counts sampled clients that sent nothing, by why."""
    values: dict[str, Value] = {
        "sampled": sampled,
        **absent,
        "received": len(updates) + len(rejected),
        "loss": number(loss),
        "update_norm": None if aggregate.update is None else number(float(torch.linalg.vector_norm(aggregate.update))),
        "clients": updates.ids.tolist(),
        "malicious": list[Value](sorted(malicious)),
        "rejected": by_reason(rejected),
    }
    if kept_model is not None:
        values["kept_model"] = kept_model
    if aggregate.influence is not None:
        values["influence"] = [float(f"{share:.4g}") for share in aggregate.influence.tolist()]
    if aggregate.scores is not None:
        values["scores"] = [number(score, 4) for score in aggregate.scores.tolist()]
    if malicious and len(updates):
        bad = torch.tensor([client in malicious for client in updates.ids.tolist()])
        norms = norm_summary(updates.norms.cpu(), bad)
        values |= {"honest_norm": number(norms.honest), "malicious_norm": number(norms.malicious)}
        if aggregate.influence is not None:
            found = detection(aggregate.influence.cpu(), bad)
            values |= {"tpr": number(found.tpr), "fpr": number(found.fpr), "precision": number(found.precision)}
    values["rule"] = {name: number(value) for name, value in aggregate.metrics.items()}
    values["attack"] = {name: number(value) for name, value in attack.items()}
    values["seconds"] = seconds
    return Event("round", round, values)


def by_reason(rejected: Sequence[Rejection]) -> dict[str, Value]:
    """Clients whose rows were dropped, grouped by reason."""
    reasons = sorted({rejection.reason for rejection in rejected})
    return {reason: [one.client for one in rejected if one.reason == reason] for reason in reasons}


def evaluation_event(round: int, found: Evaluation, seconds: dict[str, Value]) -> Event:
    """The event of one test of the model."""
    values: dict[str, Value] = {"accuracy": number(found.accuracy), "test_loss": number(found.loss)}
    if found.attack_success is not None:
        values |= {"attack_success": number(found.attack_success), "base_rate": number(found.base_rate)}
    if (gated := found.gated) is not None:
        values |= {"tau": gated.tau, "gated_accuracy": number(gated.accuracy)}
        over: dict[str, Value] = {"tau": list[Value](TAUS), "accuracy": [number(share, 4) for share in gated.accuracies]}
        if gated.successes is not None:
            values["gated_attack_success"] = number(gated.attack_success)
            over["attack_success"] = [number(share, 4) for share in gated.successes]
        values["over_tau"] = over
    if (bound := found.bound) is not None:
        values |= {"undefended_success": number(bound.undefended), "success_bound": number(bound.bound)}
    return Event("evaluation", round, {**values, "seconds": seconds})
