import os
import stat

import pytest

from phalanx.core.errors import CheckpointError
from phalanx.core.files import make_subfolder, open_regular, write_atomically


@pytest.fixture
def outside(tmp_path):
    """A file that nothing in the folder may change."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "id_rsa"
    path.write_text("secret")
    return path


@pytest.fixture
def folder(outside):
    return outside.with_name("folder")


def test_a_write_replaces_the_file_or_leaves_it(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_atomically(tmp_path / "missing" / "a.json", b"three")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_file_that_was_there_and_no_draft(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    write_atomically(tmp_path / "a", b"one")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"a cannot be written: No space left on device\.$"):
        write_atomically(tmp_path / "a", b"two")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"one"}


def test_a_draft_is_nothing_that_could_have_been_there_before(folder, outside, monkeypatch):
    monkeypatch.setattr("phalanx.core.files.secrets.token_hex", lambda size: "known")
    (folder / ".a.known.draft").symlink_to(outside)
    with pytest.raises(CheckpointError, match="a cannot be written: File exists"):
        write_atomically(folder / "a", b"new")
    assert outside.read_text() == "secret"


def test_a_link_is_replaced_and_not_written_through(folder, outside):
    (folder / "a").symlink_to(outside)
    write_atomically(folder / "a", b"new")
    assert not (folder / "a").is_symlink()
    assert (folder / "a").read_text() == "new"
    assert outside.read_text() == "secret"


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(folder):
    os.mkfifo(folder / "pipe")
    (folder / "stdout").symlink_to("/dev/null")
    for name in ("pipe", "stdout"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be written: it is no regular file"):
            write_atomically(folder / name, b"new")


def test_the_mode_is_the_umask_s_unless_it_is_asked_for(tmp_path):
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "a", b"")
    write_atomically(tmp_path / "seed", b"", mode=0o600)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["a"] == modes["plain"]
    assert modes["seed"] == 0o600


@pytest.mark.parametrize("mode", ["r", "a", "ab", "w", "r+b"])
def test_no_link_no_pipe_and_no_folder_is_opened(folder, outside, mode):
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to(outside.with_name("new"))
    os.mkfifo(folder / "pipe")
    (folder / "deeper").mkdir()
    for name, what in (("link", "a symbolic link"), ("dangling", "a symbolic link"), ("pipe", "no regular file")):
        with pytest.raises(CheckpointError, match=rf"^{folder / name} is {what}, .*; remove it\.$"):
            open_regular(folder / name, mode)
    with pytest.raises(CheckpointError, match="deeper is no regular file"):
        open_regular(folder / "deeper", mode)
    assert outside.read_text() == "secret"
    assert not outside.with_name("new").exists()


def test_what_becomes_a_link_or_a_pipe_after_the_look_is_not_opened_either(folder, outside, monkeypatch):
    (folder / "link").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    monkeypatch.setattr("phalanx.core.files.refuse_link", lambda path: None)
    monkeypatch.setattr("phalanx.core.files.Path.lstat", lambda path: outside.stat())
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(folder / "link", "ab")
    with pytest.raises(CheckpointError, match="no regular file"):
        open_regular(folder / "pipe", "r")
    assert outside.read_text() == "secret"


def test_a_regular_file_is_made_appended_to_and_read(tmp_path):
    for _ in range(2):
        with open_regular(tmp_path / "a", "ab") as file:
            file.write(b"line\n")
    with open_regular(tmp_path / "a", "r") as file:
        assert file.read() == "line\nline\n"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "b", "r")


def test_a_subfolder_is_made_or_taken_and_no_link(folder, outside):
    make_subfolder(folder / "checkpoint")
    make_subfolder(folder / "checkpoint")
    (folder / "link").symlink_to(outside.parent)
    (folder / "dangling").symlink_to(outside.with_name("new"))
    for name in ("link", "dangling"):
        with pytest.raises(CheckpointError, match=rf"{name} is a symbolic link, .*; remove it\.$"):
            make_subfolder(folder / name)
