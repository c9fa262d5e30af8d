"""`serve`: an experiment's server, in a folder that `phalanx show` and `phalanx report` read like any run's."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp import Grid
from torch import nn

from phalanx.config import Experiment
from phalanx.core.errors import CheckpointError
from phalanx.core.events import Event, Value
from phalanx.core.files import write_atomically
from phalanx.core.json_files import read_json, to_json
from phalanx.data import Federation
from phalanx.flower.experiment import federation_of, model_of
from phalanx.flower.preflight import check, claims_privacy
from phalanx.flower.strategy import RobustStrategy
from phalanx.metrics import evaluate
from phalanx.models import model_sha256
from phalanx.server.checkpoint import serialised
from phalanx.server.event_file import read_events
from phalanx.server.events import number


def serve(
    experiment: Experiment,
    grid: Grid,
    *,
    folder: str | Path,
    round_seconds: float = 600.0,
    min_nodes: int | None = None,
    wait_seconds: float = 300.0,
    quorum: int = 1,
    seed: int | None = None,
    embeddings: bool = False,
) -> dict[str, Any]:
    """Run the server's side of an experiment to its end; what result.json holds.

    Args:
        experiment: its rule, server step, screening, participation, root and test samples.
        grid: the nodes, as Flower hands them to a server app.
        folder: config, events, checkpoints and the result. An unfinished federation in it is gone on with.
        round_seconds: how long a round waits for its slowest node.
        min_nodes: how many nodes the first round waits for; None: one for each of the experiment's clients.
        wait_seconds: how long the start waits for them, and a round for a quorum of them.
        quorum: a round with fewer accepted updates keeps the model.
        seed: of what is drawn on the server: who takes part, what a rule looks at, its noise. None: one of the operating
            system's, kept in the folder. The experiment's own travels to every node, which could draw the same.
        embeddings: whether rounds tell where the rule saw each client, for the report's picture.

    Raises: a PhalanxError, in one sentence, for whatever ends the federation early.
    """
    check(experiment)
    folder = Path(folder)
    _claim(folder, experiment)
    if (folder / "result.json").exists():
        return _finished(folder, experiment)
    federation = federation_of(experiment)
    model = model_of(experiment, federation.train)
    strategy = RobustStrategy(
        aggregator=experiment.aggregator,
        server=experiment.server,
        screening=experiment.screening,
        participation=experiment.participation,
        privacy=experiment.privacy if claims_privacy(experiment, federation.num_clients) else None,
        seed=_secret_seed(folder) if seed is None else seed,
        run=experiment.digest(),
        model=model,
        root=federation.root,
        root_trainer=experiment.training if federation.root is not None else None,
        input_shape=federation.input_shape,
        min_nodes=federation.num_clients if min_nodes is None else min_nodes,
        wait_seconds=wait_seconds,
        quorum=quorum,
        embeddings=embeddings,
        folder=folder,
    )
    test = _test(experiment, federation, model, strategy)
    result = strategy.start(grid, ArrayRecord(model.state_dict()), experiment.run.rounds, round_seconds, evaluate_fn=test)
    model.load_state_dict(result.arrays.to_torch_state_dict())
    write_atomically(folder / "model.safetensors", serialised(model.state_dict()))
    summary = {
        "experiment": experiment.digest(),
        "rounds": experiment.run.rounds,
        "final": _final(folder / "events.jsonl"),
        "model_sha256": model_sha256(model),
    }
    summary |= {} if strategy.stopped is None else {"stopped": strategy.stopped}
    summary |= {} if strategy.spent is None else {"privacy": strategy.spent}
    write_atomically(folder / "result.json", to_json(summary))
    return summary


def _finished(folder: Path, experiment: Experiment) -> dict[str, Any]:
    result = read_json(folder / "result.json")
    if result.get("experiment") != experiment.digest():
        raise CheckpointError(f"The result in {folder} is not this federation's; delete result.json and start it again.")
    return result


def _final(events: Path) -> dict[str, Value]:
    """The numbers of the last round and test, of which an earlier process may have told."""
    row = dict[str, Value]()
    for event in read_events(events):
        plain: dict[str, Value] = {
            name: value for name, value in event.items() if isinstance(value, int | float) or value is None
        }
        row = plain if event["event"] == "round" else {**row, **plain}
    return row


def _secret_seed(folder: Path) -> int:
    """The same one in a resumed federation; nobody but the server's owner can read it."""
    path = folder / "seed"
    try:
        if not path.exists():
            write_atomically(path, f"{secrets.randbits(128)}\n".encode(), mode=0o600)
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"The server's seed in {folder} cannot be read or written: {error}.") from None


def _claim(folder: Path, experiment: Experiment) -> None:
    config = folder / "config.toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"The folder {folder} cannot be used: {error.strerror}.") from None
    if not config.exists():
        write_atomically(config, experiment.to_toml().encode())
    elif Experiment.load(config).digest() != experiment.digest():
        raise CheckpointError(f"The folder {folder} holds another experiment; choose another one.")


def _test(
    experiment: Experiment, federation: Federation, model: nn.Module, strategy: RobustStrategy
) -> Callable[[int, ArrayRecord], MetricRecord | None]:
    settings = experiment.evaluation
    poison = experiment.adversary.fitted(federation.train, experiment.run.seed).data

    def test(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        is_due = settings.every and server_round % settings.every == 0
        is_last = server_round == experiment.run.rounds or strategy.stopped is not None
        if server_round == 0 or not (is_due or is_last):
            return None
        model.load_state_dict(arrays.to_torch_state_dict())
        found = evaluate(model, federation.test, poison=poison, batch_size=settings.batch_size)
        scores = {"accuracy": found.accuracy, "test_loss": found.loss}
        if found.attack_success is not None:
            scores |= {"attack_success": found.attack_success, "base_rate": found.base_rate or 0.0}
        strategy.tell(Event("evaluation", server_round - 1, {name: number(value) for name, value in scores.items()}))
        return MetricRecord({**scores})

    return test
