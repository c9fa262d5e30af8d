"""Honest and malformed replies: what a server must take, and what it must drop with the right reason."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from phalanx.core import rng
from phalanx.core.params import Layout
from phalanx.server import Reply

Tensors = Mapping[str, Tensor]


def honest_replies(layout: Layout, count: int, *, seed: int = 0) -> list[Reply]:
    """Well-formed replies of clients 0, 1, …: small differences around a common direction."""
    generator = rng.generator(seed, "honest replies")
    common = torch.randn(layout.d, generator=generator)
    return [
        Reply(
            client,
            {name: view.clone() for name, view in layout.views(common + torch.randn(layout.d, generator=generator)).items()},
            {name: view.clone() for name, view in layout.buffer_views(torch.rand(layout.b, generator=generator)).items()},
            claims={"num_examples": 10.0},
        )
        for client in range(count)
    ]


def malformed_replies(
    layout: Layout, honest: Sequence[Reply], count: int, *, seed: int = 0
) -> Iterator[tuple[str, Reply, int]]:
    """`count` times: the reason for which it must be dropped, a bad reply, and a place for it among the honest ones."""
    generator = rng.generator(seed, "malformed replies")
    faults = list(FAULTS.items())
    largest = max(layout.parameters, key=lambda slot: slot.stop - slot.start).name
    largest_buffer = max(layout.buffers, key=lambda slot: slot.stop - slot.start).name if layout.b else ""
    for number in range(count):
        name, (reason, spoil) = faults[number % len(faults)]
        source = honest[int(torch.randint(len(honest), (), generator=generator))]
        place = int(torch.randint(len(honest) + 1, (), generator=generator))
        if name == "duplicate":
            yield reason, source, len(honest)
            continue
        if number % 2 and layout.b and name in BUFFER_FAULTS:
            bad = replace(source, buffers=spoil(dict(source.buffers), largest_buffer, generator))
        else:
            bad = replace(source, parameters=spoil(dict(source.parameters), largest, generator))
        yield reason, replace(bad, client=len(honest)), place


def _fill(value: float) -> Callable[[dict[str, Tensor], str, torch.Generator], Tensors]:
    return lambda tensors, name, generator: {key: torch.full_like(tensor, value) for key, tensor in tensors.items()}


def _one_entry(value: float) -> Callable[[dict[str, Tensor], str, torch.Generator], Tensors]:
    def spoil(tensors: dict[str, Tensor], name: str, generator: torch.Generator) -> Tensors:
        spoilt = tensors[name].clone()
        spoilt.view(-1)[torch.randint(spoilt.numel(), (), generator=generator)] = value
        return {**tensors, name: spoilt}

    return spoil


def _changed(change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor], str, torch.Generator], Tensors]:
    return lambda tensors, name, generator: {**tensors, name: change(tensors[name])}


FAULTS: Mapping[str, tuple[str, Callable[[dict[str, Tensor], str, torch.Generator], Tensors]]] = {
    "all NaN": ("not finite", _fill(float("nan"))),
    "one NaN": ("not finite", _one_entry(float("nan"))),
    "one infinity": ("not finite", _one_entry(float("inf"))),
    "one negative infinity": ("not finite", _one_entry(-float("inf"))),
    "1e38 everywhere": ("norm over the cap", _fill(1e38)),
    "one entry of 3e38": ("norm over the cap", _one_entry(3e38)),
    "a huge norm": ("norm over the cap", _fill(1e9)),
    "a tensor too long": ("wrong size", _changed(lambda tensor: torch.cat([tensor, tensor]))),
    "a tensor cut off": ("wrong size", _changed(lambda tensor: tensor[:-1])),
    "one number for all": ("wrong size", _changed(lambda tensor: tensor.flatten()[:1])),
    "an empty tensor": ("wrong size", _changed(lambda tensor: tensor[:0])),
    "nothing": ("wrong size", lambda tensors, name, generator: {}),
    "a missing tensor": ("wrong size", lambda tensors, name, generator: {k: v for k, v in tensors.items() if k != name}),
    "an extra tensor": ("wrong size", lambda tensors, name, generator: {**tensors, "extra": torch.zeros(1)}),
    "an extra empty tensor": ("missing or extra tensor", lambda tensors, name, generator: {**tensors, "x": torch.zeros(0)}),
    "a renamed tensor": (
        "missing or extra tensor",
        lambda tensors, name, generator: {("x" if k == name else k): v for k, v in tensors.items()},
    ),
    "transposed": ("wrong shape", _changed(lambda tensor: tensor.t().contiguous())),
    "flattened": ("wrong shape", _changed(torch.flatten)),
    "float64": ("wrong dtype", _changed(torch.Tensor.double)),
    "half precision": ("wrong dtype", _changed(torch.Tensor.half)),
    "integers that overflow": ("wrong dtype", _changed(lambda tensor: torch.full_like(tensor, 2**62, dtype=torch.int64))),
    "complex": ("wrong dtype", _changed(lambda tensor: tensor.to(torch.complex64))),
    "duplicate": ("duplicate", _fill(0.0)),
}
"""What a stranger may send by name, with the reason it is dropped for. Subnormal numbers are well-formed and no fault."""

BUFFER_FAULTS = frozenset(
    {"all NaN", "one NaN", "one infinity", "1e38 everywhere", "a huge norm", "a tensor cut off", "float64"}
)
"""Those that are sent in a model's buffers, too."""
