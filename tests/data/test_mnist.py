"""The idx format on small files made here, and the canonical files where they are at hand."""

import gzip
import struct

import pytest
import torch

from phalanx.core.errors import DataError
from phalanx.data import MNIST, MNISTRGB, FashionMNIST
from phalanx.data.mnist import read_idx

NAMES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def idx(*sizes: int, data: bytes, magic: bytes = b"\0\0\x08") -> bytes:
    return gzip.compress(magic + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + data)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with an MNIST of 3 + 2 images of 28 x 28."""
    monkeypatch.setenv("PHALANX_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    folder = tmp_path / "MNIST"
    folder.mkdir()
    for count, images, labels in ((3, *NAMES[:2]), (2, *NAMES[2:])):
        pixels = b"".join(bytes([10 * number + 1]) * 784 for number in range(count))
        (folder / images).write_bytes(idx(count, 28, 28, data=pixels))
        (folder / labels).write_bytes(idx(count, data=bytes(range(count))))
    return folder


def test_bytes_stay_uint8_in_file_order(small):
    split = MNIST().load()
    assert split.train.images.dtype == torch.uint8
    assert split.train.images.shape == (3, 1, 28, 28)
    assert split.train.images[:, 0, 5, 5].tolist() == [1, 11, 21]
    assert split.train.labels.tolist() == [0, 1, 2]
    assert (len(split.test), split.train.num_classes, split.name) == (2, 10, "mnist")


def test_the_checksums_name_the_four_files(small):
    checksums = MNIST().load().checksums
    assert set(checksums) == set(NAMES)
    assert all(len(value) == 64 for value in checksums.values())


def test_normalize_says_whether_the_model_sees_standardised_pixels(small):
    plain, standardised = (MNIST(normalize=normalize).load().train for normalize in (False, True))
    pixels, _ = plain.pixels(torch.tensor([0]))
    assert torch.equal(plain.normalize(pixels), pixels)
    assert torch.allclose(standardised.normalize(pixels), (pixels - 0.1307) / 0.3081)


def test_rgb_has_three_equal_channels_with_a_black_border(small):
    split, grey = MNISTRGB().load(), MNIST().load()
    images = split.train.images
    assert (images.shape, images.dtype, split.name) == ((3, 3, 32, 32), torch.uint8, "mnist_rgb")
    assert all(torch.equal(images[:, channel, 2:30, 2:30], grey.train.images[:, 0]) for channel in range(3))
    assert images.sum() == 3 * grey.train.images.sum()
    assert split.train.mean.shape == split.train.std.shape == (3, 1, 1)


def test_a_missing_set_names_all_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PHALANX_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    monkeypatch.setattr(FashionMNIST, "_mirrors", ("http://127.0.0.1:9/",))
    with pytest.raises(DataError, match=f"FashionMNIST needs {', '.join(NAMES)}"):
        FashionMNIST().load()


@pytest.mark.parametrize(
    "content, complaint",
    [
        (idx(2, 3, data=bytes(6), magic=b"\0\0\x0d"), "not an idx file"),
        (idx(6, data=bytes(6)), "not an idx file"),
        (gzip.compress(b""), "not an idx file"),
        (gzip.compress(b"\0\0\x08\x02\0\0"), "not an idx file"),
        (idx(2, 3, data=bytes(5)), "announces 6 bytes of data but holds 5"),
        (idx(2, 3, data=bytes(7)), "announces 6 bytes of data but holds 7"),
        (idx(2**31, 2**31, data=bytes(7)), "announces 4611686018427387904"),
        (idx(2, 3, data=bytes(6))[:-9], "is damaged"),
    ],
    ids=range(8),
)
def test_a_file_of_another_structure_is_named(tmp_path, content, complaint):
    (tmp_path / "some.gz").write_bytes(content)
    with pytest.raises(DataError, match=rf"some\.gz.*{complaint}"):
        read_idx(tmp_path / "some.gz", dims=2)


def test_images_without_labels_are_an_error(small):
    (small / NAMES[1]).write_bytes(idx(2, data=bytes(2)))
    with pytest.raises(DataError, match=r"3 images, but .* 2 labels"):
        MNIST().load()


COUNTS = {
    MNIST: (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    FashionMNIST: ([6000] * 10, [1000] * 10),
}


@pytest.mark.parametrize("dataset", COUNTS, ids=lambda value: value.kind)
def test_the_real_set_has_its_published_counts_and_moments(data_dir, dataset):
    split = dataset().load()
    assert [part.labels.bincount().tolist() for part in (split.train, split.test)] == list(COUNTS[dataset])
    pixels = split.train.images.double() / 255
    assert float(split.train.mean) == pytest.approx(float(pixels.mean()), abs=1e-4)
    assert float(split.train.std) == pytest.approx(float(pixels.std()), abs=1e-4)
