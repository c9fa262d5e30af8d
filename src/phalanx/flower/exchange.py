"""Sending a round's messages and collecting what comes back, until everybody has answered or time is up.

Answers are fetched one by one: Flower unpacks what a node sent while it fetches, and an answer that cannot be unpacked would
otherwise end the run for everybody.
"""

import time
from collections.abc import Sequence

from flwr.app import Error, Message
from flwr.serverapp import Grid
from google.protobuf.message import DecodeError

from phalanx.core.errors import FederationError

POLL_SECONDS = 1.0
UNPACKING = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, DecodeError)
"""What Flower raises over an answer that is not what it should be."""


def exchange(grid: Grid, messages: Sequence[Message], timeout: float) -> list[Message]:
    """Send messages and return the answers that arrive within `timeout` seconds, errors of nodes among them.

    Raises: FederationError if the messages cannot be sent.
    """
    ids = list(grid.push_messages(messages))
    if len(ids) != len(messages):
        raise FederationError("The SuperLink refused a round's messages as too large; sample fewer nodes, or a smaller model.")
    waiting = {number: message for number, message in zip(ids, messages) if number}
    answers, end = list[Message](), time.monotonic() + timeout
    while waiting:
        for number, message in list(waiting.items()):
            if found := _pull(grid, number, message):
                del waiting[number]
                answers += found
        left = end - time.monotonic()
        if not waiting or left <= 0:
            break
        time.sleep(min(POLL_SECONDS, left))
    return answers


def _pull(grid: Grid, number: str, message: Message) -> list[Message]:
    try:
        return list(grid.pull_messages([number]))
    except UNPACKING as error:
        return [Message(Error(code=0, reason=f"The answer cannot be unpacked: {type(error).__name__}."), reply_to=message)]
