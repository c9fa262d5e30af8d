"""`InProcessGrid`: a whole federation in one process, for tests of apps and strategies. No network, no waiting."""

from collections.abc import Iterable, Mapping
from copy import deepcopy

from flwr.app import Context, Error, Message, RecordDict, UserConfigValue
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

CLIENT_FAILED = 2


class InProcessGrid(Grid):
    """Runs each node's client app as soon as it is sent a message. Nodes are numbered from 1; `partition-id` is one less.

    `apps[i]` belongs to node i + 1. Nodes in `offline` are not there; those in `silent` are, and never answer.
    """

    def __init__(self, apps: Iterable[ClientApp], *, keys: Mapping[int, bytes] | None = None) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1  # what a Message asks for
        self.apps = dict(enumerate(apps, start=1))
        self.keys = dict(keys or {})
        self.offline: set[int] = set()
        self.silent: set[int] = set()
        self.contexts = {node: Context(1, node, self._config(node), RecordDict(), {}) for node in self.apps}
        self._replies: dict[str, Message] = {}
        self._sent = 0

    def _config(self, node: int) -> dict[str, UserConfigValue]:
        return {"partition-id": node - 1, "num-partitions": len(self.apps)}

    def set_run(self, run: Run) -> None:
        """There is no run to set."""

    @property
    def run(self) -> Run:
        raise NotImplementedError("A grid in one process has no run.")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return [node for node in self.apps if node not in self.offline]

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [NodeInfo(node_id=node, public_key=self.keys.get(node, b"")) for node in self.get_node_ids()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        numbers = []
        for message in messages:
            self._sent += 1
            numbers.append(str(self._sent))
            message.metadata.__dict__["_message_id"] = numbers[-1]
            node = message.metadata.dst_node_id
            if node not in self.offline | self.silent:
                self._replies[numbers[-1]] = self._answer(node, deepcopy(message))
        return numbers

    def _answer(self, node: int, message: Message) -> Message:
        try:
            return self.apps[node](message, self.contexts[node])
        except Exception as error:  # noqa: BLE001 - an app may raise anything; a SuperNode reports it like this
            return Message(Error(CLIENT_FAILED, f"{type(error).__name__}: {error}"), reply_to=message)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(number) for number in message_ids if number in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))
