"""Whether a run holds what a page reads: valid JSON can still be another version's, or written by hand."""

from collections.abc import Mapping
from typing import Any

from phalanx.core.errors import CheckpointError
from phalanx.experiments import RunRecord
from phalanx.experiments.record import SHARES, is_share

NUMBERS = ("tpr", "fpr", "honest_norm", "malicious_norm", "dropped_out", "no_samples")


def check(record: RunRecord) -> None:
    """Raises: CheckpointError in one sentence if events or result lack what every page needs, or hold it in another form."""
    try:
        for event in record.rounds:
            _check_round(event)
        for row in (*record.evaluations, *([record.final] if record.final else [])):
            if not isinstance(row["round"], int) or not all(is_share(row.get(name)) for name in SHARES):
                raise ValueError("no round, or no share")
        for event in record.events:
            _check_numbers(event.get("seconds", {}))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CheckpointError(
            f"The events or the result in {record.folder} are damaged, or another version's (Phalanx {record.version})."
        ) from None


def _check_round(event: Mapping[str, Any]) -> None:
    for clients in (event["clients"], event.get("malicious", ()), *event["rejected"].values()):
        _check_numbers(dict(enumerate(clients)))
    _check_numbers({name: event.get(name) for name in NUMBERS})
    _check_numbers(dict(enumerate(event.get("influence", ()))))


def _check_numbers(values: Mapping[Any, Any]) -> None:
    for name, value in values.items():
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"{name} is no number")
