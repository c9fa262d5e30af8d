"""Screening, once, before every rule: a bad row costs its client the round, never the others.

`Screening.screen` keeps the rows that are finite and not absurdly large, in the simulator and behind Flower alike. `receive` is
for transports of your own, and for tests: it writes well-formed replies (named tensors) into rows, as `flower.answers` does
with Flower's arrays. Both count what they drop by reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import median_low
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from phalanx.core import linalg
from phalanx.core.component import Component
from phalanx.core.errors import ConfigError
from phalanx.core.params import Layout, Slot
from phalanx.core.types import Rows, Status, Updates


@dataclass(frozen=True)
class Rejection:
    """One client's row that was dropped this round, and why."""

    client: int
    reason: str


@dataclass(frozen=True)
class Reply:
    """What a client sent: differences of trainable parameters and float buffers by name, and claims that nobody believes."""

    client: int
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    claims: Mapping[str, float]


def receive(replies: Sequence[Reply], layout: Layout) -> tuple[Rows, tuple[int, ...], list[Rejection]]:
    """Well-formed replies as rows with their clients, in order; the others as rejections.

    Checked in this order: size, schema, shape, dtype; a second reply of a client that already sent a good one is a duplicate.
    """
    rows, ids, rejected = Rows.empty(len(replies), layout), list[int](), list[Rejection]()
    for reply in replies:
        reason = "duplicate" if reply.client in ids else malformation(reply, layout)
        if reason is not None:
            rejected.append(Rejection(reply.client, reason))
            continue
        _write(layout.parameters, reply.parameters, rows.matrix[len(ids)])
        _write(layout.buffers, reply.buffers, rows.buffers[len(ids)])
        ids.append(reply.client)
    return rows.first(len(ids)), tuple(ids), rejected


def malformation(reply: Reply, layout: Layout) -> str | None:
    """The first thing that is wrong with the form of a reply, or None."""
    for slots, tensors in ((layout.parameters, reply.parameters), (layout.buffers, reply.buffers)):
        if sum(tensor.numel() for tensor in tensors.values()) != sum(slot.stop - slot.start for slot in slots):
            return "wrong size"
        if tensors.keys() != {slot.name for slot in slots}:
            return "missing or extra tensor"
        if any(tuple(tensors[slot.name].shape) != slot.shape for slot in slots):
            return "wrong shape"
        if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
            return "wrong dtype"
    return None


def _write(slots: Sequence[Slot], tensors: Mapping[str, Tensor], row: Tensor) -> None:
    for slot in slots:
        slot.view(row).copy_(tensors[slot.name])


class Screening(Component):
    """What the server lets through to the rule, and with which weight.

    `norm_cap`: a row whose norm is more than this many times the median norm is dropped. `weights`: every client counts the
    same, or by its number of samples as the server knows it, at most `max_samples`.
    """

    norm_cap: Annotated[float, Field(gt=1)] = 1e6
    weights: Literal["uniform", "samples"] = "uniform"
    max_samples: PositiveInt | None = None

    def __post_init__(self) -> None:
        if self.max_samples is not None and self.weights == "uniform":
            raise ConfigError('screening.max_samples limits weights by samples; set screening.weights = "samples" with it.')

    def each_alone(self, kind: str) -> "Screening":
        """The same without the cap, for a private sum: no client decides how much of another is in it. `kind` is the rule.

        Raises: ConfigError for what is set and would let one.
        """
        if self.weights != "uniform":
            raise ConfigError(
                f"{kind} counts every client alike, for a weight would raise what one client can do; leave screening.weights "
                'at "uniform".'
            )
        if self.norm_cap != Screening().norm_cap:
            raise ConfigError(
                f"screening.norm_cap compares a row with the others, so one client could decide whether another counts; {kind} "
                "clips every row alone and takes no cap. Leave it out."
            )
        return replace(self, norm_cap=1e300)

    def screen(self, rows: Rows, ids: Sequence[int], samples: Tensor) -> tuple[Updates, list[Rejection]]:
        """The updates that go to the rule. `samples` `[k]` are the server's own counts.

        Rows that were never sent are left out without a rejection. Kept rows are moved up inside `rows` (one matrix serves a
        whole run), so `rows` and `ids` no longer correspond afterwards.
        """
        sent = [place for place, status in enumerate(rows.status.tolist()) if status == Status.SENT]
        norms = linalg.norms(rows.matrix)
        reasons = self._reasons((norms, linalg.norms(rows.buffers)), sent)
        rejected = [Rejection(ids[place], reason) for place, reason in sorted(reasons.items())]
        keep = [place for place in sent if place not in reasons]
        for to, place in enumerate(keep):
            if to != place:
                rows.matrix[to].copy_(rows.matrix[place])
                rows.buffers[to].copy_(rows.buffers[place])
        kept = rows.first(len(keep))
        clients = torch.tensor([ids[place] for place in keep], dtype=torch.int64)
        updates = Updates(kept.matrix, kept.buffers, clients, self._weights(samples[keep]))
        return updates.measured(norms[keep]), rejected

    def _reasons(self, norms: Sequence[Tensor], sent: Sequence[int]) -> dict[int, str]:
        """Why which of the rows at `sent` are dropped, by place. Buffers are judged like parameters: a model needs both."""
        bad, too_large = set[int](), set[int]()
        for lengths in (each.tolist() for each in norms):
            finite = [place for place in sent if isfinite(lengths[place])]
            bad.update(set(sent).difference(finite))
            if positive := [lengths[place] for place in finite if lengths[place] > 0]:
                cap = median_low(positive) * self.norm_cap
                too_large.update(place for place in finite if lengths[place] > cap)
        return dict.fromkeys(too_large, "norm over the cap") | dict.fromkeys(bad, "not finite")

    def _weights(self, samples: Tensor) -> Tensor:
        if self.weights == "uniform":
            return torch.ones(len(samples), dtype=torch.float64)
        return samples.clamp(max=self.max_samples).double() if self.max_samples else samples.double()
