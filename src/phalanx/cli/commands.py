"""The commands' arguments and help. What they do is one module each, imported when called: it needs torch."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from phalanx.cli.completing import complete_dataset, complete_library, complete_name, complete_run
from phalanx.core.toml import read_toml

Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="a.b=v", help="Change one value of the config; repeat for more. A new kind drops the old fields."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The run folder. Default: runs/NAME-DIGEST.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts; progress goes to stderr.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="An experiment as TOML.")]


def run(file: File, settings: Setting = None, out: Out = None, as_json: Json = False) -> None:
    """Run an experiment; go on with it if its folder holds an unfinished run."""
    read_toml(file)  # a broken file is refused before torch is imported
    from phalanx.cli.running import run_file

    run_file(file, settings or [], out, as_json=as_json)


def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", autocompletion=complete_run)],
    as_json: Json = False,
) -> None:
    """Go on with a stopped or killed run; it ends in the same bytes as if it had never stopped."""
    from phalanx.cli.running import resume_folder

    resume_folder(run, as_json=as_json)


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An experiment as TOML, with a sweep table.")],
    settings: Setting = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The sweep's folder. Default: runs/NAME.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, metavar="N", help="Cells at a time, one process and one core each. Default: all cores."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the fields of every cell and say what is left to do; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run an experiment in all variants of its sweep table, skipping what is finished; it ends in a leaderboard."""
    read_toml(file)
    from phalanx.cli.sweeping import sweep_file

    sweep_file(file, settings or [], out, jobs=jobs, dry_run=dry_run, as_json=as_json)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN…", help="Run folders, or the folder of one sweep.", autocompletion=complete_run),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page.")] = Path("report.html"),
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", help="Write every plot as PNG, SVG and PDF into this folder, too."),
    ] = None,
) -> None:
    """One self-contained HTML page about one run, several, or a sweep."""
    from phalanx.cli.reporting import report_runs

    report_runs(runs, out, plots)


def show(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, or the folder of a sweep.", autocompletion=complete_run)
    ],
    as_json: Json = False,
) -> None:
    """A run or a sweep in the terminal: what it was, how it went, what it ended in."""
    from phalanx.cli.showing import show_folder

    show_folder(run, as_json=as_json)


def list_components(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A family (aggregator, dataset …; attack: all three of them) or a kind (flame, min_max …).",
            autocompletion=complete_name,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """What a config can name: all families, or one with fields, defaults, papers and when to use what."""
    from phalanx.cli.listing import list_all, list_named

    list_all(as_json=as_json) if name is None else list_named(name, as_json=as_json)


def data(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="fashion_mnist, cifar10 …; without it all of them.", autocompletion=complete_dataset
        ),
    ] = None,
    settings: Setting = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the split into a PNG, SVG or PDF.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch and verify a data set, and show how its samples are dealt to clients (--set partition.kind=dirichlet …)."""
    from phalanx.cli.dealing import show_data

    show_data(name, settings or [], plot, as_json=as_json)


def schema() -> None:
    """The JSON schema of an experiment's file, for editors: phalanx schema > phalanx.schema.json."""
    from phalanx.cli.schema import print_schema

    print_schema()


def conformance(
    library: Annotated[
        str,
        typer.Option("--library", metavar="NAME", help="phalanx, byzfl or flower.", autocompletion=complete_library),
    ] = "phalanx",
    as_json: Json = False,
) -> None:
    """Try a library's aggregation rules on the known faults of such code; one table.

    –: the case does not concern the method. Only methods with a closed formula are tried.
    """
    from phalanx.cli.conforming import show_conformance

    show_conformance(library, as_json=as_json)


def audit(
    file: File,
    settings: Setting = None,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.5, max=0.9999, metavar="p", help="How sure the lower bound is.")
    ] = 0.99,
    shadow_models: Annotated[
        int,
        typer.Option(
            "--shadow-models",
            min=0,
            metavar="K",
            help="Also train the experiment K times on a half of its samples each, and tell members from others by their loss.",
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Check the ε that a private experiment claims: a lower bound from one run with canaries, mostly in seconds.

    Canaries are clients or examples, as the claim is about clients or examples. If the bound is above the claim, the claim is
    false, and the exit code 1.
    """
    read_toml(file)
    from phalanx.cli.auditing import audit_file

    audit_file(file, settings or [], confidence, shadow_models, as_json=as_json)


def plan(
    epsilon: Annotated[float | None, typer.Option("--epsilon", metavar="ε", help="What it may cost.")] = None,
    delta: Annotated[
        float | None, typer.Option("--delta", metavar="δ", help="The chance that ε does not hold: below 1 / (number of units).")
    ] = None,
    noise_multiplier: Annotated[
        float | None,
        typer.Option("--noise-multiplier", metavar="z", help="The noise's standard deviation, relative to the clip norm."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="T", help="How many noised sums: rounds of central_dp, steps of dpsgd.")
    ] = None,
    sample_rate: Annotated[
        float, typer.Option("--sample-rate", metavar="q", help="The share of units in a step, on average.")
    ] = 1.0,
    sampling: Annotated[
        Literal["poisson", "fixed_size", "none"],
        typer.Option("--sampling", help="How units are chosen: poisson, fixed_size (RDP only), or none, so that q is 1."),
    ] = "poisson",
    neighbours: Annotated[
        Literal["add/remove", "replace-one"] | None,
        typer.Option(
            "--neighbours", help="What is hidden: a unit more or less, or another in its place. local_dp: none, replace-one."
        ),
    ] = None,
    unit: Annotated[Literal["client", "example"], typer.Option("--unit", help="Who is hidden: client or example.")] = "client",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw ε over the steps into a PNG, SVG or PDF.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Three of ε, δ, z and T give the fourth: what a run will cost, how much noise a budget asks for, how long it lasts.

    PLD and RDP side by side, with ε on the way there, and what it means.
    """
    from phalanx.cli.planning import show_plan

    show_plan(
        unit,
        sampling,
        plot,
        neighbours=neighbours,
        as_json=as_json,
        epsilon=epsilon,
        delta=delta,
        noise_multiplier=noise_multiplier,
        steps=steps,
        sample_rate=sample_rate,
    )


def search_policies(
    file: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="An experiment as TOML: its data, model, training, rounds and seed are used."),
    ],
    settings: Setting = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The search's folder. Default: runs/NAME-policies.")
    ] = None,
    policies: Annotated[
        int, typer.Option("--policies", min=1, metavar="N", help="How many random triples of transformations.")
    ] = 1600,
    images: Annotated[
        int, typer.Option("--images", min=1, metavar="N", help="How many images S_pri is a mean over: time goes with it.")
    ] = 20,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="S", help="The smallest S_acc to keep, for batches of 63 images.")
    ] = -85.0,
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="How many of the kept ones to print.")] = 10,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, metavar="N", help="Policies at a time, one process and core each. Default: all cores."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search transformation policies (ATS): random ones, scored by what they hide (S_pri) and what they cost (S_acc).

    A search that was stopped or killed goes on with the same command. What S_pri promises is not kept: measure.
    """
    read_toml(file)
    from phalanx.cli.searching import search_file

    search_file(
        file,
        settings or [],
        out,
        policies=policies,
        images=images,
        threshold=threshold,
        top=top,
        jobs=jobs,
        as_json=as_json,
    )


def demo() -> None:
    """Attack and defend a small federation: three attacks, four rules, one table, about a minute."""
    from phalanx.cli.demonstration import demonstrate

    demonstrate()
