"""From an experiment's file to an app that Flower accepts, and nothing but that app travels."""

import importlib
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from flwr.app import Context, RecordDict
from flwr.supercore.utils import is_valid_name

from phalanx.cli import federating
from phalanx.cli.main import app as command
from phalanx.config import Experiment
from phalanx.core.errors import CapabilityError, CheckpointError, ConfigError
from phalanx.flower import InProcessGrid, keys
from phalanx.flower.keys import make_keys
from phalanx.flower.project import quorum
from phalanx.server import AllClients, FixedSize, Poisson

EXPERIMENT = """
[run]
rounds = 2
[partition]
kind = "iid"
num_clients = 3
[aggregator]
kind = "median"
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "e.toml").write_text(EXPERIMENT)
    phalanx("flower", "init", tmp_path / "e.toml", tmp_path / "my-federation", "--set", "run.seed=3")
    return tmp_path / "my-federation"


def phalanx(*words):
    command([str(word) for word in words], standalone_mode=False)


def test_what_is_written_is_small_complete_and_the_experiment(project):
    files = sorted(path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file())
    assert files == [
        "my_federation/__init__.py",
        "my_federation/client.py",
        "my_federation/experiment.toml",
        "my_federation/server.py",
        "pyproject.toml",
    ]
    assert Experiment.load(project / "my_federation/experiment.toml") == Experiment.from_table(
        {**tomllib.loads(EXPERIMENT), "run": {"rounds": 2, "seed": 3}}
    )
    lines = sum(len((project / name).read_text().splitlines()) for name in files if name.endswith(".py"))
    assert lines < 60


@pytest.mark.parametrize(
    ("sampler", "expected"), [(AllClients(), 3), (FixedSize(size=2), 1), (FixedSize(size=5), 2), (Poisson(rate=0.9), 1)]
)
def test_the_quorum_that_is_written_is_one_that_rounds_reach(sampler, expected):
    assert quorum(sampler, 6) == expected


def test_only_the_app_itself_travels_to_the_nodes(project):
    """Flower's own patterns would take every .toml, .json and .py below the folder: keys' neighbours, results, other apps."""
    for name in (
        ".federation/apps/x/a.py",
        ".federation/config.toml",
        "federation/events.jsonl",
        "my_federation/__pycache__/a.pyc",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("1")
    program = Path(sys.executable).with_name("flwr")
    environment = {"FLWR_HOME": str(project / "home"), "FLWR_TELEMETRY_ENABLED": "0", "PATH": ""}
    done = subprocess.run([program, "build"], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next(project.glob("*.fab"))) as bundle:
        travelling = {name for name in bundle.namelist() if not name.startswith(".info")}
    assert travelling == {
        "pyproject.toml",
        "my_federation/__init__.py",
        "my_federation/client.py",
        "my_federation/experiment.toml",
        "my_federation/server.py",
    }


def test_the_written_apps_run(monkeypatch, tmp_path):
    (tmp_path / "e.toml").write_text(EXPERIMENT)
    project = tmp_path / "running"  # its modules stay imported: other tests' projects have other names
    phalanx("flower", "init", tmp_path / "e.toml", project)
    monkeypatch.syspath_prepend(project)
    client, server = (importlib.import_module(f"running.{name}") for name in ("client", "server"))
    config = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    grid = InProcessGrid([client.app] * 3)
    server.app(grid, Context(1, 1, {}, RecordDict(), {**config, "round-seconds": 1}))
    assert (project / "federation" / "result.json").exists()


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        ("phalanx", "app_phalanx"),
        ("torch", "app_torch"),
        ("Json", "app_json"),
        ("class", "app_class"),
        ("3 nodes", "app_3_nodes"),
        ("app😀", "app"),
        ("größe", "gr_e"),
        ("連合", "federation"),
        ('a "b" \\c', "a_b_c"),
        ("a-federation-of-hospitals-in-the-north-of-the-country", "a_federation_of_hospitals_in_the_north_of_the_country"),
    ],
)
def test_an_app_has_a_name_that_packagers_take_and_that_shadows_nothing(tmp_path, folder, package):
    (tmp_path / "e.toml").write_text(EXPERIMENT)
    phalanx("flower", "init", tmp_path / "e.toml", tmp_path / folder)
    table = tomllib.loads((tmp_path / folder / "pyproject.toml").read_text(encoding="utf-8"))
    app = table["tool"]["flwr"]["app"]
    assert (tmp_path / folder / package / "client.py").exists()
    assert app["components"]["serverapp"] == f"{package}.server:app"
    assert app["config"]["folder"] == str(tmp_path / folder / "federation")
    assert table["project"]["name"].isascii()
    assert is_valid_name(table["project"]["name"])[0]


def test_the_written_server_says_which_number_cannot_be(monkeypatch, tmp_path):
    (tmp_path / "e.toml").write_text(EXPERIMENT)
    project = tmp_path / "counting"
    phalanx("flower", "init", tmp_path / "e.toml", project)
    monkeypatch.syspath_prepend(project)
    server = importlib.import_module("counting.server")
    config = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    with pytest.raises(ConfigError, match=r"quorum=1\.5"):
        server.app(InProcessGrid([]), Context(1, 1, {}, RecordDict(), {**config, "quorum": 1.5, "wait-seconds": 0}))


def test_an_experiment_that_flower_cannot_run_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "e.toml").write_text(
        EXPERIMENT + '[adversary.who]\nkind = "first_clients"\ncount = 1\n[adversary.update]\nkind = "min_max"\n'
    )
    with pytest.raises(CapabilityError, match="see each other's updates"):
        phalanx("flower", "init", tmp_path / "e.toml", tmp_path / "app")
    (tmp_path / "groups.toml").write_text('[data]\nkind = "har"\n[partition]\nkind = "by_group"\n')
    with pytest.raises(ConfigError, match="does not say how many clients"):
        phalanx("flower", "init", tmp_path / "groups.toml", tmp_path / "app")
    assert not (tmp_path / "app").exists()


def test_nothing_is_overwritten(project, tmp_path):
    with pytest.raises(ConfigError, match="not an empty folder"):
        phalanx("flower", "init", tmp_path / "e.toml", project)


def test_there_is_nothing_to_resume_without_a_checkpoint(project):
    with pytest.raises(CheckpointError, match="There is no checkpoint in"):
        phalanx("flower", "resume", project)


def test_another_machines_checkpoint_is_not_looked_for_here(project, monkeypatch):
    submitted = []
    monkeypatch.setattr(federating, "submit", lambda app, connection, *rest: submitted.append(connection))
    phalanx("flower", "resume", project, "--connection", "far")
    assert submitted == ["far"]


def test_fewer_nodes_than_the_server_waits_for_are_refused(project):
    with pytest.raises(ConfigError, match="waits for 3 nodes, and 2 would be started"):
        phalanx("flower", "up", project, "--nodes", "2")


def test_a_folder_without_an_app_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no Flower app"):
        phalanx("flower", "up", tmp_path)


def test_private_keys_are_their_owners_alone(tmp_path):
    phalanx("flower", "keys", tmp_path / "keys", "--nodes", "2", "--host", "superlink.example.org", "--host", "10.0.0.7")
    folder = tmp_path / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == dict.fromkeys(
        ["ca.key", "ca.crt", "server.key", "server.pem", "node-1", "node-1.pub", "node-2", "node-2.pub"], 0o600
    )


def test_the_certificate_is_for_the_names_that_the_server_is_reached_by(tmp_path):
    make_keys(tmp_path / "keys", 1, ["superlink.example.org", "10.0.0.7"])
    ca, server = (x509.load_pem_x509_certificate((tmp_path / "keys" / name).read_bytes()) for name in ("ca.crt", "server.pem"))
    server.verify_directly_issued_by(ca)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "superlink.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.0.0.7"]
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "host",
    ["müller.example", "https://superlink:9443", "superlink:9443", "", "a..b", "-a.b", "10.0.0.300", "a.b\n", "a." * 127 + "b"],
)
def test_a_host_that_no_node_could_verify_is_refused_before_anything_is_written(tmp_path, host):
    with pytest.raises(ConfigError, match="A host is an IP address or a name in ASCII"):
        phalanx("flower", "keys", tmp_path / "keys", "--host", host)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["superlink", "xn--mller-kva.example", "fd00::7", "3com.example", "flower_superlink"])
def test_a_host_that_nodes_reach_is_taken(tmp_path, host):
    make_keys(tmp_path / "keys", 1, [host])
    keys.check_keys(tmp_path / "keys", 1)


def test_a_nodes_key_pair_fits_together_and_is_no_other_nodes(tmp_path):
    make_keys(tmp_path / "keys", 2)
    publics = []
    for number in (1, 2):
        private = load_ssh_private_key((tmp_path / "keys" / f"node-{number}").read_bytes(), None)
        public = load_ssh_public_key((tmp_path / "keys" / f"node-{number}.pub").read_bytes())
        assert private.public_key() == public
        publics.append(public)
    assert publics[0] != publics[1]


def test_keys_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """A kill after the first files must not leave a folder that `up` takes for complete."""

    def write_until_killed(path, data, write=keys._write):
        if path.name == "server.key":
            raise KeyboardInterrupt
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(keys, "_write", write_until_killed)
        with pytest.raises(KeyboardInterrupt):
            make_keys(tmp_path / "keys", 1)
    assert not list(tmp_path.iterdir())
    make_keys(tmp_path / "keys", 1)
    keys.check_keys(tmp_path / "keys", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_too_few_keys_and_old_ones_are_refused_in_a_sentence(tmp_path, monkeypatch):
    make_keys(tmp_path / "keys", 1)
    with pytest.raises(ConfigError, match="no key for node 2 of 3"):
        keys.check_keys(tmp_path / "keys", 3)
    monkeypatch.setattr(keys, "DAYS", -1 / 1440)
    make_keys(tmp_path / "old", 1)
    with pytest.raises(ConfigError, match="was valid until"):
        keys.check_keys(tmp_path / "old", 1)


def test_keys_are_never_overwritten(tmp_path):
    make_keys(tmp_path / "keys", 1)
    for folder in (tmp_path / "keys", Path("/")):
        with pytest.raises(ConfigError, match="never overwritten"):
            make_keys(folder, 1)


def test_every_row_of_the_fault_table_names_a_test_that_there_is():
    folder = Path(__file__).parent
    table = (folder.parents[1] / "docs" / "guides" / "flower.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| ") and "| `test_" in line]
    sources = "".join(path.read_text(encoding="utf-8") for path in folder.glob("test_*.py"))
    assert len(rows) > 10
    for row in rows:
        assert f"def {row.rpartition('`test_')[2].partition('`')[0]}".replace("def ", "def test_") in sources, row
