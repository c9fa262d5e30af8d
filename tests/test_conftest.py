"""The net under the tests holds: network and global randomness."""

import socket
import urllib.request

import pytest
import torch


def test_a_connection_to_another_machine_fails_the_test():
    with socket.socket() as plug, pytest.raises(pytest.fail.Exception, match="tried to reach"):
        plug.connect(("192.0.2.1", 80))  # TEST-NET-1: routed nowhere


def test_resolving_a_foreign_name_fails_the_test():
    with pytest.raises(pytest.fail.Exception, match="tried to resolve"):
        urllib.request.urlopen("http://name.invalid", timeout=1)


def test_the_loopback_stays_open():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_torch_runs_on_one_thread():
    assert torch.get_num_threads() == 1
