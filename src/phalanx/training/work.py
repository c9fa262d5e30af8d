"""`LocalWork`: one cohort's local training in one round, and all that every engine must do alike.

Which samples make which batch, what is done to them in which order, and when hooks run is decided here; an engine only
computes gradients. Everything random is a function of (seed, round, client), so clients can be trained in any order, anywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

import torch
from torch import Tensor

from phalanx.core import rng
from phalanx.core.families import Augmentation, DataAttack, StepHook
from phalanx.core.types import Cohort, Draw, RoundContext


class Optimizer(Protocol):
    """What turns gradients into steps. It remembers the steps it made; every client and round begins with a fresh one."""

    @property
    def plain_rate(self) -> float | None:
        """The rate if a step is `w -= rate · g` and nothing else: an engine may then make it without asking."""

    def begin(self, epoch: int) -> None:
        """A client begins this pass over its samples, counted from 0. Engines that train many clients at once do not say so."""

    def step(self, params: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Change `params` in place; `gradients` are not changed."""

    def keep(self, clients: int) -> None:
        """Forget all but the first `clients` entries along every tensor's first dimension: the others have finished."""


@dataclass(frozen=True)
class LocalWork:
    """What to train and how. `hooks` are the trainer's, then the cohort's; exactly one of `epochs` and `steps` is set."""

    cohort: Cohort
    context: RoundContext
    batch_size: int
    epochs: int | None
    steps: int | None
    augment: tuple[Augmentation, ...]
    hooks: tuple[StepHook, ...]
    optimizer: Callable[[], Optimizer]

    def augmenting(self, client: int) -> torch.Generator:
        """What a client's augmentations draw from."""
        return self.context.generator("augment", client)

    def layer_seed(self, client: int) -> int:
        """Where the draws of a client's layers begin, such as Dropout's."""
        return rng.derive(self.context.seed, "forward", self.context.round, client)

    def client(self, i: int) -> "ClientWork":
        """The batches of the cohort's i-th client."""
        return ClientWork(self, i)

    @cached_property
    def _gradient_hooks(self) -> list[StepHook]:
        return [hook for hook in self.hooks if type(hook).gradient is not StepHook.gradient]

    @cached_property
    def _step_hooks(self) -> list[StepHook]:
        return [hook for hook in self.hooks if type(hook).after_step is not StepHook.after_step]

    def step(self, optimizer: Optimizer, params: Sequence[Tensor], gradients: Sequence[Tensor], clients: int) -> None:
        """One step of `clients` clients at once, with the hooks around it.

        For one client the tensors are a module's; for more, each has the clients in front. Hooks see them flat, `[k, d]`: the
        copies are made only for them.
        """
        if self._gradient_hooks:
            flat = _join(gradients, clients)
            for hook in self._gradient_hooks:
                hook.gradient(flat, _join(params, clients), self.context)
            gradients = _parts(flat, params)
        optimizer.step(params, gradients)
        if self._step_hooks:
            flat = _join(params, clients)
            for hook in self._step_hooks:
                hook.after_step(flat, self.context)
            torch._foreach_copy_(list(params), _parts(flat, params))


def _join(tensors: Sequence[Tensor], clients: int) -> Tensor:
    return torch.cat([tensor.detach().reshape(clients, -1) for tensor in tensors], dim=1)


def _parts(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    pieces = torch.split(flat, [tensor.numel() // len(flat) for tensor in like], dim=1)
    return [piece.reshape(tensor.shape) for piece, tensor in zip(pieces, like)]


class ClientWork:
    """One client's batches in one round. Draws from its generators, so walk through it once."""

    def __init__(self, work: LocalWork, i: int) -> None:
        cohort = work.cohort
        self.id, self.samples = cohort.ids[i], cohort.samples
        self.index = cohort.index[i].to(self.samples.labels.device)
        self.size = self.index.numel()
        self._work = work
        self._poison: DataAttack | None = cohort.poison if self.size else None
        self._augmenting = work.augmenting(self.id) if work.augment else None
        if self._poison is not None:
            self._attacker = cohort.attackers[i]
            self._poisoning = work.context.generator("poison", self.id)
            # The same samples in every round: this generator does not know the round.
            choosing = rng.generator(work.context.seed, "choose", 0, self.id)
            self._chosen = self._poison.choose(self.samples, self.index, choosing)
            self._pool = None if self._chosen is None else self.index[self._chosen]

    @property
    def changes_samples(self) -> bool:
        """Whether `load` does more than look samples up."""
        return self._augmenting is not None or self._poison is not None

    def plan(self, smallest: int = 1) -> tuple[Tensor, list[int]]:
        """Where in `index` the samples of all steps lie, one step after the other, and how many each step has.

        Batches are slices of one permutation an epoch, the last one short. Those of fewer than `smallest` samples are left out
        and do not count as steps.
        """
        work, epoch = self._work, self.epoch(smallest)
        if not epoch:
            return self.index[:0], []
        shuffling, used = work.context.generator("batches", self.id), sum(epoch)
        epochs = work.epochs or -(-cast(int, work.steps) // len(epoch))
        sizes = (epoch * epochs)[: work.steps]
        orders = [torch.randperm(self.size, generator=shuffling)[:used] for _ in range(epochs)]
        # Hundreds of clients come here every round: not even one needless copy.
        order = orders[0] if epochs == 1 else torch.cat(orders)
        return order[: sum(sizes)].to(self.index.device), sizes

    def epoch(self, smallest: int = 1) -> list[int]:
        """How many samples each batch of one pass has."""
        full, rest = divmod(self.size, self._work.batch_size)
        return [size for size in [self._work.batch_size] * full + [rest] if size >= smallest]

    def load(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """A batch as the model sees it: looked up, augmented, poisoned, normalised, in this order; and its labels."""
        images, labels = self.pixels(positions)
        return self.samples.normalize(images), labels

    def pixels(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The same batch before it is normalised."""
        images, labels = self.samples.pixels(self.index[positions])
        if self._augmenting is not None:
            for augmentation in self._work.augment:
                images = augmentation.apply(images, self._augmenting)
        if self._poison is not None:
            chosen = None if self._chosen is None else self._chosen[positions]
            draw = Draw(self.samples.num_classes, self._poisoning, chosen, self._attacker, self.samples, self._pool)
            images, labels = self._poison.poison(images, labels, draw)
        return images, labels
