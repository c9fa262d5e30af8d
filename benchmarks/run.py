"""All benchmarks in one run: each ratio of "what to demand", its bar, and reached or missed.

python benchmarks/run.py [--quick]
"""

import argparse

import aggregators
import aggregators_memory
import attacks
import dpsgd
import flip
import flower
import inversion
import rounds
import scale
import skymask
import startup
import training
from ratios import show

if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    quick = arguments.parse_args().quick
    parts = (
        training,
        aggregators,
        aggregators_memory,
        skymask,
        flip,
        attacks,
        dpsgd,
        inversion,
        flower,
        rounds,
        startup,
        scale,
    )
    show([row for part in parts for row in part.measure(quick)])
