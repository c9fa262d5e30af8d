"""A federation on this machine: started in order, registered, stopped whatever happens. The slow tests are real."""

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from phalanx.aggregators import Flame, Mean, Median
from phalanx.attacks import Adversary, FirstClients, SignFlip
from phalanx.config import Experiment, RunSettings
from phalanx.core.errors import FederationError
from phalanx.data import IID, Digits
from phalanx.experiments import run
from phalanx.flower import deployment, submission
from phalanx.flower.deployment import CONNECTION, Deployment
from phalanx.flower.project import write_project
from phalanx.flower.submission import submit
from phalanx.models import MLP
from phalanx.training import SGD

STATUS = '{"success": true, "runs": [{"status": "finished:completed"}]}'
FLWR = """#!/bin/sh
case "$1 $2" in
  "supernode register") echo '{register}' ;;
  "supernode list") echo '{nodes}'; sed -i 's/"online"/"offline"/' "$0" ;;
  "run "*) echo '{{"success": true, "run-id": "7"}}' ;;
  "list "*) echo '{status}' ;;
  "log "*) echo "round 1"; echo "phalanx.core.errors.FederationError: 1 nodes are there."; echo "Exit Code: 201" ;;
esac
"""
WAITING = "#!/bin/sh\necho started $0\nexec sleep 60\n"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Stand-ins for Flower's programs: `programs(register=…, status=…, superlink=…)`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(submission, "PROGRAMS", folder)
    for module in (deployment, submission):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)

    def write(register='{"success": true}', status=STATUS, superlink=WAITING, nodes='{"nodes": []}'):
        scripts = {"flwr": FLWR.format(register=register, status=status, nodes=nodes), "flower-superlink": superlink}
        for name, text in {**scripts, "flower-supernode": WAITING}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        app = tmp_path / "app"
        app.mkdir()
        return app

    return write


def alive(process):
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_everything_is_started_and_nothing_is_left(programs):
    said = []
    with Deployment(programs(), 2, say=said.append) as federation:
        processes = list(federation._running.values())
        assert [*federation._running] == ["superlink", "node-1", "node-2"]
        assert all(map(alive, processes))
    assert not any(map(alive, processes))
    assert said == ["SuperLink on 127.0.0.1:9443, with TLS and node authentication", "node 1 of 2", "node 2 of 2"]


def test_a_killed_node_is_gone_at_once(programs):
    with Deployment(programs(), 2, say=lambda text: None) as federation:
        node = federation._running["node-2"]
        federation.kill("node-2")
        assert not alive(node)
        assert [*federation._running] == ["superlink", "node-1"]


def test_an_error_inside_stops_everything(programs):
    federation, processes = Deployment(programs(), 1, say=lambda text: None), []

    def fail():
        processes.extend(federation._running.values())
        raise RuntimeError

    with pytest.raises(RuntimeError), federation:
        fail()
    assert len(processes) == 2
    assert not any(map(alive, processes))


def test_telemetry_is_off_and_flowers_home_is_the_apps(programs):
    app = programs()
    federation = Deployment(app, 1)
    assert federation.environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert federation.environment["FLWR_HOME"] == str(app / ".federation")


def test_a_superlink_that_does_not_start_says_why(programs):
    app = programs(status='{"success": false}', superlink="#!/bin/sh\necho 'Port 9443 is in use.'\nexit 1\n")
    with pytest.raises(FederationError, match=r"The superlink has ended: Port 9443 is in use\."):
        Deployment(app, 1, say=lambda text: None).__enter__()


def test_a_node_that_is_not_accepted_says_why_and_stops_the_rest(programs):
    app = programs(register='{"success": false, "error-message": "[code: 9] No permission."}')
    federation = Deployment(app, 1, say=lambda text: None)
    with pytest.raises(FederationError, match=r"Node 1 cannot be registered: \[code: 9\] No permission\."):
        federation.__enter__()
    assert federation._running == {}


def test_a_node_that_is_registered_already_is_welcome(programs):
    app = programs(register='{"success": false, "error-message": "[code: 23] Public key already in use."}')
    with Deployment(app, 1, say=lambda text: None) as federation:
        assert "node-1" in federation._running


def test_a_killed_nodes_time_is_waited_for(programs, monkeypatch):
    """Its key is refused while the database says that it is online."""
    waited = []
    app = programs(nodes='{"nodes": [{"status": "online"}, {"status": "registered"}]}')
    with monkeypatch.context() as patch:
        patch.setattr(deployment, "time", SimpleNamespace(monotonic=time.monotonic, sleep=waited.append))
        with Deployment(app, 1, say=lambda text: None):
            assert waited == [0.01]
    monkeypatch.setattr(deployment, "GONE_SECONDS", -1.0)
    (app.parent / "bin" / "flwr").write_text((app.parent / "bin" / "flwr").read_text().replace('"offline"}, {', '"online"}, {'))
    with pytest.raises(FederationError, match="nodes are online which this start has not begun"):
        Deployment(app, 1, say=lambda text: None).__enter__()


@pytest.mark.parametrize("status", ["finished:failed", "finished:stopped"])
def test_a_failed_run_is_an_error_though_flower_says_zero(programs, status):
    app = programs(status=STATUS.replace("finished:completed", status))
    with pytest.raises(FederationError, match=rf"Run 7 ended as {status}: 1 nodes are there\.$"):
        submit(app, CONNECTION, {"PATH": os.environ["PATH"]}, lambda text: None)


def test_a_superlink_that_no_longer_answers_ends_the_wait(programs):
    app = programs(status="{}")
    with pytest.raises(FederationError, match="no longer tells of run 7, whose last words were: Exit Code: 201"):
        submit(app, CONNECTION, {"PATH": os.environ["PATH"]}, lambda text: None)


def test_a_command_that_hangs_is_given_up(programs, monkeypatch):
    app = programs()
    (app.parent / "bin" / "flwr").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(submission, "ASK_SECONDS", 0.05)
    with pytest.raises(FederationError, match="could not be started: no answer within"):
        submit(app, CONNECTION, {"PATH": os.environ["PATH"]}, lambda text: None)


def test_what_ends_while_the_run_goes_on_is_told(programs):
    """A node: once, and the federation goes on. The SuperLink: an error, though its log is still streamed."""
    app, said = programs(), []
    program = app.parent / "bin" / "flwr"
    program.write_text(program.read_text().replace('"log "*) ', '"log "*) exec sleep 60; '))
    with Deployment(app, 2, say=said.append) as federation:
        os.killpg(federation._running["node-1"].pid, signal.SIGKILL)
        federation._running["node-1"].wait()
        federation.watch()
        federation.watch()
        os.killpg(federation._running["superlink"].pid, signal.SIGKILL)
        with pytest.raises(FederationError, match=r"The superlink has ended: started .*superlink"):
            submit(app, CONNECTION, federation.environment, said.append, federation.watch)
    assert len([line for line in said if line.startswith("The node-1 has ended: started")]) == 1


def test_a_run_that_ends_well_says_what_the_server_said(programs):
    said = []
    submit(programs(), CONNECTION, {"PATH": os.environ["PATH"]}, said.append)
    assert said == ["round 1", "phalanx.core.errors.FederationError: 1 nodes are there.", "Exit Code: 201"]


DIGITS = Experiment(
    run=RunSettings(rounds=4, seed=1),
    data=Digits(),
    partition=IID(num_clients=4),
    model=MLP(hidden=(16,)),
    training=SGD(lr=0.5, epochs=2, batch_size=32),
    adversary=Adversary(who=FirstClients(count=1), update=SignFlip(scale=20.0)),
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rule", [Median(num_byzantine=1), Flame(), Mean()], ids=lambda rule: rule.kind)
def test_over_tls_an_attacker_and_a_killed_node_do_not_stop_a_defended_federation(rule, tmp_path):
    """Four nodes, one attacks, one is killed after the first round: the rule learns, the mean does not, both come to an end."""
    app = tmp_path / "app"
    write_project(replace(DIGITS, aggregator=rule), app)
    (app / "pyproject.toml").write_text(
        (app / "pyproject.toml").read_text().replace("round-seconds = 600", "round-seconds = 90")
    )

    def say(text):
        print(f"{time.monotonic() - began:.0f} s  {text}", flush=True)
        if "round 1:" in text and "node-4" in federation._running:
            federation.kill("node-4")

    began = time.monotonic()
    with Deployment(app, 4, port=9543, say=say) as federation:
        submit(app, CONNECTION, federation.environment, say)
    final = json.loads((app / "federation" / "result.json").read_text())["final"]
    assert (final["accuracy"] > 0.8) == (rule != Mean())
    rounds = [json.loads(line) for line in (app / "federation" / "events.jsonl").read_text().splitlines()]
    assert len([event for event in rounds if event["event"] == "round"]) == 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_over_tls_a_federation_ends_in_the_simulators_bytes(tmp_path, monkeypatch):
    """Nodes get their numbers by key, not by part: the median does not mind the order."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    app = tmp_path / "app"
    experiment = replace(DIGITS, aggregator=Median(num_byzantine=1), run=RunSettings(rounds=2, seed=1))
    write_project(experiment, app)
    with Deployment(app, 4, port=9743, say=print) as federation:
        submit(app, CONNECTION, federation.environment, print)
    deployed = json.loads((app / "federation" / "result.json").read_text())
    assert deployed["model_sha256"] == run(experiment).summary["model_sha256"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("authority", "reason"),
    [("app/.federation/keys", "Exit Code: 305"), ("stranger", "certificate verify failed")],
    ids=["an unknown key", "another authority"],
)
def test_a_node_without_a_registered_key_is_turned_away(authority, reason, tmp_path):
    """And one that trusts another authority does not talk to the SuperLink at all."""
    app, log = tmp_path / "app", tmp_path / "stranger.log"
    write_project(DIGITS, app)
    deployment.make_keys(tmp_path / "stranger", 1)
    with Deployment(app, 0, port=9643, say=print) as federation, log.open("wb") as output:
        command = [
            *(submission.PROGRAMS / "flower-supernode", "--root-certificates", tmp_path / authority / "ca.crt"),
            *("--superlink", "127.0.0.1:9643", "--auth-supernode-private-key", tmp_path / "stranger" / "node-1"),
            *("--host", "127.0.0.1", "--port", "9644", "--max-wait-time", "5"),
        ]
        node = subprocess.Popen(command, env=federation.environment, stdout=output, stderr=output, start_new_session=True)
        try:
            assert node.wait(120) != 0
        finally:
            os.killpg(node.pid, signal.SIGKILL)
    assert reason.lower() in log.read_text(errors="replace").lower()
