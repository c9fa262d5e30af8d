"""FLIP: clients that find the marks which turn the model, and train it to be turned by none."""

from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Literal

import torch
from torch import Tensor

from phalanx.core.numbers import PositiveFloat32, Probability
from phalanx.core.types import State
from phalanx.training.class_distances import ClassDistances
from phalanx.training.hardening import Batches
from phalanx.training.trigger_hardening import TriggerHardening, counted, some, stamped
from phalanx.training.trigger_inversion import TriggerInversion, Triggers

_BATCHES_A_PAIR = 2


class Flip(TriggerHardening):
    """Stamp inverted triggers on local images that keep their true labels: a backdoor that nobody has seen is unlearned, too.

    ```
    a client's first round, batch c < K:  the universal trigger to class c on `portion` of the images of other classes
    then, each pair s → t for two batches:
      t also in the batch:  invert s → t and t → s together, floor(portion · min(count of s, of t)) images of each with its own
      else:                 invert s → t alone, floor(portion · count of s) images of s
      the pair: with probability `explore` a random one, else that of the largest relative change of its trigger so far
    Adam's step on the mixed batch
    ```
    Works with the plain mean on the server and needs no trust in anyone, but most clients must do it, round for round: it
    stands beside a robust rule, not for one; and not beside every one: at `lr` 0.01 honest updates are long and unlike each
    other, and Flame takes them for the malicious ones (docs/guides/flip-tables.md). Slow: universal.steps passes for all
    classes in a client's first round and up to most_steps · pair.steps in each; `CleanHardening` and `UniversalFlip` say how
    much of the effect is bought by which part.
    Triggers that no small mask imitates (warps, sinusoids) are not found. State: sizes, changes and the last triggers, at most
    K² (C + 1) H W numbers a client. The true trigger is never looked at.

    Reference: Zhang et al., FLIP: A Provable Defense Framework for Backdoor Mitigation in Federated Learning, ICLR 2023
    (arXiv 2210.12873), sections 3.1 and 3.2.
    Differs from the official code: universal triggers are inverted together, in the model that the round starts with
    (`warm_up = "one_by_one"`: one before each batch, as there), each from a random start and on random images (there the first
    images of each class, and from the trigger to class 0 where the client holds that class); pairs with the mean of the
    cross-entropy (`pair.loss = "sum"`: two-way pairs there); sizes are not tripled, each direction has its own, and the matrix
    learns of every search (there of a pair's two searches together); a trigger is replaced by the newest, not by a larger one,
    and one over the limit is remembered; of two directions the one within the limit is used alone; a batch without a trigger
    takes a clean step, there only where none was found (`unusable = "skip"`: never). As there, `largest` binds pairs only, the
    largest triggers go first, and the greedy choice changes its source.

    >>> Flip(pair=TriggerInversion(25, lr=0.5, cost=1e-2), most_steps=40).explore
    0.3
    """

    _: KW_ONLY
    pair: TriggerInversion = TriggerInversion(200)
    """The search for a new pair's triggers."""
    repeat: TriggerInversion = TriggerInversion(50, cost=1e-2)
    """The search in the pair's second batch, from what the first one found."""
    known: Literal["pair", "repeat"] = "pair"
    """The search for a pair whose triggers the client has found before: as for a new one, or as in its second batch."""
    explore: Probability = 0.3
    largest: PositiveFloat32 = 98.0
    """A pair's trigger with more mask than this, summed over pixels and channels, is not stamped."""
    warm_up: Literal["together", "one_by_one"] = "together"
    unusable: Literal["clean", "skip"] = "clean"
    """What becomes of a batch that no trigger is stamped on: none was found, or it is too large, or no pair is left."""

    def harden(self, batches: Batches, memory: State) -> State:
        """The warm-up if the client remembers nothing, then pairs."""
        count, is_first, done = batches.num_classes, "pairs" not in memory, list[bool]()
        distances = ClassDistances.unknown(count) if is_first else ClassDistances.of(memory)
        universal: dict[int, Triggers] = {}
        if is_first and self.warm_up == "together":
            universal = dict.fromkeys(range(count), self._warm_up(batches, distances, range(count)))
        pairs, generator = _Pairs(self, batches, distances), batches.generator("stamp")
        for place, (images, labels) in enumerate(batches):
            if is_first and place < count:
                triggers = universal.get(place) or self._warm_up(batches, distances, [place])
                changed = self.with_universal(images, labels, triggers, place, generator)
            else:
                changed = pairs.on(images, labels)
            if changed is not None or self.unusable == "clean":
                batches.step(images if changed is None else changed, labels)
            done.append(changed is not None)
        return {**distances.state(), **counted(done)}

    def _warm_up(self, batches: Batches, distances: ClassDistances, targets: Sequence[int]) -> Triggers:
        triggers, client = self.invert_universal(batches, targets), batches.client
        labels = client.samples.labels[client.index]
        present = (torch.bincount(labels) > self.present_above).nonzero().flatten().tolist()
        distances.start_from(triggers, present)
        return triggers


class _Pairs:
    """The pairs of one client in one round: which, from where their search starts, and what it puts on a batch."""

    def __init__(self, flip: Flip, batches: Batches, distances: ClassDistances) -> None:
        self._flip, self._batches, self._distances = flip, batches, distances
        self._generator = batches.generator("pairs")
        self._pair: tuple[int, int] | None = None
        self._left, self._searches = 0, 0
        self._last: Triggers | None = None

    def on(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """The batch with the pair's triggers on some of its images; None if it cannot be used."""
        counts = torch.bincount(labels, minlength=self._batches.num_classes).tolist()
        present = [label for label, count in enumerate(counts) if count > self._flip.present_above]
        if self._left == 0:
            if not present:
                return None
            previous = self._pair[0] if self._pair else None
            self._pair = self._distances.choose(present, previous, self._flip.explore, self._generator)
            self._left, self._last = _BATCHES_A_PAIR, None
        self._left -= 1
        source, target = self._pair  # type: ignore[misc]  # chosen above, at the latest
        if source not in present:
            return None
        both = target in present
        size = min(counts[source], counts[target]) if both else counts[source]
        if int(size * self._flip.portion) == 0:
            return None
        directions = [(source, target), (target, source)] if both else [(source, target)]
        triggers = self._invert(images, labels, directions)
        return self._stamp(images, labels, triggers, int(size * self._flip.portion))

    def _invert(self, images: Tensor, labels: Tensor, directions: list[tuple[int, int]]) -> Triggers:
        last, self._searches = self._last, self._searches + 1
        goes_on = last is not None and last.pairs == tuple(directions) and bool(last.found.all())
        is_short = goes_on or (self._flip.known == "repeat" and self._distances.knows(directions))
        inversion = self._flip.repeat if is_short else self._flip.pair
        self._last = inversion.invert_all(
            self._batches.model,
            images,
            labels,
            directions,
            start=last if goes_on else self._distances.start(directions, images),
            normalize=self._batches.client.samples.normalize,
            generators=[self._batches.generator(f"trigger {self._searches} from {s} to {t}") for s, t in directions],
        )
        self._distances.record(self._last)
        return self._last

    def _stamp(self, images: Tensor, labels: Tensor, triggers: Triggers, count: int) -> Tensor | None:
        is_usable = triggers.sizes * images.shape[1] <= self._flip.largest  # NaN, no trigger, is not
        if not is_usable.any():
            return None
        changed = images
        for place in is_usable.nonzero().flatten().tolist():
            chosen = some(labels == triggers.pairs[place][0], 1.0, self._generator)[:count]
            changed = stamped(changed, triggers, place, chosen)
        return changed
