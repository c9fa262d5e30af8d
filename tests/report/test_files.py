import os
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from phalanx.core.errors import CheckpointError
from phalanx.report.files import write_page, write_plots
from phalanx.report.page import plots, sections


@pytest.fixture(scope="module")
def drawn(build_in, tmp_path_factory):
    build = build_in(tmp_path_factory.mktemp("runs"))
    return plots(sections(build.one(), build.own_panels()))


def test_every_plot_is_written_in_three_formats_that_open(drawn, tmp_path):
    written = write_plots(tmp_path / "deep" / "plots", drawn)
    assert len(written) == 3 * len(drawn) == len(list((tmp_path / "deep" / "plots").iterdir()))
    assert {"accuracy.png", "influence.svg", "partition.pdf"} <= {path.name for path in written}
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
                assert image.width >= 4.4 * 300
                assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 254)
        if path.suffix == ".svg":
            root = ElementTree.parse(path).getroot()
            assert root.tag.endswith("svg")
            assert not list(root.iter("{http://www.w3.org/2000/svg}text"))  # outlines: no font is needed
        if path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF-")
            assert path.read_bytes().rstrip().endswith(b"%%EOF")


def test_the_same_plots_are_the_same_bytes(drawn, tmp_path):
    first, second = write_plots(tmp_path / "a", drawn), write_plots(tmp_path / "b", drawn)
    assert [path.name for path, other in zip(first, second) if path.read_bytes() != other.read_bytes()] == []


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"The page .* cannot be written: .*\. Choose another with --out\."):
        write_page(tmp_path / "file" / "report.html", "x")
    with pytest.raises(CheckpointError, match="cannot be written: Is a directory"):
        write_page(tmp_path, "x")


def test_a_full_disk_leaves_the_page_and_the_plot_that_were_there(drawn, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    write_page(tmp_path / "page.html", "old")
    (tmp_path / f"{drawn[0].name}.png").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"^The page .*page\.html cannot be written: No space left .*\. Choose another"):
        write_page(tmp_path / "page.html", "new")
    with pytest.raises(CheckpointError, match=r"png cannot be written: No space left on device\.$"):
        write_plots(tmp_path, drawn)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}


def test_a_page_and_a_plot_are_not_written_through_a_link(drawn, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    for name in ("page.html", f"{drawn[0].name}.png"):
        (tmp_path / name).symlink_to(tmp_path / "thesis.tex")
    write_page(tmp_path / "page.html", "new")
    write_plots(tmp_path, drawn[:1])
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_page_about_a_folder_whose_name_is_no_text_is_written(tmp_path):
    write_page(tmp_path / "page.html", "run \udcff")
    assert (tmp_path / "page.html").read_text() == "run \\udcff"


def test_plots_that_cannot_be_written_are_one_sentence(drawn, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"The plots cannot be written to .*file"):
        write_plots(tmp_path / "file", drawn)
