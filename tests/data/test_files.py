"""Finding, fetching and checking files: the user's folder, the cache, mirrors in turn, and one sentence when all fails."""

import functools
import gzip
import hashlib
import http.server
import io
import sys
import tarfile
import threading
from importlib.metadata import requires

import pytest

from phalanx.core.errors import DataError
from phalanx.data.files import VARIABLE, Download, checksums, find, read_gzip

CONTENT = b"what was published"
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The user's folder and the cache, both empty."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "mine", tmp_path / "cache" / "phalanx"


@pytest.fixture
def web(tmp_path):
    """A web server on this machine with the good file at /good/ and a changed one at /changed/."""
    for folder, content in (("good", CONTENT), ("changed", b"something else")):
        (tmp_path / "web" / folder).mkdir(parents=True)
        (tmp_path / "web" / folder / "a.bin").write_bytes(content)
    handler = functools.partial(_Quiet, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / "web", f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def put(folder, name: str, content: bytes = b"") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def test_the_users_folder_comes_before_the_cache(places):
    for place in places:
        put(place, "Set/a.bin")
    assert find("Set", ("a.bin",), ()) == places[0] / "Set"


def test_a_folder_that_lacks_a_file_is_passed_over(places):
    put(places[0], "Set/a.bin")
    for name in ("Set/a.bin", "Set/b.bin"):
        put(places[1], name)
    assert find("Set", ("a.bin", "b.bin"), ()) == places[1] / "Set"


def test_without_the_variable_the_cache_serves(places, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    put(places[1], "Set/a.bin")
    assert find("Set", ("a.bin",), ()) == places[1] / "Set"


def test_what_cannot_be_fetched_is_named_with_where_to_put_it(places):
    with pytest.raises(DataError) as caught:
        find("Set", ("a.bin", "b.bin"), ())
    message = str(caught.value)
    for part in ("Set needs a.bin, b.bin", str(places[0] / "Set"), str(places[1] / "Set"), VARIABLE):
        assert part in message
    assert "\n" not in message


def test_a_mirror_that_is_gone_or_changed_is_passed_over(places, web):
    _, address = web
    mirrors = tuple(address + folder for folder in ("missing/", "changed/", "good/"))
    place = find("Set", ("a.bin",), (Download("a.bin", MD5, mirrors),))
    assert place == places[1] / "Set"
    assert (place / "a.bin").read_bytes() == CONTENT


def test_a_download_shows_its_progress_on_a_terminal_and_only_there(places, web, monkeypatch, capsys):
    _, address = web
    for is_terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda answer=is_terminal: answer)
        place = find("Set", ("a.bin",), (Download("a.bin", MD5, (address + "good/",)),))
        assert ("100%" in capsys.readouterr().err) == is_terminal
        (place / "a.bin").unlink()


def test_what_shows_the_progress_is_installed_with_phalanx():
    assert any(line.startswith("pooch[progress]") for line in requires("phalanx") or ())


def test_a_changed_file_is_never_taken(places, web):
    _, address = web
    with pytest.raises(DataError, match=r"Set needs a\.bin.*Fetching them failed.*changed/"):
        find("Set", ("a.bin",), (Download("a.bin", MD5, (address + "changed/",)),))
    assert not (places[1] / "Set" / "a.bin").exists()


def test_no_network_is_one_sentence_that_says_what_to_do(places):
    unreachable = Download("a.bin", MD5, ("http://127.0.0.1:9/",))
    with pytest.raises(DataError, match=r"Put them in .*Fetching them failed"):
        find("Set", ("a.bin",), (unreachable,))


def test_only_the_named_members_of_an_archive_are_unpacked(places, web):
    root, address = web
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("sub/train.bin", "sub/test.bin", "../../escape.bin"):
            entry = tarfile.TarInfo(name)
            entry.size = len(CONTENT)
            tar.addfile(entry, io.BytesIO(CONTENT))
    put(root, "good/set.tar.gz", buffer.getvalue())
    checksum = "sha256:" + hashlib.sha256(buffer.getvalue()).hexdigest()
    wanted = ("sub/train.bin", "sub/test.bin")
    place = find("Set", wanted, (Download("set.tar.gz", checksum, (address + "good/",), wanted),))
    assert [(place / name).read_bytes() for name in wanted] == [CONTENT] * 2
    assert sorted(path.name for path in places[1].rglob("*") if path.is_file()) == ["set.tar.gz", "test.bin", "train.bin"]


def test_an_archive_without_the_file_is_an_error(places, web):
    root, address = web
    buffer = io.BytesIO()
    tarfile.open(fileobj=buffer, mode="w:gz").close()
    put(root, "good/set.tar.gz", buffer.getvalue())
    checksum = "sha256:" + hashlib.sha256(buffer.getvalue()).hexdigest()
    with pytest.raises(DataError, match="Fetching them failed"):
        find("Set", ("x.bin",), (Download("set.tar.gz", checksum, (address + "good/",), ("x.bin",)),))


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"no gzip", lambda b: b[:12] + b"\0\0\0" + b[15:]])
def test_a_damaged_gzip_file_is_named(tmp_path, damage):
    (tmp_path / "a.gz").write_bytes(damage(gzip.compress(bytes(range(256)))))
    with pytest.raises(DataError, match=r"a\.gz is damaged"):
        read_gzip(tmp_path / "a.gz")


def test_checksums_are_sha256_by_name(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    assert checksums([tmp_path / "a.bin"]) == {"a.bin": hashlib.sha256(CONTENT).hexdigest()}
