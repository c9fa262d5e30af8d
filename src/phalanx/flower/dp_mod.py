"""`dp_mod`: local differential privacy around a client app of your own, which need not know of it."""

from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray

from phalanx.config import PrivacySettings
from phalanx.core.errors import ConfigError, FederationError, PhalanxError, PrivacyBudgetExhausted
from phalanx.core.noise import SystemNoise
from phalanx.core.privacy import Mechanism, Spending
from phalanx.flower.node_ledger import opened
from phalanx.flower.telling import LOG
from phalanx.privacy import PrivacyStatement
from phalanx.privacy.accounting import composed_epsilon
from phalanx.privacy.local_dp import release

NOT_RELEASED = 1001  # error codes from 1000 on are an app's own


def dp_mod(
    *,
    clip_norm: float,
    noise_multiplier: float,
    delta: float = 1e-5,
    max_epsilon: float | None = None,
    ledger: str | Path | None = None,
) -> Mod:
    """A Flower mod that clips and noises what a client app sends: w + x min(1, C / |x|) + N(0, (z C)² I).

    w is the model that the client was sent, x how far the app's answer is from it, over all floating-point arrays together.
    This hides all of a client's data from everyone, as the trainer `local_dp` does and at the same price; the noise is the
    operating system's. What would have no noise is not sent: metrics (but for one example, whoever it is), integers, an error's
    words. There is no answer where the app does not send back what it was sent, in names and shapes, where its price is not on
    record, and to any message but one to train. Whether a client answers is not hidden.

    `ClientApp(mods=[dp_mod(…)])`: put it first, so that nothing that sees the data comes after it. Not for models with
    BatchNorm, whose statistics would get noise like everything else.

    Args:
        clip_norm: C.
        noise_multiplier: z, relative to C. Neighbours are replaced, so it counts as z / 2.
        delta: of the statement that is logged with every answer.
        max_epsilon: the budget: no answer is given that would pass it.
        ledger: a folder of this node's own, where every answer is on record before it leaves. None: in `context.state`, which
            Flower forgets with the SuperNode's process, and begins anew in every run.

    Raises: ConfigError without noise, or for a budget that the first answer would pass.
    """
    if not (isfinite(clip_norm) and clip_norm > 0 and isfinite(noise_multiplier) and noise_multiplier > 0):
        raise ConfigError(
            "dp_mod hides nothing without clip_norm > 0 and noise_multiplier > 0; "
            f"got clip_norm={clip_norm:g}, noise_multiplier={noise_multiplier:g}."
        )
    budget = _Budget(noise_multiplier, PrivacySettings(delta, max_epsilon=max_epsilon))
    budget.afford(())

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        try:
            with opened(ledger, context) as book:
                budget.afford(book.spent)
                name, before, after = _trained(message, context, call_next)
                hidden = _hidden(before, after, clip_norm, noise_multiplier)
                book.charge(budget.one)
        except PhalanxError as refusal:
            LOG.warning("\t%s", refusal)
            return Message(Error(NOT_RELEASED, str(refusal)), reply_to=message)
        LOG.info("\tThis node has spent: %s", budget.statement((*book.spent, budget.one)))
        # Stock strategies ask for a number of examples; this one tells nothing.
        return Message(RecordDict({name: hidden, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    return mod


@dataclass(frozen=True)
class _Budget:
    noise_multiplier: float
    settings: PrivacySettings

    @property
    def one(self) -> Spending:
        return Spending(self.noise_multiplier, 1.0, 1)

    def statement(self, spent: tuple[Spending, ...]) -> PrivacyStatement:
        delta, accountant = self.settings.delta, self.settings.accountant
        epsilon = composed_epsilon(spent, delta, sampling="none", neighbours="replace-one", accountant=accountant)
        mechanism = Mechanism("client", "replace-one", "none", self.one, None, is_reproducible=False)
        return PrivacyStatement.of(mechanism, epsilon, delta=delta, accountant=accountant)

    def afford(self, spent: tuple[Spending, ...]) -> None:
        """Nothing, if one answer more may be given after these."""
        most, after = self.settings.max_epsilon, self.statement((*spent, self.one))
        if most is None or after.epsilon <= most:
            return
        if not spent:
            raise ConfigError(f"The first answer alone would spend more than ε = {most:g}: {after}. Add noise.")
        given = sum(one.steps for one in spent)
        raise PrivacyBudgetExhausted(
            f"This node's privacy budget of ε = {most:g} is spent after {given} answers; another would make it {after}."
        )


Arrays = dict[str, NDArray[np.generic]]


def _trained(message: Message, context: Context, call_next: ClientAppCallable) -> tuple[str, Arrays, Arrays]:
    """The name of the record of arrays, what was sent to the app in it, and what the app sends back.

    Raises: FederationError in words of ours: the app's may speak of its data.
    """
    if message.metadata.message_type.partition(".")[0] != MessageType.TRAIN:
        raise FederationError("dp_mod lets a client train and nothing else: what a test would tell has no noise.")
    name, received = _only(message.content, "The message")
    try:
        reply = call_next(message, context)
    except Exception:  # noqa: BLE001 - an app may raise anything, and Flower would send its words to the server
        LOG.exception("\tThe app behind dp_mod failed.")
        raise FederationError("The app behind dp_mod failed; this node's log says how.") from None
    if not reply.has_content():
        raise FederationError("The app behind dp_mod answered with an error.")
    _, sent = _only(reply.content, "What the app behind dp_mod sends")
    before, after = ({key: array.numpy() for key, array in record.items()} for record in (received, sent))
    shapes, same = ({key: array.shape for key, array in arrays.items()} for arrays in (before, after))
    if shapes != same or any(array.dtype.kind not in "fiub" for array in after.values()):
        raise FederationError("The app behind dp_mod must send back the numbers that it was sent, in names and shapes.")
    return name, before, after


def _only(content: RecordDict, what: str) -> tuple[str, ArrayRecord]:
    records = list(content.array_records.items())
    if len(records) != 1:
        raise FederationError(f"{what} must hold one record of arrays, the whole model; got {len(records)}.")
    return records[0]


def _hidden(before: Arrays, after: Arrays, clip_norm: float, noise_multiplier: float) -> ArrayRecord:
    """The answer, with noise in all that this client's data could have changed; the rest is what it was sent."""
    floats = [name for name, array in before.items() if np.issubdtype(array.dtype, np.floating)]
    if not floats:
        raise FederationError("The model that dp_mod was sent holds no floating-point array.")
    with np.errstate(all="ignore"):  # what is not finite becomes noise alone
        differences = [after[name].astype(np.float64) - before[name].astype(np.float64) for name in floats]
    row = torch.from_numpy(np.concatenate([difference.ravel() for difference in differences]))
    release(row, SystemNoise(), clip_norm=clip_norm, noise_multiplier=noise_multiplier)
    pieces = torch.split(row, [prod(before[name].shape) for name in floats])
    noised = {
        name: (before[name] + piece.numpy().reshape(before[name].shape)).astype(before[name].dtype)
        for name, piece in zip(floats, pieces)
    }
    return ArrayRecord({name: Array(np.asarray(noised.get(name, array))) for name, array in before.items()})
