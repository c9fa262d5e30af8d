"""From messages to rows: whose answer is it, is it well-formed, what does it claim. A bad one costs its client the round.

What is rejected here is a value with a reason, as everything that screening drops; nothing that a client sends raises.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from statistics import median_low

import torch
from flwr.app import Message, MetricRecord
from torch import Tensor

from phalanx.core.types import Rows, Status
from phalanx.flower.wire import Answer, Wire
from phalanx.server import Rejection

MOST_STEPS = 10**4
"""More local steps than this nobody is believed: the server's own update is trained in as many as clients claim."""


@dataclass(frozen=True)
class Asked:
    """Who was sent which message in a round, by client."""

    messages: Mapping[int, Message]

    @property
    def clients(self) -> dict[int, int]:
        """The clients by node id, which `exchange` has put into their answers."""
        return {message.metadata.dst_node_id: client for client, message in self.messages.items()}


@dataclass(frozen=True)
class Received:
    """A round's well-formed answers as rows, with their clients in ascending order, and what became of the others.

    `sampled`: how many were asked. `weights` `[k]` are the claimed numbers of examples, each within [1, cap]; `steps` and
    `losses` what clients claim of their local steps and loss, where that is a number that can be.
    """

    sampled: int
    rows: Rows
    clients: tuple[int, ...]
    weights: Tensor
    steps: Mapping[int, float]
    losses: Mapping[int, float]
    rejected: tuple[Rejection, ...]
    silent: tuple[int, ...]
    strangers: int


def receive(
    replies: Iterable[Message], asked: Asked, wire: Wire, params: Tensor, cap: int, room: Callable[[int], Rows]
) -> Received:
    """Sort, check and decode a round's answers.

    `params` `[d]` is the model that was sent out, `cap` bounds claimed weights, `room` gives rows to write into.
    """
    good, claims = dict[int, Answer](), dict[int, list[MetricRecord]]()
    rejected, answered, strangers = list[Rejection](), set[int](), 0
    clients_by_node = asked.clients
    for reply in replies:
        client = clients_by_node.get(reply.metadata.src_node_id)
        if client is None:
            strangers += 1
            continue
        answer = "duplicate" if client in answered else _checked(reply, wire)
        answered.add(client)
        if isinstance(answer, str):
            rejected.append(Rejection(client, answer))
            continue
        good[client] = answer
        claims[client] = [record for record in reply.content.values() if isinstance(record, MetricRecord)]
    clients = tuple(sorted(good))
    rows = room(len(clients))
    rows.status.fill_(Status.SENT)
    for place, client in enumerate(clients):
        if reason := wire.read_into(good[client], rows, place, params):
            rejected.append(Rejection(client, reason))
            rows.status[place] = Status.DROPPED_OUT
    steps = {client: _claim(claims[client], "num-steps") for client in clients}
    losses = {client: _claim(claims[client], "loss") for client in clients}
    return Received(
        sampled=len(asked.messages),
        rows=rows,
        clients=clients,
        weights=torch.tensor([_weight(claims[client], cap) for client in clients], dtype=torch.int64),
        steps={client: claim for client, claim in steps.items() if 1 <= claim <= MOST_STEPS},
        losses={client: claim for client, claim in losses.items() if isfinite(claim)},
        rejected=tuple(rejected),
        silent=tuple(sorted(asked.messages.keys() - answered)),
        strangers=strangers,
    )


def believed(claims: Mapping[int, float], accepted: Sequence[int]) -> float | None:
    """The lower median of what the accepted clients claim; None unless more than half of them claim something.

    So fewer liars than honest clients decide nothing, where all honest ones speak or none.
    """
    made = [claims[client] for client in accepted if client in claims]
    return median_low(made) if 2 * len(made) > len(accepted) else None


def _checked(reply: Message, wire: Wire) -> Answer | str:
    if reply.has_error() or not reply.has_content():
        return "error"
    return wire.checked(reply.content)


def _weight(records: Sequence[MetricRecord], cap: int) -> int:
    claim = _claim(records, "num-examples")
    return int(min(max(claim, 1), cap)) if isfinite(claim) else 1


def _claim(records: Sequence[MetricRecord], name: str) -> float:
    """A number that a client says of itself; NaN if it says none."""
    claims: Sequence[object] = [record[name] for record in records if name in record]
    claim = claims[0] if len(claims) == 1 else None
    try:
        return float(claim) if isinstance(claim, int | float) else nan
    except OverflowError:  # an integer beyond any float
        return nan
