"""What a round says of itself: events, as plain JSON values. Only here is the rule's verdict compared with the truth."""

from collections.abc import Mapping, Sequence, Set

import torch

from phalanx.core.events import Event, Value
from phalanx.core.types import Aggregate, Updates
from phalanx.metrics import TAUS, Evaluation, detection, norm_summary
from phalanx.server import Rejection
from phalanx.server.events import number, round_values


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
    training: Mapping[str, float],
    seconds: dict[str, Value],
) -> Event:
    """The event of one round. `absent` counts sampled clients that sent nothing, by why."""
    values = round_values(
        sampled=sampled,
        absent=absent,
        updates=updates,
        aggregate=aggregate,
        rejected=rejected,
        kept_model=kept_model,
    )
    values["loss"] = number(loss)
    values["malicious"] = list[Value](sorted(malicious))
    if malicious and len(updates):
        bad = torch.tensor([client in malicious for client in updates.ids.tolist()])
        norms = norm_summary(updates.norms.cpu(), bad)
        values |= {"honest_norm": number(norms.honest), "malicious_norm": number(norms.malicious)}
        if aggregate.influence is not None:
            found = detection(aggregate.influence.cpu(), bad)
            values |= {"tpr": number(found.tpr), "fpr": number(found.fpr), "precision": number(found.precision)}
    values["attack"] = {name: number(value) for name, value in attack.items()}
    if training:
        values["training"] = {name: number(value) for name, value in training.items()}
    values["seconds"] = seconds
    return Event("round", round, values)


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
