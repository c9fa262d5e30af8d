"""The stock PyTorch quickstart, and the same with the three lines of the guide: both run, attacked and not."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from shutil import copytree

import pytest
import torch
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp

from phalanx.attacks import SignFlip
from phalanx.flower import InProcessGrid, attacking

DOCS = Path(__file__).parents[2] / "docs"
APP = DOCS / "examples" / "flower-quickstart"
CONFIG = tomllib.loads((APP / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]


def difference():
    return re.search(r"```diff\n(.*?)```", (DOCS / "guides" / "flower.md").read_text(), re.DOTALL)[1]


@pytest.fixture
def final(tmp_path, monkeypatch):
    """The accuracy that an app ends with: the stock one or the hardened one, with or without two attackers of ten nodes."""

    def run(*, hardened, attackers):
        folder = tmp_path / f"{hardened}-{attackers}"
        copytree(APP, folder)
        if hardened:
            subprocess.run(["git", "apply"], cwd=folder, input=difference(), text=True, check=True)
        with monkeypatch.context() as patch, torch.random.fork_rng():
            torch.manual_seed(0)
            for name in [name for name in sys.modules if name.startswith("pytorchexample")]:
                patch.delitem(sys.modules, name)
            patch.syspath_prepend(folder)
            patch.chdir(folder)
            server, client = (import_module(f"pytorchexample.{name}_app") for name in ("server", "client"))
            hostile = ClientApp(mods=[attacking(SignFlip(scale=5.0))])
            hostile.train()(client.train)
            hostile.evaluate()(client.evaluate)
            grid = InProcessGrid([client.app] * (10 - attackers) + [hostile] * attackers)
            for context in grid.contexts.values():
                context.run_config.update(CONFIG)
            server.app(grid, Context(1, 1, {}, RecordDict(), dict(CONFIG)))
            model = server.Net()
            model.load_state_dict(torch.load("final_model.pt"))
            return server.test(model, torch.utils.data.DataLoader(server.digits()[1], batch_size=128), "cpu")[1]

    return run


def test_three_lines_are_three_lines():
    changed = [line for line in difference().splitlines() if re.match(r"[+-](?!--|\+\+)", line)]
    assert sum(line.startswith("+") for line in changed) == 3
    assert sum(line.startswith("-") for line in changed) == 2


def test_with_three_lines_two_attackers_of_ten_no_longer_decide(final):
    assert final(hardened=False, attackers=0) > 0.8
    assert final(hardened=False, attackers=2) < 0.3
    assert final(hardened=True, attackers=2) > 0.8
