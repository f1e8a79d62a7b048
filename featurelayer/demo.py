"""The demo: the complete workflow on the flights out of New York in 2013, and the cost of a leaky join.

    folder = prepare(Path("featurelayer-demo"))   copies the dbt package and the project, data included
    build(folder)                                 dbt deps, dbt build
    layer = open_layer(folder)
    build_training_file(layer, folder)            point-in-time features of every labelled flight, and the lock
    look_up(layer, training_file)                 exports as of MOMENT, looks up the flights of that moment
    compare(layer, training_file)                 one model, four sets of features

How the models compare: the model is scikit-learn's HistGradientBoostingClassifier with a fixed seed. It learns whether
a flight arrives 15 or more minutes late from the flights that are predicted before SPLIT, and is scored (AUC) on those
after it. All four sets have the timetable's columns and differ in what they add:

- *timetable alone*: nothing;
- *same-day means, leaky*: the mean arrival delay of the flight's day, by carrier, by origin and by plane, as a GROUP BY
  over the day gives it. That mean holds flights that land after the prediction, and the very flight that is predicted;
- *same-day means, as of the prediction*: the same three, over the flights of the day that had landed by then;
- *point-in-time*: the service `late_arrival`.

"Offline" is the score on rows joined like the training rows, as in a notebook. "Live" is the score on rows that hold
only what was known at the prediction, as in production. The leaky model is served the second
kind of means, there being no others yet; for the other sets both are the same rows. A day is one of New York's
standard time, and a landing is known a minute after its stamp, as in the view `plane_legs`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelayer.errors import ConfigError, FeatureLayerError, MissingDependency, Problem

if TYPE_CHECKING:
    import pandas
    from sklearn.ensemble import HistGradientBoostingClassifier

    from featurelayer.callbacks import Notify, Progress
    from featurelayer.export import ExportReport
    from featurelayer.layer import FeatureLayer
    from featurelayer.online import FeatureVector
    from featurelayer.training import Report

SERVICE, LABELS = "late_arrival", "late_arrival_labels"
MOMENT = datetime(2013, 12, 1, 12, tzinfo=UTC)
SPLIT = datetime(2013, 11, 1, tzinfo=UTC)

PARTS = ("macros", "dbt_project")
MARKER = ".featurelayer-demo.json"
TRAINING_FILE = "train.parquet"
_LEFT_BY_DBT = (
    "target",
    "logs",
    "dbt_packages",
    "package-lock.yml",
    ".user.yml",
    "*.duckdb",
    "*.duckdb.wal",
    ".featurelayer",
    "__pycache__",
    "pyproject.toml",  # of the data, which is a distribution of its own
)
_NEEDED = (
    ("dbt.cli", "dbt-core"),
    ("dbt.adapters.duckdb", "dbt-duckdb"),
    ("sklearn", "scikit-learn"),
    ("pandas", "pandas"),
)

_DBT = "from dbt.cli.main import cli; cli()"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NODE_DONE = re.compile(r"(\d+) of (\d+) (?!START)\w+ ")
_DBT_SUMMARY = re.compile(r"Done\. ((?:[A-Z-]+=\d+ ?)+)")

_TIMETABLE = ("carrier", "origin", "dest", "hour", "day_of_week", "scheduled_minutes", "distance")
_SEED = 2013

_FLIGHTS = """
with flights as (
    select
        l.flight_id, l.carrier, l.origin, l.tailnum, l.predicted_at, p.arr_delay,
        cast(l.scheduled_at - interval 5 hours as date) as day,
        p.landed_at + interval 1 minute as known_at
    from late_arrival_labels as l
    join plane_legs as p using (flight_id)
)
"""
_WHOLE_DAY = f"""{_FLIGHTS}
select
    flight_id,
    avg(arr_delay) over (partition by day, carrier) as carrier_delay_today,
    avg(arr_delay) over (partition by day, origin) as origin_delay_today,
    avg(arr_delay) over (partition by day, tailnum) as plane_delay_today
from flights
"""  # noqa: S608 (one constant in another)
# A window that is ordered takes the rows up to the current one and those of the same minute: all that was known then.
_SO_FAR = f"""{_FLIGHTS},
by_carrier as (
    select day, carrier, known_at, avg(arr_delay) over (partition by day, carrier order by known_at) as delay
    from flights
),
by_origin as (
    select day, origin, known_at, avg(arr_delay) over (partition by day, origin order by known_at) as delay
    from flights
),
by_plane as (
    select day, tailnum, known_at, avg(arr_delay) over (partition by day, tailnum order by known_at) as delay
    from flights
)
select
    f.flight_id, c.delay as carrier_delay_today, o.delay as origin_delay_today, p.delay as plane_delay_today
from flights as f
asof left join by_carrier as c on f.day = c.day and f.carrier = c.carrier and f.predicted_at >= c.known_at
asof left join by_origin as o on f.day = o.day and f.origin = o.origin and f.predicted_at >= o.known_at
asof left join by_plane as p on f.day = p.day and f.tailnum = p.tailnum and f.predicted_at >= p.known_at
"""  # noqa: S608 (as above)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """Lookups of the flights predicted at MOMENT, and the number of values equal to the training set's."""

    export: ExportReport
    requests: tuple[Mapping[str, Any], ...]
    vectors: tuple[FeatureVector, ...]
    values: int
    equal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """AUC of one set of features: on rows joined as for training, and on rows as they are known at the prediction."""

    features: str
    offline: float
    live: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same model on four sets of features; `late` is the share of late flights among the tested ones."""

    trained: int
    tested: int
    late: float
    timetable: Score
    leaky: Score
    corrected: Score
    point_in_time: Score

    @property
    def scores(self) -> tuple[Score, ...]:
        """All four, worst idea first."""
        return self.leaky, self.timetable, self.corrected, self.point_in_time


# --- the folder ------------------------------------------------------------------------------------------------------


def check_installed() -> None:
    """Raise MissingDependency for the first package of the extra `demo` that is not installed."""
    data_folder()
    for module, distribution in _NEEDED:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise MissingDependency(distribution, "demo")


def find_bundled(part: str) -> Path:
    """Return the folder of the dbt package (`macros`) or the demo (`dbt_project`), of the wheel or the repository."""
    package = Path(__file__).parent
    places = (package / "_bundled" / part, package.parent / part)
    found = next((place for place in places if (place / "dbt_project.yml").is_file()), None)
    if found is None:
        what = f"this installation lacks the demo's folder {part}/"
        fix = "install dbt-featurelayer from its wheel, or clone its repository"
        raise ConfigError([Problem(what=what, where=str(package), fix=fix)])
    return found


def data_folder() -> Path:
    """Return the folder of the flights: the checkout's, or that of the distribution dbt-featurelayer-demo-data.

    Raises:
        MissingDependency: there is neither.
    """
    spec = importlib.util.find_spec("featurelayer_demo_data")
    installed = (spec.submodule_search_locations if spec else None) or ()
    places = (find_bundled("dbt_project") / "data", *map(Path, installed))
    found = next((place for place in places if any(place.glob("*.parquet"))), None)
    if found is None:
        raise MissingDependency("dbt-featurelayer-demo-data", "demo")
    return found


def prepare(folder: Path, *, keep: bool = False) -> Path:
    """Copy the dbt package and the demo project to `folder` and return its absolute path.

    An earlier demo in it is updated; with `keep` its files and edits stay.

    Raises:
        ConfigError: the folder has other files, or edited files of the demo; nothing is changed.
    """
    folder = folder.resolve()
    copied = _read_marker(folder)
    if keep and copied:
        return folder
    edited = [name for name, digest in copied.items() if (folder / name).is_file() and _digest(folder / name) != digest]
    if edited:
        fix = "pass --keep to run it with the edit, or --dir for a new demo elsewhere"
        raise ConfigError(
            Problem(what="a file of the demo was edited", where=str(folder / name), fix=fix) for name in edited
        )
    sources = {
        f"{part}/{path}": find_bundled(part) / path for part in PARTS for path in _project_files(find_bundled(part))
    }
    data = data_folder()
    sources |= {f"dbt_project/data/{path}": data / path for path in _project_files(data)}
    for name in copied.keys() - sources.keys():
        (folder / name).unlink(missing_ok=True)
    for name, source in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    digests = {name: _digest(folder / name) for name in sources}
    (folder / MARKER).write_text(json.dumps({"files": digests}, indent=1) + "\n", encoding="utf-8")
    return folder


def _read_marker(folder: Path) -> dict[str, str]:
    """Return the files of an earlier demo with their hashes; raise ConfigError for a folder with other files."""
    marker = folder / MARKER
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    if not marker.is_file():
        what = "the demo needs a new or empty folder, or that of an earlier demo"
        raise ConfigError([Problem(what=what, where=str(folder), fix="pass another folder with --dir")])
    try:
        files = json.loads(marker.read_text(encoding="utf-8"))["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        what = "the demo's list of its own files can't be read"
        raise ConfigError([Problem(what=what, where=str(marker), fix="pass a new folder with --dir")]) from None


def _project_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, relative to it, without those that dbt and the demo leave in a checkout."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_leftover(name))
        yield from ((Path(parent) / name).relative_to(folder) for name in sorted(names) if not _is_leftover(name))


def _is_leftover(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in _LEFT_BY_DBT)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- dbt -------------------------------------------------------------------------------------------------------------


def build(folder: Path, progress: Progress | None = None) -> str:
    """Run `dbt deps` and `dbt build` in the demo and return dbt's count of results: `PASS=86 WARN=0 ...`.

    Raises:
        FeatureLayerError: dbt failed; the message ends with the end of its output.
    """
    _run_dbt(folder, "deps", progress)
    summary = _DBT_SUMMARY.search(_run_dbt(folder, "build", progress))
    return summary[1].strip() if summary else ""


def _run_dbt(folder: Path, command: str, progress: Progress | None) -> str:
    project = folder / "dbt_project"
    folders = ["--project-dir", str(project), "--profiles-dir", str(project)]
    # Variables of the user's own dbt project must not affect the demo.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DBT_")}
    process = subprocess.Popen(  # noqa: S603 (this interpreter, our arguments)
        [sys.executable, "-c", _DBT, command, *folders, "--target", "dev", "--no-use-colors"],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    said = []
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            said.append(_COLOUR.sub("", line))
            node = _NODE_DONE.search(line)
            if node and progress is not None:
                progress(f"dbt {command}", int(node[1]), int(node[2]))
    if process.returncode != 0:
        raise FeatureLayerError(f"dbt {command} failed in {project}\n{''.join(said[-30:]).rstrip()}")
    return "".join(said)


def open_layer(folder: Path, warn: Notify | None = None) -> FeatureLayer:
    """Return the layer of the demo in `folder`, independent of dbt's environment variables."""
    from featurelayer.layer import FeatureLayer

    project = folder / "dbt_project"
    return FeatureLayer(
        project, profiles_dir=project, profile="featurelayer_demo", target="dev", target_path="target", warn=warn
    )


# --- training, serving, comparing ------------------------------------------------------------------------------------


def build_training_file(layer: FeatureLayer, folder: Path, progress: Progress | None = None) -> tuple[Path, Report]:
    """Write the features of every labelled flight to a parquet file, with its lock; return the file and the report."""
    with layer.build_training_set(SERVICE, LABELS, progress=progress) as training_set:
        return training_set.to_parquet(folder / TRAINING_FILE), training_set.report


def look_up(layer: FeatureLayer, training_file: Path) -> Lookups:
    """Export as of MOMENT, look up the flights predicted at that very time, and compare with their training rows.

    Both come from one definition, so every value must be equal.
    """
    import pyarrow.parquet as parquet

    export = layer.export(as_of=MOMENT, full=True)
    rows = parquet.read_table(training_file, filters=[("predicted_at", "=", MOMENT.replace(tzinfo=None))]).to_pylist()
    keys = [key.name for key in layer.registry.service(SERVICE).request_keys]
    requests = tuple({key: row[key] for key in keys} for row in rows)
    with layer.client() as client:
        vectors = tuple(client.lookup_many(SERVICE, requests, now=MOMENT))
    found = zip(vectors, rows, strict=True)
    equal = [value == row[column] for vector, row in found for column, value in vector.items()]
    return Lookups(export=export, requests=requests, vectors=vectors, values=len(equal), equal=sum(equal))


def compare(layer: FeatureLayer, training_file: Path, progress: Progress | None = None) -> Comparison:
    """Train the same model on four sets of features and score each offline and live, as the module describes."""
    import pandas

    steps = iter(range(5))

    def tell(what: str) -> None:
        if progress is not None:
            progress(what, next(steps), 5)

    tell("joining same-day means")
    whole_day, so_far = same_day_means(layer)
    rows = model_input(pandas.read_parquet(training_file)).sort_values("flight_id", ignore_index=True)
    is_train = rows["predicted_at"] < SPLIT.replace(tzinfo=None)
    timetable = rows[list(_TIMETABLE)]
    leaky, live = (pandas.concat([timetable, means.drop(columns="flight_id")], axis=1) for means in (whole_day, so_far))
    point_in_time = rows[[*_TIMETABLE, *(column for column in rows if "__" in column)]]

    def score(name: str, known: pandas.DataFrame, served: pandas.DataFrame) -> Score:
        tell(f"training on {name}")
        model = _fit_model(known[is_train], rows["is_late"][is_train])
        offline, online = (_score_auc(model, table[~is_train], rows["is_late"][~is_train]) for table in (known, served))
        return Score(features=name, offline=offline, live=online)

    return Comparison(
        trained=int(is_train.sum()),
        tested=int((~is_train).sum()),
        late=float(rows["is_late"][~is_train].mean()),
        leaky=score("same-day means, leaky", leaky, live),
        timetable=score("timetable alone", timetable, timetable),
        corrected=score("same-day means, as of the prediction", live, live),
        point_in_time=score("point-in-time (late_arrival)", point_in_time, point_in_time),
    )


def same_day_means(layer: FeatureLayer) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Return the mean delays of each flight's day, over the whole day and up to the prediction; both by flight_id."""
    from featurelayer.warehouse import connect

    with closing(connect(layer.project.connection, root=layer.project.root)) as warehouse:
        tables = [warehouse.arrow(query).read_all().to_pandas() for query in (_WHOLE_DAY, _SO_FAR)]
    whole_day, so_far = (table.sort_values("flight_id", ignore_index=True) for table in tables)
    return whole_day, so_far


def model_input(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Return rows as the model takes them: texts as categories, times as hours before the prediction."""
    import pandas

    kept = {"flight_id", "predicted_at", "scheduled_at"}
    converted: dict[str, Any] = {}
    for name, column in rows.items():
        if name in kept:
            converted[str(name)] = column
        elif pandas.api.types.is_datetime64_any_dtype(column):
            converted[str(name)] = (rows["predicted_at"] - column).dt.total_seconds() / 3600
        elif pandas.api.types.infer_dtype(column, skipna=True) == "string":
            converted[str(name)] = column.astype("category")
        else:
            # Decimals and booleans with NULLs come as objects.
            converted[str(name)] = column.astype("float64")
    return pandas.DataFrame(converted)


def _fit_model(features: pandas.DataFrame, labels: pandas.Series[Any]) -> HistGradientBoostingClassifier:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=_SEED).fit(features, labels)


def _score_auc(model: HistGradientBoostingClassifier, features: pandas.DataFrame, labels: pandas.Series[Any]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, model.predict_proba(features)[:, 1]))
