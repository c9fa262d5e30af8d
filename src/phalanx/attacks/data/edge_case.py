"""Edge-case backdoors: rare samples of a class, called another, where few honest clients can object."""

from dataclasses import KW_ONLY

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from phalanx.attacks.data.rarity import Density
from phalanx.attacks.data.target import require_class
from phalanx.core.errors import ConfigError, PreconditionError
from phalanx.core.families import DataAttack
from phalanx.core.numbers import Probability, Share
from phalanx.core.types import Draw, Samples


class EdgeCase(DataAttack):
    """Attackers call the `share` of rarest samples of class `source` `target`, and fill `mix` of every batch with them.

    Rare is what is least likely under a Gaussian mixture on the class's principal components, fitted once to all training
    samples of the class. Attackers repeat and relabel those that they hold; success is the rate of the target among test
    samples below the same threshold, unchanged: `base_rate` equals it, and only a run without the attack (`when` = never) tells
    what it is worth. Honest clients hold rare samples with their right labels: a boosted update (ModelReplacement) or many
    attackers have to outvote them, and the boost costs accuracy. An attacker without rare samples is harmless.

    Reference: Wang et al., Attack of the Tails: Yes, You Really Can Backdoor Federated Learning, NeurIPS 2020
    (arXiv 2007.05084).
    Differs from the paper: the rare samples stand in for its published sets (Southwest's aeroplanes, Ardis' sevens), which no
    honest client holds; they are found by their pixels, not by a model's penultimate features, and in all clients' samples of
    the class, which no attacker has.

    >>> attack = EdgeCase(1, target=7)
    >>> draw = Draw(10, torch.Generator(), chosen=torch.tensor([True, False]))
    >>> attack.poison(torch.zeros(2, 4), torch.tensor([1, 1]), draw)[1]
    tensor([7, 1])
    """

    source: NonNegativeInt
    target: NonNegativeInt
    share: Share = 0.1
    """Of the class's training samples, rounded to whole samples and to one at least."""
    _: KW_ONLY
    mix: Probability = 0.5
    """Of every batch; 0: rare samples come up as often as others."""
    num_features: PositiveInt = 16
    """Principal components: as many, or what the samples have."""
    num_components: PositiveInt = 3
    """Normal distributions in the mixture."""

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise ConfigError(f"EdgeCase needs two classes; got source = target = {self.source}. Choose another target.")

    @property
    def success_class(self) -> int:
        """The target."""
        return self.target

    def fitted(self, samples: Samples, generator: torch.Generator) -> DataAttack:
        """The attack with the density of the source class.

        Raises: ConfigError if a class does not exist, or the source has too few samples or only one and the same.
        """
        require_class("EdgeCase", samples.num_classes, source=self.source, target=self.target)
        images, _ = samples.pixels((samples.labels == self.source).nonzero().flatten())
        least = max(2, self.num_components)
        if len(images) < least or bool((images == images[0]).all()):
            raise ConfigError(
                f"EdgeCase needs {least} or more different training samples of class {self.source}; got {len(images)}. "
                "Choose another source or lower num_components."
            )
        seed = int(torch.randint(2**31, (), generator=generator))
        density = Density.fit(images, self.share, self.num_features, self.num_components, seed)
        return _FittedEdgeCase(**vars(self), density=density)

    def poison(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """The batch with its chosen samples relabelled, and its first `mix` replaced by the attacker's rare ones.

        Raises: ConfigError if source or target is no class; PreconditionError if nobody called `choose`.
        """
        require_class("EdgeCase", draw.num_classes, source=self.source, target=self.target)
        if draw.chosen is None:
            raise PreconditionError("EdgeCase needs `chosen`, this batch's part of what `choose` gave; got None.")
        labels = labels.masked_fill(draw.chosen, self.target)
        count = round(self.mix * len(labels))
        if not count or draw.samples is None or draw.pool is None or not len(draw.pool):
            return images, labels
        drawn = torch.randint(len(draw.pool), (count,), generator=draw.generator)
        rare, _ = draw.samples.pixels(draw.pool[drawn.to(draw.pool.device)])
        labels[:count] = self.target
        return torch.cat([rare, images[count:]]), labels

    def choose(self, samples: Samples, index: Tensor, generator: torch.Generator) -> Tensor:
        """A client's rare samples of the source class."""
        chosen = samples.labels[index] == self.source
        chosen[chosen.clone()] = self._density().is_rare(samples.pixels(index[chosen])[0])
        return chosen

    def eligible(self, images: Tensor, labels: Tensor) -> Tensor:
        """Rare test samples of the source class."""
        mask = labels == self.source
        mask[mask.clone()] = self._density().is_rare(images[mask])
        return mask

    def _density(self) -> Density:
        raise PreconditionError("EdgeCase does not know what is rare before it is fitted: call fitted(samples, generator).")


class _FittedEdgeCase(EdgeCase):
    """What `fitted` gives: not for configs."""

    _: KW_ONLY
    density: Density

    def _density(self) -> Density:
        return self.density
