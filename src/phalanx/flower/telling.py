"""What the server says of a round in Flower's own ways: a line in its log, and numbers in its result."""

import logging

from flwr.app import MetricRecord

from phalanx.core.events import Event

LOG = logging.getLogger("flwr")
"""Where Flower writes, and so what its programs show."""


def log_round(event: Event) -> None:
    """One line on what became of a round's answers."""
    values = event.values
    kept = f"; the model is kept: {values['kept_model']}" if "kept_model" in values else ""
    accepted, sampled = len(list(values["clients"])), values["sampled"]  # type: ignore[arg-type]
    LOG.info(
        "\tround %d: %s of %s answers accepted; rejected %s%s", event.round + 1, accepted, sampled, values["rejected"], kept
    )


def counted(event: Event, *, rejected: int, is_kept: bool) -> MetricRecord:
    """What the server itself counted in a round: nothing of it is a client's claim."""
    names = ("sampled", "received", "no_answer")
    numbers = {name.replace("_", "-"): int(str(event.values[name])) for name in names}
    return MetricRecord({**numbers, "rejected": rejected, "kept-model": int(is_kept)})
