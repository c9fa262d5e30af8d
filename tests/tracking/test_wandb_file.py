"""The reader of W&B's files, against the package that writes them."""

import os

import pytest

from phalanx.tracking.wandb_file import BLOCK, newest_steps, records


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A run of 40 rows, some of them longer than a block."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    folder = tmp_path_factory.mktemp("wandb")
    settings = wandb.Settings(mode="offline", silent=True, console="off", disable_git=True, disable_code=True)
    live = wandb.init(project="p", dir=str(folder), reinit="create_new", settings=settings)
    for step in range(40):
        live.log({"a/loss": step / 2, "text": "x" * (40_000 if step % 10 == 0 else 5)}, step=step)
    live.log({"late": 1}, step=50)
    live.finish()
    wandb.teardown()  # its last rows reach the file a moment after finish() has returned
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return path


def test_the_newest_step_of_every_name_is_read(file):
    found = newest_steps([file])
    assert {name: found[name] for name in ("a/loss", "text", "late")} == {"a/loss": 39, "text": 39, "late": 50}
    assert newest_steps([]) == {}


def test_a_file_that_was_cut_off_anywhere_holds_its_whole_records(file, tmp_path):
    content = file.read_bytes()
    everything = list(records(content))
    assert len(content) > 2 * BLOCK
    for end in (0, 3, 7, 8, 100, BLOCK - 3, BLOCK + 2, BLOCK + 500, len(content) - 1):
        kept = list(records(content[:end]))
        assert kept == everything[: len(kept)]
        assert len(kept) < len(everything)
    assert list(records(content + bytes(500))) == everything


def test_another_file_is_refused():
    with pytest.raises(ValueError, match=r"^this is no file of a W&B run$"):
        list(records(b"events"))
