"""`phalanx flower init`: an experiment as a small Flower app of five files, to be read, changed and run by `flwr run`."""

import re
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

import tomli_w

from phalanx.config import Experiment
from phalanx.core.errors import ConfigError
from phalanx.core.families import Participation
from phalanx.core.files import write_atomically
from phalanx.flower.preflight import check

MOST_LETTERS = 32  # of an app's name, by Flower's rules
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0.0"
description = "{rule} in a federation of {clients} clients"
license = "Apache-2.0"
# Installed on every machine beforehand: what a run brings along is the three files in {package}/ and nothing else.
dependencies = ["phalanx[flower]"]

[tool.hatch.build.targets.wheel]
packages = ["."]

[tool.flwr.app]
publisher = "phalanx"
fab-include = ["/{package}/*.py", "/{package}/*.toml"]  # keys, logs and results stay where they are

[tool.flwr.app.components]
serverapp = "{package}.server:app"
clientapp = "{package}.client:app"

[tool.flwr.app.config]
# On the server's machine: events, checkpoints, result. A new run goes on with what is there.
{folder}
# How long a round waits for its slowest node.
round-seconds = 600
# How many nodes the first round waits for; later ones, and a resumed federation's, go on with a quorum.
min-nodes = {clients}
# For how long.
wait-seconds = 300
# A round with fewer accepted updates keeps the model.
quorum = {quorum}
"""
SERVER = '''\
"""The server: the experiment's rule over whatever the nodes send, its root and test data, its checkpoints."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from phalanx import Experiment
from phalanx.flower import serve

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    experiment, config = Experiment.load(Path(__file__).with_name("experiment.toml")), context.run_config
    serve(
        experiment,
        grid,
        folder=str(config["folder"]),
        round_seconds=config["round-seconds"],
        min_nodes=config["min-nodes"],
        wait_seconds=config["wait-seconds"],
        quorum=config["quorum"],
    )
'''
CLIENT = '''\
"""A node: the experiment's trainer over this node's samples.

As it stands, every node takes its part of the experiment's own data set. On real hosts give `data`: a function from Flower's
context to `phalanx.core.types.Samples`, which reads what this machine holds.
"""

from pathlib import Path

from phalanx import Experiment
from phalanx.flower import experiment_client

app = experiment_client(Experiment.load(Path(__file__).with_name("experiment.toml")))
'''


def write_project(experiment: Experiment, folder: Path) -> list[Path]:
    """Write the app into a folder that is new or empty; the files, in reading order.

    Raises: ConfigError if something is there already; what `check` raises for an experiment that Flower cannot run.
    """
    check(experiment)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not an empty folder; name another one.")
    package = _package(folder.resolve().name)
    clients = num_clients(experiment)
    pyproject = PYPROJECT.format(
        name=package.replace("_", "-")[:MOST_LETTERS].strip("-"),
        package=package,
        rule=experiment.aggregator.kind,
        clients=clients,
        quorum=quorum(experiment.participation, clients),
        folder=tomli_w.dumps({"folder": str((folder / "federation").resolve())}).strip(),
    )
    files = {
        "pyproject.toml": pyproject,
        f"{package}/__init__.py": '"""An experiment of Phalanx as a Flower app."""\n',
        f"{package}/experiment.toml": experiment.to_toml(),
        f"{package}/server.py": SERVER,
        f"{package}/client.py": CLIENT,
    }
    (folder / package).mkdir(parents=True)
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in files]


def _package(name: str) -> str:
    """A folder's name as a package's, in ASCII: Python must take it for an identifier, and for no other package's name.

    An app called phalanx or torch would be imported in the library's place.
    """
    package = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "federation"
    while not package.isidentifier() or iskeyword(package) or find_spec(package):
        package = f"app_{package}"
    return package


def quorum(participation: Participation, clients: int) -> int:
    """Half of those that a round samples; one where a coin decides how many these are."""
    return 1 if participation.sampling == "poisson" else max(1, participation.largest(clients) // 2)


def num_clients(experiment: Experiment) -> int:
    """How many clients the experiment's partition makes, as it says itself.

    Raises: ConfigError if only the data could tell.
    """
    clients = getattr(experiment.partition, "num_clients", None)
    if not isinstance(clients, int):
        raise ConfigError(
            f"The partition {experiment.partition.kind} does not say how many clients there are; a federation of real nodes "
            "needs their number. Choose one with num_clients, such as iid or dirichlet."
        )
    return clients
