import torch

from phalanx.core.types import Samples
from phalanx.data import Federation
from phalanx.experiments.manifest import MOST_CLASS_COUNTS, client_classes


def federation(clients, labels, num_classes):
    samples = Samples(images=torch.zeros(len(labels), 1), labels=torch.tensor(labels), num_classes=num_classes)
    return Federation("mine", samples, samples, tuple(torch.tensor(part, dtype=torch.int64) for part in clients))


def test_class_counts_are_one_string_a_client():
    found = client_classes(federation([[0, 1, 3], [], [2]], [0, 0, 1, 2], 4))
    assert found == {"step": 1, "counts": ["2 0 1 0", "0 0 0 0", "0 1 0 0"]}


def test_of_many_clients_every_so_many_are_kept():
    clients = [[client] for client in range(10_000)]
    found = client_classes(federation(clients, [client % 7 for client in range(10_000)], 7))
    assert found["step"] == 4
    assert len(found["counts"]) == 2500
    assert found["counts"][1] == "0 0 0 0 1 0 0"  # client 4
    assert len(found["counts"]) * 7 <= MOST_CLASS_COUNTS
