"""`RootSet`: the few trusted samples that a server holds itself, as FLTrust and SkyMask need them."""

from dataclasses import KW_ONLY
from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from phalanx.core.component import Component
from phalanx.core.errors import ConfigError, DataError
from phalanx.core.numbers import Probability


class RootSet(Component):
    """How many samples the server takes out of the clients' pool, and of which classes.

    Without `share`, a uniform sample of the pool. With it, the class `favoured_class` (1 if not given) gets
    `int(size · share)` of the samples and the other classes the rest evenly, as SkyMask draws them (`share=0.1`; with ten
    classes no bias). In place of a size, `group_share`: of every group's m training samples `int(m · group_share)`, uniformly;
    the groups are the data set's own, such as HAR's people, whether or not they are the clients.

    Raises: ConfigError for a share without a size, a favoured class without a share, or a size beside a group's share.

    >>> labels = torch.arange(100) % 4
    >>> labels[RootSet(10, share=0.7).draw(labels, 4, torch.Generator())].bincount()
    tensor([1, 7, 1, 1])
    """

    size: NonNegativeInt = 0
    _: KW_ONLY
    favoured_class: NonNegativeInt | None = None
    share: Probability | None = None
    group_share: Annotated[float, Field(gt=0, lt=1)] | None = None

    def __post_init__(self) -> None:
        if self.group_share is not None and self.size:
            raise ConfigError(
                f"root.group_share stands in place of root.size; got group_share={self.group_share} and size={self.size}. "
                "Remove one of them."
            )
        if self.share is not None and not self.size:
            raise ConfigError(f"root.share is of no use while root.size = 0; got share={self.share}. Set size or remove share.")
        if self.favoured_class is not None and self.share is None:
            raise ConfigError(
                f"root.favoured_class is of no use without root.share; got favoured_class={self.favoured_class}. "
                "Set share or remove favoured_class."
            )

    @property
    def takes_samples(self) -> bool:
        """Whether the server asks for any."""
        return self.size > 0 or self.group_share is not None

    def draw(self, labels: Tensor, num_classes: int, generator: torch.Generator, *, groups: Tensor | None = None) -> Tensor:
        """Positions `[size]` in `labels` `[N]`, ascending; `groups` `[N]` are the samples' groups, if the data set has some.

        Raises: DataError if the pool has too few samples, too few of a class, or no groups to take a share of.
        """
        if self.group_share is not None:
            return _share_of_each(groups, self.group_share, generator)
        if self.size > len(labels):
            raise DataError(f"A root set of {self.size} needs as many training samples; got {len(labels)}. Lower root.size.")
        shuffled = torch.randperm(len(labels), generator=generator)
        if self.share is None:
            return shuffled[: self.size].sort().values
        by_class = labels[shuffled]
        wanted = enumerate(self._counts(self.share, num_classes))
        chosen = [_first(shuffled[by_class == label], count, label) for label, count in wanted]
        return torch.cat(chosen).sort().values

    def _counts(self, share: float, num_classes: int) -> list[int]:
        chosen = 1 if self.favoured_class is None else self.favoured_class
        if num_classes < 2:
            raise DataError(f"root.share needs two classes or more; got {num_classes}. Remove root.share.")
        if chosen >= num_classes:
            raise DataError(f"root.favoured_class must be below the number of classes; got {chosen} of {num_classes}.")
        favoured = int(self.size * share)
        each, left = divmod(self.size - favoured, num_classes - 1)
        counts = [each + (place < left) for place in range(num_classes - 1)]
        return [*counts[:chosen], favoured, *counts[chosen:]]


def _share_of_each(groups: Tensor | None, share: float, generator: torch.Generator) -> Tensor:
    if groups is None:
        raise DataError("root.group_share needs a data set with groups, such as har; this one has none. Set root.size instead.")
    shuffled = torch.randperm(len(groups), generator=generator)
    _, group, counts = torch.unique(groups[shuffled], return_inverse=True, return_counts=True)
    by_group = group.argsort(stable=True)
    rank = torch.arange(len(groups)) - (counts.cumsum(0) - counts)[group[by_group]]  # among a group's own, from 0
    taken = torch.tensor([int(count * share) for count in counts.tolist()])
    chosen = shuffled[by_group[rank < taken[group[by_group]]]]
    if not len(chosen):
        raise DataError(
            f"root.group_share={share} takes nothing of any group: the largest has {int(counts.max())}. Raise root.group_share."
        )
    return chosen.sort().values


def _first(positions: Tensor, count: int, label: int) -> Tensor:
    if len(positions) < count:
        raise DataError(f"The root set needs {count} samples of class {label}; got {len(positions)}. Lower root.size.")
    return positions[:count]
