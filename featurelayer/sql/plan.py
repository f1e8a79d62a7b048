"""Plans and scripts of point-in-time joins: frozen values between planner, compiler and warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from featurelayer.model import Column, DType

RESERVED = "__fl_"
"""Columns of our own start with this; features may not."""

ID = "__fl_id"
TIME = "__fl_time"
SEEN = "__fl_seen"
EVENT = "__fl_event"
EVENT_MICROS = "__fl_event_time"
VALID_TO_MICROS = "__fl_valid_to"


def position_name(position: int) -> str:
    """Return a column's positional name, for labels loaded into an engine that keeps no order."""
    return f"c{position}"


class Mode(StrEnum):
    """Which rows a label may see.

    `known_at` is the contract. `event_time` ignores available times: it only measures what a leak would give.
    `as_served` shows a label what the newest export that had finished by then had seen.
    """

    KNOWN_AT = "known_at"
    EVENT_TIME = "event_time"
    AS_SERVED = "as_served"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Where the exports to one online store are recorded: a relation of the warehouse (featurelayer/ledger.py)."""

    relation: str
    store: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelColumn:
    """A label column: its name in the output, and a name that is safe inside the script."""

    name: str
    alias: str
    dtype: DType
    nanoseconds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The label rows of a training set: a FROM item in the engine's SQL, its columns, and which one is the time.

    `parsed` are further columns of the FROM item, with the keys and the time of a CSV in their types; they are matched
    and do not come out.
    `row` keeps one of them alone, counted from 0. `ordered` says that the source delivers its rows in one order always,
    as files and frames do and relations do not; where an engine keeps no order, `order` is the column that says it,
    and the others are named by their places (`loaded_name`), because labels may have names that an engine refuses.
    """

    source: str
    columns: tuple[LabelColumn, ...]
    time: LabelColumn | None
    parsed: tuple[LabelColumn, ...] = ()
    row: int | None = None
    ordered: bool = False
    order: str = ""

    @property
    def spine_columns(self) -> tuple[LabelColumn, ...]:
        """The spine's columns other than the time: the output columns and the parsed keys."""
        return *self.columns, *(column for column in self.parsed if column is not self.time)

    @property
    def source_columns(self) -> tuple[LabelColumn, ...]:
        """All columns of the FROM item in order, except `order`."""
        return *self.columns, *self.parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Entities:
    """Every entity of a view, all at one time: the spine of a snapshot."""

    keys: tuple[LabelColumn, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureColumn:
    """One feature in the output, in its declared type. `default` replaces a missing or expired value.

    `stored` is the warehouse's column; its values are cast where it has another type (`featurelayer.sql.casts`).
    """

    source: str
    name: str
    dtype: DType
    stored: Column
    default: Any = None
    has_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AsofJoin:
    """One feature view joined to the spine; every rule of design/point-in-time.md that needs a fact about the view.

    `keys` pairs the view's columns with the spine's aliases. `available` is None when `delay` gives it or when the mode
    ignores it. `order` are the columns that break ties before the content. `event` is None for a static view.
    `ledger` says that a label sees the view as of the export that was being served. `narrow` cuts the view to the
    labels' keys before the match, `probe` looks the rows up label by label: choices of speed, never of result.
    `where` is the place of the view's annotations, for messages.
    """

    name: str
    view: str
    relation: str
    keys: tuple[tuple[Column, str], ...]
    features: tuple[FeatureColumn, ...]
    event: Column | None = None
    available: Column | None = None
    delay: timedelta = timedelta(0)
    exclusive: bool = False
    ttl: timedelta | None = None
    valid_to: Column | None = None
    order: tuple[Column, ...] = ()
    content: tuple[Column, ...] = ()
    ledger: Ledger | None = None
    narrow: bool = True
    probe: bool = False
    where: str = ""

    @property
    def wait(self) -> timedelta:
        """The least time between an event and the visibility of its row."""
        return max(self.delay, timedelta(microseconds=1)) if self.exclusive else self.delay


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A spine and the views joined to it. A plan over `Entities` is a snapshot, over `Labels` a training set.

    `by_id` asks for the labels' row numbers in place of their columns.
    """

    title: str
    spine: Labels | Entities
    joins: tuple[AsofJoin, ...]
    mode: Mode = Mode.KNOWN_AT
    provenance: str = ""
    by_id: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement and a sentence on the rule it applies."""

    sql: str
    comment: str = ""

    def __str__(self) -> str:
        comment = "".join(f"-- {line}\n" for line in self.comment.splitlines())
        return f"{comment}{self.sql};\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """A query that returns the rows which make the request impossible, and the sentence that reports them.

    `message` has one `{rows}` for the examples; `fix` is the remedy.
    """

    sql: str
    message: str
    fix: str
    about_labels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """A feature whose column does not have the declared type, as a problem to report.

    `examples` is a query of the text of some values that the declared type can't hold, and of their `keys`; None if no
    value is ever cast from the one type to the other.
    """

    message: str
    where: str
    fix: str
    keys: tuple[str, ...] = ()
    examples: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeCheck:
    """The columns of a view that don't have their declared types, and one query that counts what does not fit.

    `sql` returns one row with a number for each of `counted`, in their order; it is empty if there is nothing to count.
    `refused` are problems whatever the rows hold.
    """

    sql: str
    counted: tuple[Misfit, ...]
    refused: tuple[Misfit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReport:
    """Queries that count what happened in one join, by what they return; `tied` are the ids that `ties` counts."""

    join: AsofJoin
    matched: Statement
    expired: Statement | None
    unusable: Statement | None
    ties: Statement | None
    ages: Statement | None
    tied: Statement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The statements of one view, run together and shown as one step of the progress bar."""

    name: str
    statements: tuple[Statement, ...]
    report: JoinReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preamble:
    """What comes before the script: checks that must return nothing, the spine, and what is asked of it.

    `count` counts the spine's rows. `reaches` estimate, join by join, which share of the view's rows has a key that
    the labels have, and `probes` answer whether the rows are better looked up label by label; None where that is not
    worth asking.
    """

    checks: tuple[Assertion | TypeCheck, ...]
    spine: Step
    count: Statement
    reaches: tuple[Statement | None, ...]
    probes: tuple[Statement | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A compiled plan: checks, then the steps, then the query that returns the rows, in label order.

    The first step makes the spine; then one step per view. `temporary` is what the steps leave. `labels` returns the
    label columns as they came, in order: what the query must give back untouched. `session` comes first where the
    script is pasted into a session that is not ours.
    """

    title: str
    dialect: str
    provenance: str
    checks: tuple[Assertion | TypeCheck, ...]
    steps: tuple[Step, ...]
    query: Statement
    labels: Statement | None
    columns: tuple[str, ...]
    temporary: tuple[str, ...]
    session: tuple[Statement, ...] = ()

    def __str__(self) -> str:
        """Return the whole script as text to paste into the warehouse."""
        how = "Paste it whole: the last statement returns the rows, what the others create is temporary."
        header = "".join(f"-- {line}\n" for line in (self.title, *self.provenance.splitlines(), how))
        statements = [statement for step in self.steps for statement in step.statements]
        return header + "\n" + "\n".join(str(statement) for statement in (*self.session, *statements, self.query))
