"""Input and output of lineage: models with their SQL; columns, steps, facts and fingerprints."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class ColumnKind(StrEnum):
    """How a column derives from its sources: the strongest of its steps."""

    CONSTANT = "constant"
    PASSTHROUGH = "passthrough"
    EXPRESSION = "expression"
    AGGREGATE = "aggregate"
    WINDOW = "window"


class RowStepKind(StrEnum):
    """A kind of step that decides which rows a query has."""

    FILTER = "filter"
    JOIN = "join"
    GROUP = "group"
    DISTINCT = "distinct"
    UNION = "union"
    LIMIT = "limit"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlModel:
    """A model, snapshot, seed or source, as lineage reads it.

    `raw` is its file, whose Jinja tells which values in `sql` are of the run, "" if that is not known.
    `sql` is the compiled SELECT, "" for what has none (a seed, a source, a Python model): such a relation is where
    lineage ends. `columns` are those known, with their types as SQL writes them or ""; they need not be complete.
    `depends_on` are the unique ids that the SQL may read. `not_null` are columns that are never NULL: with them
    `count(column)` is `count(*)`. `batch` tells a microbatch model, whose inputs dbt cuts by time, and `history` a
    snapshot, which keeps rows as they change; `added` are the columns that dbt gives it beside those of its SQL.
    """

    unique_id: str
    relation_name: str = ""
    sql: str = field(default="", repr=False)
    raw: str = field(default="", repr=False)
    columns: tuple[tuple[str, str], ...] = ()
    depends_on: tuple[str, ...] = ()
    not_null: tuple[str, ...] = ()
    batch: bool = False
    history: bool = False
    added: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SourceColumn:
    """A column that a value derives from. `unique_id` is "" for a relation that no model builds."""

    relation: str
    column: str
    unique_id: str = ""

    def __str__(self) -> str:
        return f"{self.relation}.{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueStep:
    """A step from the sources to a value, which the SQL then calls `name`.

    `within` is the CTE or subquery it stands in, "" for the outermost SELECT. `windows` are the parts of the named
    windows that it runs over: partition, order and frame.
    """

    kind: ColumnKind
    sql: str
    within: str = ""
    name: str = ""
    windows: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f" in {self.within}" if self.within else ""
        named = f" as {self.name}" if self.name and self.name != self.sql else ""
        return f"{self.kind}{place}: {self.sql}{named}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStep:
    """A step that decides the rows; `within` as in `ValueStep`."""

    kind: RowStepKind
    sql: str
    within: str = ""

    def __str__(self) -> str:
        place = f" in {self.within}" if self.within else ""
        return f"{self.kind}{place}: {self.sql}"


class FactKind(StrEnum):
    """A kind of fact about a value or rows; the checks judge what it means for a feature."""

    WINDOW = "window"
    """A window function that looks ahead: `function`, `frame`, and what its rows are ordered and divided by."""
    CLOCK = "clock"
    """It depends on the time at which the query runs."""
    TRUNCATED = "truncated"
    """The value is a time cut down to the start of a `unit`."""
    AGGREGATE = "aggregate"
    """An aggregate over groups; `partition` are the groups' keys."""
    JOINED = "joined"
    """An aggregate that was joined back to other rows."""
    JOIN = "join"
    """It is of a row that was put together with others, by a join or by a subquery."""
    MOVED = "moved"
    """The value is a time that was moved forward by `shift`."""


class Bound(StrEnum):
    """The time range of joined rows that the conditions allow; the strictest comes last."""

    NONE = ""
    """Any time."""
    FUTURE = "future"
    """Any time that is later."""
    AHEAD = "ahead"
    """Later times up to a limit: `o.t <= v.t + interval 7 days`."""
    PERIOD = "period"
    """The same period: `o.month = date_trunc('month', v.t)`."""
    PAST = "past"
    """The same time or an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A property of how a value was made, anywhere upstream, that checks use.

    `model` is where it was seen, `sql` what was seen. `frame` tells which rows a window function looks at, in time if
    its order is time: `future` or `all`. `partition` are the columns that divide the rows, `order` those of the
    first order key. `timed` says that a time divides the rows, and `unit` to what it is cut down, `backwards` that the
    order goes from new to old. `line` is that of the compiled SQL, `within` the CTE or subquery.

    Of a join, and of what was joined: `place` tells the relation in the FROM, which reads `relation`; its columns
    `own` equal `keys` of the others; `times` are when its rows came to be; `bound` is how they are bound in time, by
    the columns `by` and `shift`. `joined` says that several of its rows may have been made one value, `counted` that
    only their number went into it.
    """

    kind: FactKind
    model: str
    sql: str
    function: str = ""
    frame: str = ""
    unit: str = ""
    relation: str = ""
    unique_id: str = ""
    within: str = ""
    line: int = 0
    place: str = ""
    bound: Bound = Bound.NONE
    shift: str = ""
    timed: bool = False
    backwards: bool = False
    joined: bool = False
    counted: bool = False
    partition: tuple[SourceColumn, ...] = ()
    order: tuple[SourceColumn, ...] = ()
    own: tuple[SourceColumn, ...] = ()
    keys: tuple[SourceColumn, ...] = ()
    times: tuple[SourceColumn, ...] = ()
    by: tuple[SourceColumn, ...] = ()
    twins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLineage:
    """The origin of one output column of a model, by this model's SQL.

    `sources` are the columns of the relations that the SQL reads; `Lineage.ancestors` goes on from there. `sql` is the
    expression that makes it. `steps` lead to its value, inner ones first; `row_steps` and `row_sources` are what
    decides the rows. `facts` are of the whole way down, `row_facts` likewise for the rows. `value` and `rows` are the
    two parts of the fingerprint: equal for what is computed alike, and for the same rows.
    """

    unique_id: str
    relation: str
    column: str
    kind: ColumnKind
    sql: str
    fingerprint: str
    sources: tuple[SourceColumn, ...] = ()
    steps: tuple[ValueStep, ...] = ()
    row_steps: tuple[RowStep, ...] = ()
    row_sources: tuple[SourceColumn, ...] = ()
    facts: tuple[Fact, ...] = ()
    row_facts: tuple[Fact, ...] = ()
    value: str = ""
    rows: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The columns that a model's SQL produces, as the engine spells them; all of them if `is_complete`."""

    columns: tuple[str, ...]
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileRun:
    """The time span of the dbt run that compiled the SQL: a literal in it is the run's own time, not a constant.

    `invocation` is dbt's id of the run.
    """

    start: datetime
    end: datetime
    invocation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A column derived from another, with the `kind` and `sql` of the derivation."""

    above: SourceColumn
    below: SourceColumn
    kind: ColumnKind
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnGraph:
    """A graph to draw: columns, the most downstream first, and the edges between them."""

    nodes: tuple[SourceColumn, ...]
    edges: tuple[Edge, ...]
