"""The binary records on small files made here, and the subsets where they are at hand."""

import pytest
import torch

from phalanx.core.errors import DataError
from phalanx.data import CIFAR10, CIFAR100


def record(*labels: int, colours: tuple[int, int, int]) -> bytes:
    return bytes(labels) + b"".join(bytes([colour]) * 1024 for colour in colours)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """CIFAR-10 of two train files and CIFAR-100, a few records each."""
    monkeypatch.setenv("PHALANX_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache")
    files = {
        "CIFAR-10/cifar-10-batches-bin/data_batch_1.bin": record(3, colours=(1, 2, 3)) + record(9, colours=(4, 5, 6)),
        "CIFAR-10/cifar-10-batches-bin/data_batch_2.bin": record(0, colours=(7, 8, 9)),
        "CIFAR-10/cifar-10-batches-bin/test_batch.bin": record(5, colours=(0, 0, 255)),
        "CIFAR-100/cifar-100-binary/train.bin": record(19, 99, colours=(1, 2, 3)) + record(4, 0, colours=(4, 5, 6)),
        "CIFAR-100/cifar-100-binary/test.bin": record(7, 42, colours=(0, 0, 255)),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_all_train_files_there_are_make_one_set(small):
    split = CIFAR10().load()
    assert split.train.labels.tolist() == [3, 9, 0]
    assert (split.train.images.shape, split.train.images.dtype) == ((3, 3, 32, 32), torch.uint8)
    assert split.train.images[:, :, 31, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert split.test.labels.tolist() == [5]
    assert set(split.checksums) == {"data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"}


def test_cifar100_has_the_fine_labels(small):
    split = CIFAR100().load()
    assert split.train.labels.tolist() == [99, 0]
    assert split.test.labels.tolist() == [42]
    assert split.train.images[1, :, 0, 0].tolist() == [4, 5, 6]
    assert split.train.num_classes == 100


def test_rows_come_before_columns(small):
    pixels = bytes([3]) + bytes(number % 256 for number in range(3072))
    (small / "CIFAR-10/cifar-10-batches-bin/test_batch.bin").write_bytes(pixels)
    image = CIFAR10().load().test.images[0]
    assert (int(image[0, 0, 1]), int(image[0, 1, 0]), int(image[0, 2, 5])) == (1, 32, 69)


@pytest.mark.parametrize("content", [b"", record(3, colours=(1, 2, 3))[:-1], bytes(3074)])
def test_a_file_that_does_not_hold_whole_records_is_named(small, content):
    (small / "CIFAR-10/cifar-10-batches-bin/data_batch_2.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_2\.bin has \d+ bytes, which is no whole number of 3073-byte records"):
        CIFAR10().load()


def test_labels_of_another_set_are_an_error(small):
    (small / "CIFAR-10/cifar-10-batches-bin/data_batch_2.bin").write_bytes(record(10, colours=(1, 2, 3)))
    with pytest.raises(DataError, match="labels above 9"):
        CIFAR10().load()


def test_without_normalize_the_pixels_are_what_the_model_sees(small):
    assert CIFAR10(normalize=False).load().train.mean is None
    assert CIFAR10().load().train.std.shape == (3, 1, 1)


@pytest.mark.parametrize("dataset, per_class", [(CIFAR10, (2000, 500)), (CIFAR100, (100, 20))], ids=lambda value: str(value))
def test_the_subsets_at_hand_are_balanced_and_have_the_published_moments(data_dir, dataset, per_class):
    split = dataset().load()
    if len(split.train) == 50_000:
        per_class = (50_000 // split.train.num_classes, 10_000 // split.train.num_classes)
    for part, count in zip((split.train, split.test), per_class, strict=True):
        assert part.labels.bincount().tolist() == [count] * part.num_classes
    pixels = split.train.images[:5000].float().div_(255).transpose(0, 1).flatten(1)
    assert torch.allclose(split.train.mean.flatten(), pixels.mean(1), atol=0.01)
    assert torch.allclose(split.train.std.flatten(), pixels.std(1), atol=0.01)
