"""What of an experiment is refused before anything is written or started, because nodes of their own cannot do it."""

from phalanx.accounts.accounts import check_no_other_way, no_proof, two_claims
from phalanx.config import Experiment, PrivacySettings, RunSettings
from phalanx.core.capabilities import Capability, require
from phalanx.core.errors import ConfigError
from phalanx.flower.defence import check_rule
from phalanx.flower.malicious import check_alone


def check(experiment: Experiment) -> None:
    """Refuse what cannot be as it says on machines of their own.

    What only the data could tell, such as the model's shape, is left to the start.

    Raises: CapabilityError for attackers who need each other's rows or the list of a round's clients, and for rules that miss
        something; PreconditionError for too few clients; ConfigError for what only the simulator does.
    """
    check_alone(experiment.adversary.update)
    if (who := experiment.adversary.who) is not None:
        require(type(who).__name__, who.needs, {Capability.STABLE_IDS})
    run, default = experiment.run, RunSettings()
    only_simulated = {
        "participation.dropout": experiment.participation.dropout > 0,
        "evaluation.tau": experiment.evaluation.tau is not None,
        "evaluation.undefended": experiment.evaluation.undefended is not None,
        "evaluation.inversion": experiment.evaluation.inversion is not None,
        "tracking": bool(experiment.tracking),
        "run.devices": run.devices not in (("auto",), ("cpu",)),
        "run.workers": run.workers != default.workers,
        "run.checkpoint_seconds": run.checkpoint_seconds != default.checkpoint_seconds,
    }
    if wrong := [name for name, is_set in only_simulated.items() if is_set]:
        raise ConfigError(f"Only the simulator knows {', '.join(wrong)}; remove it from the experiment to run it in Flower.")
    root = {Capability.ROOT_DATA} if experiment.root.takes_samples else set()
    check_rule(experiment.aggregator, experiment.screening, {Capability.MODEL, *root})
    clients = getattr(experiment.partition, "num_clients", None)
    if isinstance(clients, int):
        experiment.aggregator.require(experiment.participation.largest(clients))
        claims_privacy(experiment, clients)


def claims_privacy(experiment: Experiment, num_clients: int) -> bool:
    """Whether the server's rule makes a claim that the server can count.

    Raises: ConfigError for one that could not be proved, or that nobody here can keep.
    """
    rule = experiment.aggregator.mechanism(experiment.participation, num_clients)
    training, settings = experiment.training.mechanism(1), experiment.privacy
    if rule is not None and training is not None:
        raise ConfigError(two_claims(experiment))
    if rule is None and training is None and settings != PrivacySettings():
        raise ConfigError(no_proof(experiment))
    if rule is None and settings.max_epsilon is not None:
        raise ConfigError(
            f"privacy.max_epsilon cannot be kept for {experiment.training.kind} here: what a node spends it alone knows. "
            "Leave it out and limit run.rounds, or put dp_mod, which has a budget of its own, around the node's app."
        )
    if rule is not None:
        check_no_other_way(experiment, is_central=True)
    return rule is not None
