"""The adversary of a federation: who attacks, when, and with what. Any composition of data, client and update attack."""

from dataclasses import KW_ONLY, replace
from typing import Self

import torch
from torch import Tensor

from phalanx.attacks.schedules import Always
from phalanx.core import rng
from phalanx.core.component import Component
from phalanx.core.errors import ConfigError
from phalanx.core.families import ClientAttack, DataAttack, Schedule, Selection, UpdateAttack
from phalanx.core.types import Draw, RoundContext, Samples


class Adversary(Component):
    """Malicious clients and their attack. Without fields: nobody is malicious.

    Its methods are pure: the same round of the same run has the same attackers, before and after a resume.
    """

    _: KW_ONLY
    who: Selection | None = None
    when: Schedule = Always()
    data: DataAttack | None = None
    client: ClientAttack | None = None
    update: UpdateAttack | None = None

    def __post_init__(self) -> None:
        has_attack = any(attack is not None for attack in (self.data, self.client, self.update))
        if self.who is not None and not has_attack:
            raise ConfigError("The adversary has attackers (who) but no attack. Set data, client or update, or remove who.")
        if self.who is None and (has_attack or self.when != Always()):
            raise ConfigError("The adversary has an attack or a schedule but no attackers. Set who, or remove the rest.")
        if self.client is not None:
            self.client.check(self.data)

    def attacks_within(self, rounds: int) -> bool:
        """Whether there are attackers whose schedule has one of the first `rounds` rounds."""
        return self.who is not None and self.when.begins_before(rounds)

    def malicious(self, ids: Tensor, num_clients: int, context: RoundContext) -> dict[int, int]:
        """All attackers among this round's roster ints `ids` `[k]`, attacking or not: position in `ids` -> attacker number.

        Raises: ConfigError if the selection does not fit the number of clients.
        """
        if self.who is None:
            return {}
        numbers = self.who.attackers(ids, num_clients, context)
        return {position: numbers[client] for position, client in enumerate(ids.tolist()) if client in numbers}

    def active(self, ids: Tensor, num_clients: int, context: RoundContext) -> dict[int, int]:
        """Those of `malicious` who attack in this round."""
        attackers = self.malicious(ids, num_clients, context)
        return {position: attacker for position, attacker in attackers.items() if self.when.is_active(context.round, attacker)}

    def fitted(self, samples: Samples, seed: int) -> Self:
        """The adversary with its data attack as it is against these training samples. Raises: ConfigError."""
        if self.data is None:
            return self
        return replace(self, data=self.data.fitted(samples, rng.generator(seed, "fit the data attack")))

    def check(self, samples: Samples, num_clients: int, context: RoundContext) -> None:
        """Fail before round 0 where the adversary does not fit the federation: number of clients, classes, image size.

        Raises: ConfigError.
        """
        self.malicious(torch.arange(num_clients), num_clients, context)
        if self.data is None:
            return
        index = torch.zeros(1, dtype=torch.int64, device=samples.labels.device)
        images, labels = samples.pixels(index)
        generator = rng.generator(context.seed, "check")
        self.data.poison(images, labels, Draw(samples.num_classes, generator, self.data.choose(samples, index, generator)))
        self.data.stamp(images)
