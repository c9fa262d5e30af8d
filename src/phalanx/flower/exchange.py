"""Sending a round's messages and collecting what comes back, until everybody has answered or time is up.

Answers are fetched one by one: Flower unpacks what a node sent while it fetches, and an answer that cannot be unpacked would
otherwise end the run for everybody. Each fetch has a thread of its own, left behind when its round is over: a node that
announces more than it uploads lets Flower wait for it for hours.
"""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from google.protobuf.message import DecodeError

from phalanx.core.errors import FederationError
from phalanx.flower.inflation import inflated_to

POLL_SECONDS = 1.0
PULLERS, STALL_SECONDS = 8, 5.0
"""How many fetches go on at a time; one that has taken so long no longer counts, so that nobody stands in another's way."""
UNPACKING = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, DecodeError),
    MemoryError,
)
"""What Flower raises over an answer that is not what it should be."""


def exchange(grid: Grid, messages: Sequence[Message], timeout: float, most_bytes: int) -> list[Message]:
    """Send messages and return the answers that arrive within `timeout` seconds, errors of nodes among them.

    One whose arrays take more than `most_bytes`, or whose rest more than three numbers ever would, is an error. An answer's
    metadata say whose it is: the node that was asked, whatever that node wrote there itself.

    Raises: FederationError if the messages cannot be sent.
    """
    ids = list(grid.push_messages(messages))
    if len(ids) != len(messages):
        raise FederationError("The SuperLink refused a round's messages as too large; sample fewer nodes, or a smaller model.")
    waiting = {number: message for number, message in zip(ids, messages) if number}
    due, begun = deque((0.0, number) for number in waiting), dict[str, float]()
    fetched: SimpleQueue[tuple[str, list[Message] | Exception]] = SimpleQueue()
    answers, end = list[Message](), time.monotonic() + timeout
    while waiting and (now := time.monotonic()) < end:
        while due and due[0][0] <= now and sum(now - since < STALL_SECONDS for since in begun.values()) < PULLERS:
            _, number = due.popleft()
            begun[number] = now
            Thread(target=_fetch, args=(grid, number, waiting[number], most_bytes, fetched), daemon=True).start()
        with suppress(Empty):
            number, found = fetched.get(timeout=min(POLL_SECONDS, end - now))
            if isinstance(found, Exception):
                raise found
            del begun[number]
            if found:
                del waiting[number]
                answers += found
            else:
                due.append((time.monotonic() + POLL_SECONDS, number))
    return answers


def _fetch(
    grid: Grid,
    number: str,
    message: Message,
    most_bytes: int,
    fetched: SimpleQueue[tuple[str, list[Message] | Exception]],
) -> None:
    try:
        with inflated_to(most_bytes):
            found = list(grid.pull_messages([number]))
    except UNPACKING as error:
        found = [Message(Error(code=0, reason=f"The answer cannot be unpacked: {type(error).__name__}."), reply_to=message)]
    except Exception as error:  # noqa: BLE001 - the connection's; raised again where the round is waiting
        fetched.put((number, error))
        return
    for reply in found:  # metadata travel with the content, and are the sender's own words
        reply.metadata.__dict__["_src_node_id"] = message.metadata.dst_node_id
        if reply.has_content():  # until the round ends it is kept: without what nobody reads
            reply.content = RecordDict({**reply.content.array_records, **reply.content.metric_records})
    fetched.put((number, found))
