"""`phalanx flower up`: a SuperLink and its SuperNodes on this machine, with TLS and node authentication, for a try-out.

Everything lies in the app's folder `.federation`: Flower's home, its database, a log for each process. Telemetry is off.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from phalanx.core.errors import FederationError
from phalanx.core.processes import die_with_parent
from phalanx.flower.keys import make_keys

CONNECTION = "local"
CAUSE = re.compile(r"[\w.]*(?:Error|Exception): (.+)")
"""The last line of a traceback, in a server's log."""
PROGRAMS = Path(sys.executable).parent
START_SECONDS, STOP_SECONDS, GONE_SECONDS, POLL_SECONDS = 90.0, 20.0, 180.0, 1.0


@dataclass
class Deployment:
    """A federation of `nodes` nodes on 127.0.0.1 around a Flower app; use it as a context manager.

    The SuperLink listens on `port`, the nodes' own runtimes on the ports after it. `keys` are made if there are none.
    """

    app: Path
    nodes: int
    port: int = 9443
    keys: Path | None = None
    say: Callable[[str], None] = print
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = self.app.resolve()
        self.home = self.app / ".federation"
        self.keys = (self.keys or self.home / "keys").resolve()

    def __enter__(self) -> "Deployment":
        assert self.keys is not None
        self.home.mkdir(mode=0o700, exist_ok=True)
        if not (self.keys / "ca.crt").exists():
            make_keys(self.keys, self.nodes)
        table = {"address": f"127.0.0.1:{self.port}", "root-certificates": str(self.keys / "ca.crt")}
        (self.home / "config.toml").write_text(tomli_w.dumps({"superlink": {"default": CONNECTION, CONNECTION: table}}))
        try:
            self._start_superlink()
            self._await_the_gone()
            for node in range(1, self.nodes + 1):
                self._register(node)
                self._start_node(node)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def kill(self, name: str) -> None:
        """Kill a process and what it has started, without warning: "superlink" or "node-2"."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _start_superlink(self) -> None:
        keys = self._keys
        self._start(
            "superlink",
            "flower-superlink",
            *("--ssl-ca-certfile", f"{keys}/ca.crt", "--ssl-certfile", f"{keys}/server.pem"),
            *("--ssl-keyfile", f"{keys}/server.key", "--enable-supernode-auth", "--disable-runtime-dependency-installation"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--database", str(self.home / "state.db")),
        )
        end = time.monotonic() + START_SECONDS
        while not ask(self.environment, "list", CONNECTION).get("success"):
            self._check("superlink")
            if time.monotonic() > end:
                raise FederationError(f"The SuperLink does not answer; see {self.home / 'superlink.log'}.")
            time.sleep(POLL_SECONDS)
        self.say(f"SuperLink on 127.0.0.1:{self.port}, with TLS and node authentication")

    def _await_the_gone(self) -> None:
        """A node that was killed counts as online for about a minute after, and its key is refused for so long."""
        end = time.monotonic() + GONE_SECONDS
        while "online" in {
            node.get("status") for node in ask(self.environment, "supernode", "list", CONNECTION).get("nodes", ())
        }:
            if time.monotonic() > end:
                raise FederationError("The SuperLink's database says that nodes are online which this start has not begun.")
            time.sleep(POLL_SECONDS)

    def _has_online_nodes(self) -> bool:
        nodes = ask(self.environment, "supernode", "list", CONNECTION).get("nodes", ())
        return any(node.get("status") == "online" for node in nodes)

    def _register(self, node: int) -> None:
        answer = ask(self.environment, "supernode", "register", f"{self._keys}/node-{node}.pub", CONNECTION)
        reason = str(answer.get("error-message", "no answer."))
        # A second start finds its nodes in the database.
        if not answer.get("success") and "already in use" not in reason:
            raise FederationError(f"Node {node} cannot be registered: {last_line(reason)}")

    def _start_node(self, node: int) -> None:
        self._start(
            f"node-{node}",
            "flower-supernode",
            *("--root-certificates", f"{self._keys}/ca.crt", "--superlink", f"127.0.0.1:{self.port}"),
            *("--auth-supernode-private-key", f"{self._keys}/node-{node}", "--host", "127.0.0.1"),
            *("--port", str(self.port + node), "--node-config", f"partition-id={node - 1} num-partitions={self.nodes}"),
        )
        self.say(f"node {node} of {self.nodes}")

    @property
    def _keys(self) -> Path:
        assert self.keys is not None
        return self.keys

    @property
    def environment(self) -> Mapping[str, str]:
        """What Flower's processes are started with."""
        return environment(self.home)

    def _start(self, name: str, program: str, *arguments: str) -> None:
        with (self.home / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - Flower's own programs, beside this Python
                [PROGRAMS / program, *arguments],
                env=self.environment,
                cwd=self.app,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # a killed `up` leaves nothing behind
                start_new_session=True,  # it starts processes of its own, which are to end with it
            )

    def _check(self, name: str) -> None:
        if self._running[name].poll() is not None:
            log = self.home / f"{name}.log"
            raise FederationError(f"The {name} ended at once: {last_line(log.read_text(errors='replace'))} See {log}.")

    def _stop(self) -> None:
        """Nodes first, and the SuperLink once they have said goodbye to it: else it takes them to be there for a while."""
        nodes = {name: process for name, process in self._running.items() if name != "superlink"}
        for some in (nodes, self._running):
            for process in some.values():
                process.terminate()
            end = time.monotonic() + STOP_SECONDS
            for process in some.values():
                _end(process, max(0.1, end - time.monotonic()))
        self._running.clear()


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a process, and then end it with all that it has started."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def environment(home: Path | None) -> dict[str, str]:
    """An environment for Flower's programs: this Python's own, no telemetry, and a home of their own if one is named.

    One thread a process, unless it is set: the nodes share this machine, and the simulator's last bits are those of one.
    """
    path = f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}"
    own = {} if home is None else {"FLWR_HOME": str(home)}
    return {"OMP_NUM_THREADS": "1", **os.environ, "PATH": path, "FLWR_TELEMETRY_ENABLED": "0", **own}


def ask(environment: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    """What one `flwr` command answers as JSON; empty if it answers none. Its exit code is 0 for a failure, too."""
    command = [str(PROGRAMS / "flwr"), *arguments, "--format", "json"]
    done = subprocess.run(  # noqa: S603 - as above
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    try:
        value = json.loads(done.stdout)
    except ValueError:
        return {"error-message": last_line(done.stderr or done.stdout)}
    return value if isinstance(value, dict) else {}


def submit(app: Path, connection: str, environment: Mapping[str, str], say: Callable[[str], None] = print) -> None:
    """Run the app through a SuperLink and wait for its end, telling what the server says.

    Raises: FederationError if it does not end well; `flwr run` itself returns 0 then, too.
    """
    run = ask(environment, "run", str(app), connection)
    if not run.get("success"):
        raise FederationError(f"The run could not be started: {last_line(str(run.get('error-message', 'no answer.')))}")
    number = str(run["run-id"])
    cause = "see its log."
    with _log(environment, number, connection) as lines:
        for line in map(str.rstrip, lines):
            say(line)
            cause = found[1] if (found := CAUSE.match(line)) else cause
    status = _status(environment, number, connection)
    while not status.startswith("finished"):
        time.sleep(POLL_SECONDS)
        status = _status(environment, number, connection)
    if status != "finished:completed":
        raise FederationError(f"Run {number} ended as {status}: {cause}")


@contextmanager
def _log(environment: Mapping[str, str], number: str, connection: str) -> Iterator[Iterator[str]]:
    command = [str(PROGRAMS / "flwr"), "log", number, connection, "--stream"]
    with subprocess.Popen(  # noqa: S603 - as above
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield iter(process.stdout)
        finally:
            process.terminate()


def _status(environment: Mapping[str, str], number: str, connection: str) -> str:
    runs = ask(environment, "list", connection, "--run-id", number).get("runs") or [{}]
    return str(runs[0].get("status", "unknown"))


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was said.")
