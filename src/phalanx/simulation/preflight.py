"""What is refused before any work: combinations that cannot do what they say."""

import torch
from torch import Tensor, nn

from phalanx.config import Experiment
from phalanx.core import params as flat
from phalanx.core.capabilities import Capability, require
from phalanx.core.errors import ConfigError
from phalanx.core.types import RoundContext
from phalanx.data import Federation


def check(experiment: Experiment, federation: Federation, model: nn.Module, context: RoundContext) -> None:
    """Try rule, model, trainers and adversary on this federation's shapes.

    Raises: ConfigError, CapabilityError or PreconditionError.
    """
    adversary, clients = experiment.adversary, federation.num_clients
    given = {Capability.INDIVIDUAL_UPDATES, Capability.STABLE_IDS, Capability.MODEL, Capability.COLLUSION}
    given |= {Capability.ROOT_DATA} if federation.root is not None else set()
    require(type(experiment.aggregator).__name__, experiment.aggregator.needs, given)
    if adversary.update:
        require(type(adversary.update).__name__, adversary.update.needs, given)
    if experiment.screening.weights != "uniform" and not experiment.aggregator.uses_weights:
        kind = experiment.aggregator.kind
        raise ConfigError(f'The rule {kind} counts every client alike; screening.weights = "samples" would change nothing.')
    experiment.aggregator.require(experiment.participation.largest(clients))
    check_model(model, federation)
    experiment.aggregator.check(model)
    experiment.training.check(model, federation.train)
    if adversary.client:
        adversary.client.training(experiment.training).check(model, federation.train)
    if adversary.update:
        adversary.update.check(model)
    adversary.check(federation.test, clients, context)


def check_model(model: nn.Module, federation: Federation) -> None:
    """The model must be in float32 and give logits `[B, C]` for this data.

    Raises: ConfigError.
    """
    for name, parameter in flat.trainable(model).items():
        if parameter.dtype != torch.float32:
            raise ConfigError(f"The model must have float32 parameters; {name} is {parameter.dtype}. Call model.float().")
    index = torch.zeros(2, dtype=torch.int64, device=federation.test.labels.device)
    images, _ = federation.test.pixels(index)
    model.eval()
    try:
        with torch.no_grad():
            logits = model(federation.test.normalize(images))
    except Exception as error:
        shape = list(federation.input_shape)
        raise ConfigError(f"The model cannot take samples of shape {shape}: {type(error).__name__}: {error}") from error
    expected = [2, federation.num_classes]
    if not isinstance(logits, Tensor) or list(logits.shape) != expected:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(f"The model must give logits {expected} for two samples; got {got}.")
