"""`phalanx flower up`: a SuperLink and its SuperNodes on this machine, with TLS and node authentication, for a try-out.

Everything lies in the app's folder `.federation`: Flower's home, its database, a log for each process. Telemetry is off.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from phalanx.core.errors import FederationError
from phalanx.core.processes import die_with_parent
from phalanx.flower import submission
from phalanx.flower.keys import check_keys, make_keys
from phalanx.flower.submission import ask, environment, last_line

CONNECTION = "local"
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
        check_keys(self.keys, self.nodes)
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

    def watch(self) -> None:
        """Look after everything that was started: a node that ends is told of once, for the federation goes on without it.

        Raises: FederationError if the SuperLink has ended.
        """
        for name in [name for name, process in self._running.items() if process.poll() is not None]:
            _end(self._running.pop(name), STOP_SECONDS)
            if name == "superlink":
                raise FederationError(self._last_words(name))
            self.say(self._last_words(name))

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
                [submission.PROGRAMS / program, *arguments],
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
            raise FederationError(self._last_words(name))

    def _last_words(self, name: str) -> str:
        log = self.home / f"{name}.log"
        return f"The {name} has ended: {last_line(log.read_text(errors='replace'))} See {log}."

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
