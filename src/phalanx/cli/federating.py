"""`phalanx flower init`, `keys`, `up` and `resume`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phalanx.cli.terminal import console
from phalanx.config import Experiment
from phalanx.core.errors import CheckpointError, ConfigError, PrivacyBudgetExhausted
from phalanx.core.toml import parse_setting, read_toml
from phalanx.experiments import RunRecord
from phalanx.experiments.privacy import stated
from phalanx.experiments.signals import Signalled, stop_signals

try:
    from phalanx.flower.deployment import Deployment
    from phalanx.flower.keys import make_keys
    from phalanx.flower.project import num_clients, write_project
    from phalanx.flower.submission import environment, submit
except ModuleNotFoundError as error:
    raise ConfigError(f"{error.name} is not installed; this needs: pip install 'phalanx[flower]'") from None


def write_app(file: Path, folder: Path, settings: list[str]) -> None:
    """Write the app, and say what to do with it."""
    experiment = Experiment.load(file, dict(map(parse_setting, settings)))
    for path in write_project(experiment, folder):
        _say(str(path))
    _say(f"Next: phalanx flower up {folder}")


def write_keys(folder: Path, nodes: int, hosts: Sequence[str]) -> None:
    """Make keys, and say which of them belongs where."""
    make_keys(folder, nodes, hosts)
    _say(f"{folder}: ca.crt for everybody, server.pem and server.key for the SuperLink, node-1 … node-{nodes} for the nodes.")
    _say("For a try-out only: whoever has ca.key can be the server. It is valid for 90 days.")


def run_here(app: Path, nodes: int | None, port: int, keys: Path | None) -> None:
    """Start everything, run the app, stop everything.

    Raises: FederationError if it does not end well; KeyboardInterrupt after Ctrl-C or SIGTERM, when all is stopped.
    """
    config, nodes = _config(app), nodes or _nodes(app)
    needed = config.get("min-nodes", nodes)
    if nodes < needed:
        raise ConfigError(
            f"The server waits for {needed} nodes, and {nodes} would be started; raise --nodes, or lower min-nodes in "
            f"{app / 'pyproject.toml'}."
        )
    with stop_signals():
        try:
            with Deployment(app, nodes, port, keys, say=_say) as deployment:
                submit(app, "local", deployment.environment, _say, deployment.watch)
        except Signalled:
            raise KeyboardInterrupt from None
    _tell_result(config)


def go_on(app: Path, connection: str | None, nodes: int | None, port: int, keys: Path | None) -> None:
    """Run the app again, if there is a checkpoint that it will find; on another machine the server itself says so.

    Raises: CheckpointError if there is none.
    """
    config = _config(app)
    if connection is not None:
        submit(app, connection, environment(None), _say)
        return _tell_result(config)
    folder = Path(str(config.get("folder", "")))
    saved = sorted((folder / "checkpoint").glob("[0-9]*.json"))
    if not saved:
        raise CheckpointError(f"There is no checkpoint in {folder}; start the federation with: phalanx flower up {app}")
    _say(f"Going on after round {int(saved[-1].stem)}.")
    return run_here(app, nodes, port, keys)


def _config(app: Path) -> dict[str, Any]:
    """The app's own config, as its pyproject.toml has it."""
    project = app / "pyproject.toml"
    if not project.exists():
        raise ConfigError(
            f"{app} holds no Flower app: it has no pyproject.toml. Write one with: phalanx flower init FILE {app}"
        )
    table: dict[str, Any] = read_toml(project)
    for name in ("tool", "flwr", "app", "config"):
        table = table.get(name, {})
    return table


def _nodes(app: Path) -> int:
    found = sorted(app.glob("*/experiment.toml"))
    if not found:
        raise ConfigError(f"{app} holds no experiment that says how many clients there are; give --nodes.")
    return num_clients(Experiment.load(found[0]))


def _tell_result(config: dict[str, Any]) -> None:
    """What the server wrote, if it is this machine's to read.

    Raises: PrivacyBudgetExhausted if that was of fewer rounds; CheckpointError if it is damaged.
    """
    folder = Path(str(config.get("folder", "")))
    if not (folder / "result.json").is_file():
        return
    record = RunRecord.read(folder)
    final = record.final
    names = ("accuracy", "attack_success", "no_answer")
    _say(" · ".join(f"{name.replace('_', ' ')} {final[name]:.4g}" for name in names if final.get(name) is not None))
    if spent := stated(record):
        _say(f"Privacy: {spent['statement']}")
    _say(f"Next: phalanx show {folder}")
    if stopped := (record.result or {}).get("stopped"):
        raise PrivacyBudgetExhausted(f"{stopped} The last model is in {folder}.")


def _say(text: str) -> None:
    """One line that is never wrapped: it may hold a path."""
    console().print(text, markup=False, highlight=False, soft_wrap=True)
