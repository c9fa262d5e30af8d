"""The page's section about inversion: scores with the mean image beside them, and the pictures of the run's folder."""

import torch

from phalanx.experiments.sheets import encoded, sheet_path
from phalanx.report.page import page, sections
from phalanx.report.panel import Text
from phalanx.report.panels import Inversion

SCORES = {
    "event": "inversion",
    "client": 2,
    "images": 2,
    "psnr": [20.5, None],
    "mean_psnr": 60.25,
    "mean_ssim": 0.75,
    "mean_baseline": 9.0,
    "truth_mean_psnr": 8.5,
    "truth_mean_baseline": 9.5,
    "seconds": {"inversion": 1.0},
}
MISSING = {"event": "inversion", "round": 1, "client": 2, "missing": "The client took no part in this round.", "seconds": {}}


def probed(build, name="probed", **changed):
    """A run that was attacked in its rounds 0 and 1, in the second without an update."""
    folder = build.run(name, events=[*build.usual_events(3), {**SCORES, "round": 0, **changed}, MISSING])
    images = torch.randint(256, (3, 2, 1, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    sheet_path(folder, 0).parent.mkdir()
    sheet_path(folder, 0).write_bytes(encoded(images))
    return folder, images


def test_a_row_and_a_picture_for_every_attacked_round_and_why_others_have_none(build):
    folder, images = probed(build)
    table, meaning, why, plot = Inversion().show(build.subject(folder))
    assert table.rows == [["flame", "1", "2", "60.25", "0.75", "9.00", "8.50", "9.50"]]
    assert "mean image" in meaning.text
    assert why == Text("The client took no part in this round.")
    assert plot.alt == "Images that client 2 held, trained on, and that were found in its update: 20.5 dB, equal."
    drawn = [axes.get_images()[0].get_array() for axes in plot.figure.axes]
    assert all((array == image).all() for array, image in zip(drawn, images.flatten(0, 2).numpy()))


def test_a_run_without_it_has_no_section(build):
    assert Inversion().show(build.one()) is None


def test_a_run_whose_picture_is_gone_or_another_ones_still_has_its_scores(build):
    folder, _ = probed(build)
    sheet_path(folder, 0).write_bytes(b"no picture")
    table, *others = Inversion().show(build.subject(folder))
    assert table.rows[0][3] == "60.25"
    assert all(isinstance(piece, Text) for piece in others)


def test_the_page_holds_the_pictures_and_asks_nobody_for_them(build):
    folder, _ = probed(build)
    subject = build.subject(folder)
    text = page(subject, sections(subject, [Inversion()]))
    assert text.count("data:image/png;base64,") == 6
    assert "could not be made" not in text
