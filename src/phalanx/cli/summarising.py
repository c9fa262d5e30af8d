"""A run as one JSON document: what `phalanx show --json` prints, and `phalanx show` draws."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from statistics import fmean
from typing import Any

from phalanx.cli.describing import toml
from phalanx.core.component import Component, dump
from phalanx.core.errors import CheckpointError
from phalanx.experiments import RunRecord
from phalanx.experiments.privacy import stated
from phalanx.metrics import survival
from phalanx.server.lock import is_locked

SERIES = ("accuracy", "attack_success", "test_loss")
SPREAD = frozenset({"alpha", "bias", "shards_per_client"})
"""Fields of a partition that say how unlike the clients are."""
SIZES = frozenset({"num_clients", "min_samples"})
Document = dict[str, Any]


def run_document(record: RunRecord) -> Document:
    """Everything about a run that a script may ask for. Rounds count from 0, as in events.jsonl.

    kind ("run"), folder, experiment (its digest), state ("finished", "stopped", "going on", "not begun"), rounds_done, rounds;
    config (but for trackers, whose addresses may hold a password);
    version, versions, platform, device, parameters, data, clients;
    final (the last evaluation), series {round: […], accuracy: […], attack_success: […], test_loss: […]};
    attackers (who was malicious in any round; null where nobody knows, as of real nodes),
    detection {tpr, fpr, precision: means over rounds}, rejected {reason: updates},
    kept_model [{round, reason}], privacy {statement, epsilon, delta, unit, neighbours, sampling, accountant, trusted} or null,
    survival {last_attack, rounds, still_alive} or null, seconds {phase: total}.

    Raises: CheckpointError if its events are damaged or another version's.
    """
    try:
        document = _document(record)
        json.dumps(document, allow_nan=False)  # a sum of numbers that are hardly finite is not
        return document
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise CheckpointError(
            f"The events in {record.folder} are damaged, or another version's (Phalanx {record.version})."
        ) from None


def _document(record: RunRecord) -> Document:
    rounds, manifest = record.rounds, record.manifest
    return {
        "kind": "run",
        "folder": str(record.folder),
        "experiment": record.experiment.digest(),
        "state": state(record),
        "rounds_done": len(rounds),
        "rounds": record.experiment.run.rounds,
        "config": {name: value for name, value in record.experiment.to_table().items() if name != "tracking"},
        "version": record.version,
        **{name: manifest.get(name) for name in ("versions", "platform", "device", "data")},
        "parameters": _number(manifest.get("parameters")),
        "clients": len(manifest.get("client_samples", ())) or None,
        "final": {name: _number(value) for name, value in record.final.items() if name not in ("event", "seconds")},
        "series": {
            "round": [event["round"] for event in record.evaluations],
            **{name: values for name in SERIES if any(values := [_number(event.get(name)) for event in record.evaluations])},
        },
        "attackers": _attackers(rounds),
        "detection": {name: _mean(event.get(name) for event in rounds) for name in ("tpr", "fpr", "precision")},
        "rejected": dict(sum((_counts(event["rejected"]) for event in rounds), Counter[str]())),
        "kept_model": [
            {"round": event["round"], "reason": _text(event["kept_model"])} for event in rounds if event.get("kept_model")
        ],
        "survival": backdoor_survival(record),
        "privacy": stated(record),
        "remarks": [_text(remark) for remark in (record.gap, (record.result or {}).get("stopped")) if remark is not None],
        "seconds": dict(sum((Counter(event.get("seconds", {})) for event in record.events), Counter[str]())),
    }


def _attackers(rounds: Sequence[Mapping[str, Any]]) -> list[int] | None:
    if any("malicious" not in event for event in rounds):
        return None
    return sorted({int(client) for event in rounds for client in event["malicious"]})


def state(record: RunRecord) -> str:
    """Where a run stands; "stopped" is everything that is neither finished nor held by a process."""
    if record.is_finished:
        return "finished"
    if is_locked(record.folder):
        return "going on"
    return "stopped" if record.rounds else "not begun"


def backdoor_survival(record: RunRecord) -> Document | None:
    """How many rounds attack success stayed at one half or more after the last attack; None if the schedule has not ended."""
    attacked = [event["round"] for event in record.rounds if event.get("malicious")]
    success = {
        event["round"]: event["attack_success"] for event in record.evaluations if event.get("attack_success") is not None
    }
    if not attacked or not success or max(success) <= attacked[-1]:
        return None
    last, adversary = attacked[-1], record.experiment.adversary
    attackers = _attackers(record.rounds) or []
    to_come = range(last + 1, record.experiment.run.rounds)
    if any(adversary.when.is_active(round, number) for round in to_come for number in range(len(attackers))):
        return None
    lived = survival(success, last_attack=last)
    return {"last_attack": last, "rounds": lived, "still_alive": last + lived == max(success)}


def brief(component: Component, *, always: Set[str] = frozenset(), never: Set[str] = frozenset()) -> str:
    """A component in a few words: its kind, and the plain fields that are not as by default, or asked for.

    >>> from phalanx.aggregators import Krum
    >>> brief(Krum(num_byzantine=2))
    'krum (num_byzantine 2)'
    """
    table = dump(component)
    plain = {name: value for name, value in table.items() if name != "kind" and not isinstance(value, dict | list)}
    told = {name for name, value in plain.items() if value != _default(component, name) or name in always} - never
    changed = [f"{name} {toml(value)}" for name, value in plain.items() if name in told]
    return f"{component.kind} ({', '.join(changed)})" if changed else component.kind


def _default(component: Component, name: str) -> Any:
    field = type(component).__dataclass_fields__[name]  # type: ignore[attr-defined]
    return getattr(field.default, "default", field.default)


def _number(value: Any) -> float | int | None:
    if value is None or isinstance(value, int | float):
        return value
    raise ValueError(f"{value!r} is no number")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is no text")


def _counts(rejected: Mapping[str, Sequence[int]]) -> Counter[str]:
    return Counter({reason: len(clients) for reason, clients in rejected.items()})


def _mean(values: Any) -> float | None:
    found = [value for value in values if value is not None]
    return fmean(found) if found else None
