"""What a `flwr` command is asked: to run an app, and how the run goes. Its own exit code is 0 for failures, too."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from phalanx.core.errors import FederationError

PROGRAMS = Path(sys.executable).parent
ASK_SECONDS, POLL_SECONDS = 120.0, 1.0
UNKNOWN, MOST_UNANSWERED = "unknown", 20
"""A run's status when nobody tells, and how often in a row that is taken for a pause."""
CAUSE = re.compile(r"[\w.]*(?:Error|Exception): (.+)")
"""The last line of a traceback, in a server's log."""


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
    try:
        done = subprocess.run(  # noqa: S603 - as above
            command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=ASK_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"error-message": f"no answer within {ASK_SECONDS:g} s."}
    try:
        value = json.loads(done.stdout)
    except ValueError:
        return {"error-message": last_line(done.stderr or done.stdout)}
    return value if isinstance(value, dict) else {}


def submit(
    app: Path,
    connection: str,
    environment: Mapping[str, str],
    say: Callable[[str], None] = print,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Run the app through a SuperLink and wait for its end, telling what the server says. `watch` is called now and then.

    Raises: FederationError if it does not end well; `flwr run` itself returns 0 then, too.
    """
    run = ask(environment, "run", str(app), connection)
    if not run.get("success"):
        raise FederationError(f"The run could not be started: {last_line(str(run.get('error-message', 'no answer.')))}")
    number = str(run["run-id"])
    line, cause = "nothing was said.", "see its log."
    with _log(environment, number, connection, watch) as lines:
        for line in map(str.rstrip, lines):
            say(line)
            cause = found[1] if (found := CAUSE.match(line)) else cause
    status, unanswered = _status(environment, number, connection), 0
    while not status.startswith("finished"):
        watch()
        unanswered = unanswered + 1 if status == UNKNOWN else 0
        if unanswered == MOST_UNANSWERED:
            raise FederationError(f"The SuperLink no longer tells of run {number}, whose last words were: {line}")
        time.sleep(POLL_SECONDS)
        status = _status(environment, number, connection)
    if status != "finished:completed":
        raise FederationError(f"Run {number} ended as {status}: {cause}")


@contextmanager
def _log(environment: Mapping[str, str], number: str, connection: str, watch: Callable[[], None]) -> Iterator[Iterator[str]]:
    """The server's lines, as they come. A thread reads them: between two of them there has to be time to watch."""
    command = [str(PROGRAMS / "flwr"), "log", number, connection, "--stream"]
    with subprocess.Popen(  # noqa: S603 - as above
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        said: SimpleQueue[str | None] = SimpleQueue()
        Thread(target=_pass_on, args=(process.stdout, said), daemon=True).start()
        try:
            yield _until_the_end(said, watch)
        finally:
            process.terminate()


def _pass_on(lines: Iterable[str], said: SimpleQueue[str | None]) -> None:
    for line in lines:
        said.put(line)
    said.put(None)


def _until_the_end(said: SimpleQueue[str | None], watch: Callable[[], None]) -> Iterator[str]:
    while True:
        try:
            line = said.get(timeout=POLL_SECONDS)
        except Empty:
            watch()
            continue
        if line is None:
            return
        yield line


def _status(environment: Mapping[str, str], number: str, connection: str) -> str:
    runs = ask(environment, "list", connection, "--run-id", number).get("runs") or [{}]
    return str(runs[0].get("status", UNKNOWN))


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing was said.")
