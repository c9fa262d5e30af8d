"""What ATS's policies are worth: PSNR of single images, by an attacker who does not know of them and by one who does.

    python experiments/inversion/tables.py experiments/inversion/small.toml --out runs/inversion_small --runs runs/small
    python experiments/inversion/tables.py FULL --out DIR --runs runs/FULL --trained --images 20 --steps 1000

Untrained models in eval mode are attacked, with `--trained` those of a sweep (`phalanx sweep FULL`). `--runs` names the
sweep's folder, whose accuracy is then in the table, too; cells that have not finished leave a gap. What has been measured is
kept in DIR and not measured again. The preset `small` is the file of that name with 4 images and 300 steps: half an hour of
a core.
"""

import argparse
from pathlib import Path

import torch
from measuring import ATTACKERS, Measured, by_setting, measured, policies_of
from rich.console import Console
from rich.progress import track

from phalanx.core.files import write_atomically
from phalanx.experiments import Cell, Sweep, SweepRecord

REPORTED = {
    ("CIFAR-100, ResNet-20", ""): "13.88, 76.88 %",
    ("CIFAR-100, ResNet-20", "3-1-7"): "6.58, 70.56 %",
    ("CIFAR-100, ResNet-20", "43-18-18"): "8.56, 77.27 %",
    ("CIFAR-100, ResNet-20", "3-1-7, 43-18-18"): "7.64, 77.92 %",
    ("Fashion-MNIST, ResNet-20", ""): "10.04, 95.03 %",
    ("Fashion-MNIST, ResNet-20", "19-15-45, 2-43-21"): "7.60, 92.23 %",
}
"""PSNR against what was trained on, and accuracy, of the paper (Gao et al., CVPR 2021): whole data sets, trained models."""
HEAD = (
    *("policy", "trained on: naive", "shifts searched", "mean image"),
    *("held: naive", "shifts searched", "policy undone", "mean image"),
)


def main(file: Path, out: Path, images: int, steps: int, runs: Path | None, *, is_trained: bool) -> None:
    """Measure the cells that are not measured, write and print a table for each setting."""
    torch.set_num_threads(1)
    sweep = Sweep.load(file)
    record = None if runs is None else SweepRecord.of(runs, sweep)
    texts = []
    for setting, cells in by_setting(sweep).items():
        rows = [_row(cell, out, images, steps, record, is_trained=is_trained) for cell in track(cells, setting)]
        is_reported = any((setting, _policy(cell)) in REPORTED for cell in cells)
        head = [*HEAD, *(["accuracy"] if record else []), *(["reported"] if is_reported else [])]
        lines = [f"**{setting}**, {images} images, {steps} steps", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
        texts.append("\n".join([*lines, *(_line(row[: len(head)]) for row in rows)]))
    text = "\n\n".join(texts) + "\n"
    write_atomically(out / "tables.md", text.encode())
    Console(soft_wrap=True).print(text, markup=False)


def _row(cell: Cell, out: Path, images: int, steps: int, record: SweepRecord | None, *, is_trained: bool) -> list[str]:
    run = record.folder_of(cell) if record and is_trained else None
    found = {attacker: measured(cell, attacker, out, images=images, steps=steps, run=run) for attacker in ATTACKERS}
    policy = _policy(cell)
    fields = [f"{cell.place['policy']}: {policy}" if policy else cell.place["policy"]]
    for held, shown in ((False, ATTACKERS[:2]), (True, ATTACKERS)):
        fields += [_decibels(found[attacker], held=held) for attacker in shown]
        fields.append(f"{_any(found).baseline(held=held):.2f}")
    if record is not None:
        final = record.final(cell)
        fields.append("–" if final is None else f"{100 * final['accuracy']:.1f} %")
    return [*fields, REPORTED.get((cell.place["setting"], policy), "")]


def _policy(cell: Cell) -> str:
    return ", ".join("-".join(map(str, policy)) for one in policies_of(cell.experiment) for policy in one.policies)


def _any(found: dict[str, Measured | None]) -> Measured:
    return next(one for one in found.values() if one is not None)


def _decibels(found: Measured | None, *, held: bool) -> str:
    return "" if found is None else f"{found.psnr(held=held):.2f}"


def _line(fields: list[str]) -> str:
    return f"| {' | '.join(fields)} |"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--images", type=int, default=4)
    arguments.add_argument("--steps", type=int, default=300)
    arguments.add_argument("--runs", type=Path)
    arguments.add_argument("--trained", action="store_true")
    given = arguments.parse_args()
    if given.trained and given.runs is None:
        arguments.error("--trained needs --runs, the sweep's folder.")
    main(given.file, given.out, given.images, given.steps, given.runs, is_trained=given.trained)
