"""DPSGD: local training that hides every single example, also from the server."""

import math
from dataclasses import KW_ONLY
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

from phalanx.core.errors import ConfigError
from phalanx.core.families import Augmentation
from phalanx.core.numbers import Momentum, NonNegativeFloat32, Share
from phalanx.core.privacy import Mechanism, Spending, added
from phalanx.core.types import Cohort, RoundContext, Rows, Samples, State
from phalanx.training.engines import layers, private_linear, private_loop
from phalanx.training.example_clipping import ExampleClipping, FlatClipping
from phalanx.training.local import LocalTrainer
from phalanx.training.private_model import check_private
from phalanx.training.private_work import PrivateWork
from phalanx.training.sgd import Descent
from phalanx.training.work import LocalWork


class DPSGD(LocalTrainer):
    """SGD in which every step is private: `w -= lr (Σ clip(g_i) + N(0, (z C)²)) / (q N)` over a Poisson batch.

    ```
    batch:  each of the client's N samples with probability q, whatever else is in it; an empty batch is a step, too
    sum:    each example's own gradient, clipped to norm C (`clipping`), and noise of standard deviation z C
    divide: by the expected batch q N, never by the number of samples in it, which is private
    ```
    What is hidden is an example: one more or one less moves a sum by at most C, one in another's place by 2 C. q is
    `sample_rate`, or batch_size / N, so every client has its own; N, q and the number of steps are taken to be known;
    `mechanism` says them to an accountant. A row's loss is NaN, because nothing would hide the examples in it. Augmentations
    must treat each sample by itself. With z = 0 nothing is private.

    The noise has norm z C √d: take few parameters, large batches, few steps. A client as a whole is not hidden, for that noise
    belongs on the server; and it is no defence against attackers, who add no noise. Models that mix the samples of a batch, as
    BatchNorm does, are refused. Time: about 1.9 of SGD's for a CNN; 7 where drawing d normal numbers, in float64, is most of a
    step. Memory: SGD's and a few examples' gradients of convolutions; with `gradients="vmap"` those of up to 32 examples.

    Reference: Abadi et al., Deep Learning with Differential Privacy, CCS 2016 (arXiv 1607.00133), Algorithm 1.
    Differs from the paper: batches are Poisson and divided by what is expected, as its analysis has it; momentum and weight
    decay come after the noise.

    >>> DPSGD(0.1, epochs=1, noise_multiplier=1.0, clipping=FlatClipping(1.2)).clipping.sensitivity
    1.2
    """

    _: KW_ONLY
    noise_multiplier: NonNegativeFloat32
    """z: the noise's standard deviation, relative to what one example can move."""
    clipping: ExampleClipping = FlatClipping()
    sample_rate: Share | None = None
    """q of every client. Left out, it is batch_size / N, at most 1; given, batch_size decides nothing."""
    momentum: Momentum = 0.0
    weight_decay: NonNegativeFloat32 = 0.0
    gradients: Literal["auto", "layers", "vmap"] = "auto"
    """How the loop works out examples' gradients: auto takes the layers' own algebra where all are known, else vmap."""
    secure_rng: bool = False
    """Batches, noise, augmentations and layers' draws from the operating system: nobody can draw them again, and so nobody can
    repeat the run."""

    def optimizer(self, lr: float) -> Descent:
        """Descent without a past."""
        return Descent(lr, self.momentum, self.weight_decay)

    def gradients_for(self, model: nn.Module) -> str:
        """How the loop works out the gradients of this model's examples.

        Raises: ConfigError if the way that was asked for cannot.
        """
        if self.gradients == "layers" and not layers.knows(model):
            raise ConfigError(
                'gradients = "layers" knows linear layers, 2D convolutions padded with zeros, GroupNorm and LayerNorm; '
                f'this {type(model).__name__} has others. Leave gradients at "auto".'
            )
        if self.gradients == "auto":
            return "layers" if layers.knows(model) else "vmap"
        return self.gradients

    def check(self, model: nn.Module, samples: Samples) -> None:
        """As for every local trainer; and no example may see another. Raises: ConfigError naming the layer and the remedy."""
        check_private(model, samples, partial(private_loop.try_out, gradients=self.gradients_for(model)))
        super().check(model, samples)
        for augmentation in self.augment:
            _check_augmentation(augmentation, samples)

    def mechanism(self, num_samples: int) -> Mechanism | None:
        """Of a client with so many samples nothing leaves but noised sums over Poisson batches; without noise no claim."""
        if not self.noise_multiplier:
            return None
        spending, is_reproducible = self.spending(num_samples), not self.secure_rng
        return Mechanism("example", "add/remove", "poisson", spending, "the client that holds it", is_reproducible)

    def spending(self, num_samples: int) -> Spending:
        """z, q and the steps of one round; an epoch has as many as expected batches cover the samples."""
        if not num_samples:
            return Spending(self.noise_multiplier, 1.0, 0)
        if self.sample_rate is not None:
            rate, batches = self.sample_rate, math.ceil(1 / self.sample_rate)
        else:
            rate, batches = min(1.0, self.batch_size / num_samples), -(-num_samples // self.batch_size)
        return Spending(self.noise_multiplier, rate, self.steps or cast(int, self.epochs) * batches)

    def work(self, cohort: Cohort, context: RoundContext) -> PrivateWork:
        """What a cohort does in a round, but for the gradients."""
        plain = super().work(cohort, context)
        return PrivateWork(**vars(plain), clipping=self.clipping, spending=self.spending, secure_rng=self.secure_rng)

    def descend(self, work: LocalWork, model: nn.Module, out: Rows) -> None:
        private = cast(PrivateWork, work)
        if self.engine_for(model) == "linear":
            private_linear.train(private, out)
        else:
            private_loop.train(private, model, out, self.gradients_for(model))

    def train(self, cohort: Cohort, state: State, context: RoundContext, out: Rows) -> State:
        """Train the cohort in `context.model`; what is remembered between rounds is what each client has spent.

        Raises: ConfigError if the context has no model or the engine does not suit it.
        """
        super().train(cohort, state, context, out)
        spent = dict[str, Tensor]()
        if self.noise_multiplier:
            for name, index in ((f"{client}.spent", index) for client, index in zip(cohort.ids, cohort.index) if len(index)):
                spent[name] = added(state.get(name), self.spending(len(index)))
        return spent


def _check_augmentation(augmentation: Augmentation, samples: Samples) -> None:
    """Refuse one in which an image's neighbours change it. Raises: ConfigError."""
    image, _ = samples.pixels(torch.zeros(1, dtype=torch.int64, device=samples.labels.device))
    dark, bright = torch.zeros_like(image), torch.ones_like(image)

    def changed(images: list[Tensor]) -> Tensor:
        return augmentation.apply(torch.cat(images), torch.Generator().manual_seed(0))

    first = torch.equal(changed([image, dark])[0], changed([image, bright])[0])
    if not (first and torch.equal(changed([dark, image])[1], changed([bright, image])[1])):
        raise ConfigError(
            f"DPSGD cannot train with the augmentation {augmentation.kind}: what it makes of an image depends on the others in "
            "its batch, so nothing bounds what one of them can move. Take it out."
        )
