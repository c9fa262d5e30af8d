"""How far a model's classes are from each other, measured by the triggers between them: what one client remembers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phalanx.core.types import State
from phalanx.training.trigger_inversion import Pair, Triggers

_ANY = -1
"""Stands for None, all classes, where pairs are numbers."""


@dataclass
class ClassDistances:
    """A client's memory: `sizes` `[K, K]` of the last trigger from s to t (0: unknown), their `change` `[K, K]`, the triggers.

    ```
    after the universal triggers:  change = size / largest size          # so the largest go first
    after each trigger:            change = (change + (size − last size) / last size) / 2, and change / 2 where none was found
    ```
    A pair never measured has change 0.
    """

    sizes: Tensor
    change: Tensor
    found: dict[Pair, tuple[Tensor, Tensor]]

    @classmethod
    def unknown(cls, num_classes: int) -> "ClassDistances":
        """Nothing measured yet."""
        return cls(torch.zeros(num_classes, num_classes), torch.zeros(num_classes, num_classes), {})

    @classmethod
    def of(cls, state: State) -> "ClassDistances":
        """The inverse of `state`. The input is not changed."""
        pairs = [(None if source == _ANY else source, target) for source, target in state["pairs"].tolist()]
        triggers = zip(state["masks"], state["patterns"])
        return cls(state["sizes"].cpu().clone(), state["change"].cpu().clone(), dict(zip(pairs, triggers)))

    def state(self) -> State:
        """As tensors; empty if no trigger was ever found, for then there is nothing to remember."""
        if not self.found:
            return {}
        pairs = [(_ANY if source is None else source, target) for source, target in self.found]
        masks, patterns = zip(*self.found.values())
        return {
            "sizes": self.sizes,
            "change": self.change,
            "pairs": torch.tensor(pairs),
            "masks": torch.stack(masks),
            "patterns": torch.stack(patterns),
        }

    def start_from(self, triggers: Triggers, sources: Collection[int]) -> None:
        """Take universal triggers for the first sizes from every class that the client holds to each of their targets."""
        for place, (_, target) in enumerate(triggers.pairs):
            self._keep(triggers, place)
            rows = [source for source in sources if source != target]
            self.sizes[rows, target] = float(triggers.sizes[place].nan_to_num(0))
        self.change = self.sizes / self.sizes.max().clamp(min=torch.finfo(torch.float32).tiny)

    def record(self, triggers: Triggers) -> None:
        """Take the triggers of pairs of classes."""
        for place, (source, target) in enumerate(triggers.pairs):
            last, size, relative = float(self.sizes[source, target]), float(triggers.sizes[place]), 0.0
            if triggers.found[place]:
                relative = (size - last) / last if last else 0.0
                self.sizes[source, target] = size
            self.change[source, target] = (self.change[source, target] + relative) / 2
            self._keep(triggers, place)

    def _keep(self, triggers: Triggers, place: int) -> None:
        if triggers.found[place]:
            self.found[triggers.pairs[place]] = triggers.masks[place], triggers.patterns[place]

    def knows(self, pairs: Sequence[tuple[int, int]]) -> bool:
        """Whether each of these pairs has had a trigger of its own."""
        return all(pair in self.found for pair in pairs)

    def start(self, pairs: Sequence[tuple[int, int]], like: Tensor) -> Triggers:
        """Where a search may start: the last triggers of these pairs, or universal ones to their targets.

        `like`: images `[B, C, H, W]`.
        """
        known = [self.found.get(pair, self.found.get((None, pair[1]))) for pair in pairs]
        nothing = like.new_zeros(1, *like.shape[2:]), like.new_zeros(like.shape[1:])
        masks, patterns = zip(*(trigger or nothing for trigger in known))
        found = torch.tensor([trigger is not None for trigger in known], device=like.device)
        return Triggers(tuple(pairs), torch.stack(masks).to(like), torch.stack(patterns).to(like), found, found.float())

    def choose(
        self, present: Sequence[int], previous: int | None, explore: float, generator: torch.Generator
    ) -> tuple[int, int]:
        """A pair whose source is present: with probability `explore` any, else that of the largest change.

        The largest is not looked for at the `previous` source, unless it is the only one.
        """
        if torch.rand(1, generator=generator).item() < explore:
            source = present[int(torch.randint(len(present), (1,), generator=generator))]
            step = int(torch.randint(1, len(self.change), (1,), generator=generator))
            return source, (source + step) % len(self.change)
        sources = [source for source in present if source != previous] or list(present)
        change = self.change[sources]
        change[range(len(sources)), sources] = -torch.inf
        place, target = divmod(int(change.argmax()), len(self.change))
        return sources[place], target
