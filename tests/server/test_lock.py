import fcntl
import os

import pytest

from phalanx.core.errors import CheckpointError
from phalanx.server.lock import is_locked, locked


def test_a_folder_is_made_and_held_by_one_at_a_time(tmp_path):
    folder = tmp_path / "new" / "folder"
    with locked(folder, "run folder"):
        assert is_locked(folder)
        with pytest.raises(CheckpointError, match=r"^The run folder .* cannot be used: another process is running it\.$"):
            locked(folder, "run folder")
    assert not is_locked(folder)
    locked(folder, "run folder").close()


def test_whoever_looks_at_a_folder_keeps_nobody_from_it(tmp_path, monkeypatch):
    locked(tmp_path, "run folder").close()
    looking = (tmp_path / ".lock").open()
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr("phalanx.server.lock.time.sleep", lambda seconds: looking.close())
    with locked(tmp_path, "run folder"):
        assert looking.closed
        assert is_locked(tmp_path)


def test_a_folder_that_nobody_ever_held_is_not_locked(tmp_path):
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"^The sweep's folder .*file/a cannot be used: Not a directory\.$"):
        locked(tmp_path / "file" / "a", "sweep's folder")


def test_a_lock_that_is_a_link_or_a_pipe_is_refused_and_nobody_waits_for_it(tmp_path):
    (tmp_path / "id_rsa").write_text("secret")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".lock").symlink_to(tmp_path / "id_rsa")
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "piped" / ".lock")
    for name, what in (("linked", "a symbolic link"), ("piped", "no regular file")):
        with pytest.raises(CheckpointError, match=rf"{name}/\.lock is {what}, "):
            locked(tmp_path / name, "run folder")
        assert not is_locked(tmp_path / name)
    assert (tmp_path / "id_rsa").read_text() == "secret"
