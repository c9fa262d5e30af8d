"""A picture sheet: the client's images, what it trained on, and what is found of them: undefended, by a naive attacker, by an
adaptive one.

    python experiments/inversion/sheet.py experiments/inversion/small.toml docs/assets/inversion.png --out runs/inversion_small

It reads what `tables.py` has measured into the folder, and measures what is missing.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from measuring import Measured, by_setting, measured

from phalanx.experiments import Sweep
from phalanx.report.style import MUTED, PAPER, style

SIDE = 1.0


def main(file: Path, out: Path, path: Path, setting: str | None, policy: str, images: int, steps: int) -> None:
    """Draw one policy of one setting, the last one if none is named."""
    settings = by_setting(Sweep.load(file))
    cells = {cell.place["policy"]: cell for cell in settings[setting or list(settings)[-1]]}
    plain = measured(cells["none"], "naive", out, images=images, steps=steps)
    naive, adaptive = (
        measured(cells[policy], attacker, out, images=images, steps=steps) if policy in cells else None
        for attacker in ("naive", "policy")
    )
    if plain is None or naive is None or adaptive is None:
        raise SystemExit(f"{policy} is no policy of {file}.")
    draw(plain, naive, adaptive).savefig(path, dpi=150, facecolor=PAPER, metadata={"Software": None})


def draw(plain: Measured, naive: Measured, adaptive: Measured) -> Figure:
    """A row for what is true and for each attack, a column an image."""
    rows = {
        "held": plain.truth,
        "trained on": naive.transformed,
        f"undefended\n{plain.psnr(held=True):.1f} dB": plain.found,
        f"naive\n{naive.psnr(held=True):.1f} dB": naive.found,
        f"adaptive\n{adaptive.psnr(held=True):.1f} dB": adaptive.found,
    }
    with style():
        figure = Figure(figsize=(SIDE * len(plain.truth) + 1.2, SIDE * len(rows)))
        for line, (name, images) in zip(figure.subplots(len(rows), len(plain.truth), squeeze=False), rows.items()):
            for axes, image in zip(line, images):
                axes.imshow(image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            line[0].set_ylabel(name, color=MUTED, rotation=0, ha="right", va="center")
    return figure


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("path", type=Path)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--setting")
    arguments.add_argument("--policy", default="hybrid")
    arguments.add_argument("--images", type=int, default=4)
    arguments.add_argument("--steps", type=int, default=300)
    given = arguments.parse_args()
    main(given.file, given.out, given.path, given.setting, given.policy, given.images, given.steps)
