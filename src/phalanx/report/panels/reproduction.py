"""How to run it again, and how to tell that the result is the same."""

from collections.abc import Sequence
from shlex import quote

from phalanx.experiments import RunRecord
from phalanx.report.again import from_python
from phalanx.report.group import Subject
from phalanx.report.panel import Code, Grid, Panel, Piece, Text, left_out

MOST_RUNS = 60


class Reproduction(Panel):
    """Commands, versions, and the digests of data, partition and result."""

    title = "Run it again"
    explains = (
        "The same config on the same data, with the same versions on the same kind of device, gives the same model, bit by bit."
    )
    place = 95

    def show(self, subject: Subject) -> Sequence[Piece] | None:
        """The commands first, then what they were run with and on."""
        records = [run for group in subject.groups for run in group.runs]
        begun = [run for run in records if run.manifest]
        return [
            Code("Commands", _commands(subject, records), is_open=True),
            *([_versions(begun), _data(begun)] if begun else [Text("No run has begun yet.")]),
            *(_results(records) if subject.sweep is None else []),
        ]


def _commands(subject: Subject, records: Sequence[RunRecord]) -> str:
    if subject.sweep is not None:
        return (
            "# Save the configuration above as sweep.toml (it is in the sweep's folder, too).\n"
            "phalanx sweep sweep.toml --out again\nphalanx report again"
        )
    again = [run for run in records if not from_python(run.experiment)]
    if len(records) == 1 and again:
        return (
            "# Save the configuration above as experiment.toml (it is the run folder's config.toml).\n"
            "phalanx run experiment.toml --out again"
        )
    told = [f"# {run.folder.name}: {from_python(run.experiment)}" for run in records if from_python(run.experiment)][:MOST_RUNS]
    names = [quote(run.folder.name) for run in again[:MOST_RUNS]]
    where = ["# In the folder that holds the run folders:"] if again else []
    more = [f"# … and {len(again) - MOST_RUNS} more"] if len(again) > MOST_RUNS else []
    return "\n".join([*told, *where, *(f"phalanx run {name}/config.toml --out again/{name}" for name in names), *more])


def _versions(records: Sequence[RunRecord]) -> Grid:
    rows: dict[str, list[str]] = {}
    for run in records:
        facts = {
            **run.manifest.get("versions", {}),
            "platform": run.manifest.get("platform"),
            "device": run.manifest.get("device"),
        }
        for name, value in facts.items():
            rows.setdefault(name, []).append(str(value))
    several = any(len(set(values)) > 1 for values in rows.values())
    caption = "These runs were not all made with the same versions." if several else ""
    return Grid(["made with", "version"], [[name, ", ".join(dict.fromkeys(values))] for name, values in rows.items()], caption)


def _data(records: Sequence[RunRecord]) -> Grid:
    files = {
        (run.manifest["data"]["name"], name): str(digest)
        for run in records
        for name, digest in run.manifest["data"]["checksums"].items()
    }
    rows = [[data, name, digest] for (data, name), digest in sorted(files.items())]
    return Grid(["data", "file", "SHA-256"], rows or [[records[0].manifest["data"]["name"], "made from its seed", "–"]])


def _results(records: Sequence[RunRecord]) -> list[Piece]:
    shown = records[:MOST_RUNS]
    rows = [
        [
            run.folder.name,
            str(run.experiment.run.seed),
            run.experiment.digest(),
            str((run.result or {}).get("model_sha256", "–")),
        ]
        for run in shown
    ]
    grid = Grid(["run", "seed", "experiment", "model's SHA-256 (in result.json)"], rows)
    return [grid, *left_out(len(records) - MOST_RUNS, "more run", "each result.json holds its own")]
