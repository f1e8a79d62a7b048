"""Random SQL, rewritten at random: what keeps the meaning keeps the fingerprint, and what changes it does not."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.lineage import SqlModel, analyse
from tests.profiles import examples

COLUMNS = ("a", "b", "c", "k", "t")
SOURCE = SqlModel(unique_id="s", relation_name='"raw"."events"', columns=tuple((name, "") for name in COLUMNS))
OTHER = SqlModel(unique_id="o", relation_name='"raw"."others"', columns=(("k", ""), ("d", ""), ("t", "")))
seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Query:
    """A feature: an aggregate or a window over filtered rows, maybe joined, maybe followed by another step."""

    column: str
    factor: int
    term: int
    filters: tuple[tuple[str, str, int], ...]
    shape: str
    function: str
    keys: tuple[str, ...]
    frame: int
    join: str
    relation: str
    after: str


def query_of(chance: random.Random) -> Query:
    filters = {(chance.choice("abc"), chance.choice(["<", "<=", "=", "<>"]), chance.randint(0, 9)) for _ in range(3)}
    return Query(
        column=chance.choice("ab"),
        factor=chance.randint(2, 5),
        term=chance.randint(1, 9),
        filters=tuple(sorted(filters))[: chance.randint(1, 3)],
        shape=chance.choice(["group", "window"]),
        function=chance.choice(["sum", "min", "max", "avg", "count"]),
        keys=tuple(sorted(chance.sample(["k", "b", "c"], chance.randint(1, 2)))),
        frame=chance.randint(1, 9),
        join=chance.choice(["", "", "join", "left join"]),
        relation="raw.events",
        after=chance.choice(["", "abs", "round"]),
    )


def write(query: Query, chance: random.Random) -> str:
    """The query as SQL, in one of the many ways to write it."""
    alias, other = chance.sample(["e", "x1", "tbl", "q_", "o"], 2)
    name = chance.choice(["v", "w1", "total", "out_"])
    filters = [condition(each, alias, chance) for each in chance.sample(query.filters, len(query.filters))]
    value = chance.choice(
        [
            f"{alias}.{query.column} * {query.factor} + {query.term}",
            f"({query.term} + ({query.factor} * {alias}.{query.column}))",
        ]
    )
    nested = chance.random() < 0.5 and not query.join
    rows = f"{query.relation} {chance.choice(['as ', ''])}{alias}"
    if query.join:
        on = [f"{alias}.k = {other}.k", f"{other}.d > {query.term}"]
        chance.shuffle(on)
        rows += f" {query.join} raw.others {other} on {' and '.join(on)}"
    elif nested:
        stars = chance.choice(["*", "k, t, c, b, a", "a, b, c, k, t"])
        kept = [condition(each, "i", chance) for each in query.filters]
        inside, filters = (kept, []) if chance.random() < 0.5 else ([], filters)
        rows = f"(select {stars} from {query.relation} i{where(inside)}) {alias}"
    keys = [f"{alias}.{key}" for key in chance.sample(query.keys, len(query.keys))]
    if query.shape == "group":
        select = [f"{query.function}({value}) as {name}", *(f"{key} as g{place}" for place, key in enumerate(keys))]
        chance.shuffle(select)
        group = ", ".join(chance.sample(keys, len(keys)))
        sql = f"select {', '.join(select)} from {rows}{where(filters)} group by {group}"
    else:
        frame = f"rows between {query.frame} preceding and current row"
        spec = f"partition by {', '.join(keys)} order by {alias}.t {frame}"
        if chance.random() < 0.5:
            sql = f"select {query.function}({value}) over ({spec}) as {name} from {rows}{where(filters)}"
        else:
            select = f"{alias}.k, {query.function}({value}) over w as {name}"
            sql = f"select {select} from {rows}{where(filters)} window w as ({spec})"
    return finish(sql, name, query.after, chance)


def finish(sql: str, name: str, after: str, chance: random.Random) -> str:
    """The last step, in a CTE or around a subquery, with comments and breaks."""
    outer = f"{after}({name})" if after else name
    if chance.random() < 0.5:
        sql = f"with step as ({sql}) select {outer} as f from step"
    else:
        sql = f"select 1 as one, {outer} as f from ({sql}) as inner_{name}"
    if chance.random() < 0.5:
        sql = re.sub(r" (from|where|group by|window) ", r"\n  -- a remark\n  \1 ", sql)
    if chance.random() < 0.5:
        sql = re.sub(r"\b(select|from|where|and|order by|sum|avg)\b", lambda found: found[0].upper(), sql)
    return sql


def condition(given: tuple[str, str, int], alias: str, chance: random.Random) -> str:
    column, operator, literal = given
    mirrored = {"<": ">", "<=": ">=", "=": "=", "<>": "<>"}[operator]
    opposite = {"<": ">=", "<=": ">", "=": "<>", "<>": "="}[operator]
    return chance.choice(
        [
            f"{alias}.{column} {operator} {literal}",
            f"({literal} {mirrored} {alias}.{column})",
            f"not ({alias}.{column} {opposite} {literal})",
        ]
    )


def where(conditions: list[str]) -> str:
    return f" where {' and '.join(conditions)}" if conditions else ""


def fingerprint(sql: str) -> str:
    found = analyse(
        [SOURCE, OTHER, SqlModel(unique_id="m", relation_name="m", sql=sql, depends_on=("s", "o"))], dialect="duckdb"
    )
    assert not found.problems, sql
    of = found.column("m", "f")
    assert of is not None
    return of.fingerprint


@given(seeds)
@settings(max_examples=examples(60), deadline=None)
def test_a_rewrite_keeps_the_fingerprint(seed: int) -> None:
    chance = random.Random(seed)
    query = query_of(chance)
    one, other = write(query, chance), write(query, chance)
    assert fingerprint(one) == fingerprint(other), f"\n{one}\n{other}"


def changed(query: Query, chance: random.Random) -> Query:
    """The query with another meaning."""
    column, operator, literal = query.filters[0]
    changes = [
        {"column": "c"},
        {"factor": query.factor + 1},
        {"term": query.term + 1},
        {"filters": ((column, operator, literal + 1), *query.filters[1:])},
        {"filters": ((column, "<" if operator != "<" else "=", literal), *query.filters[1:])},
        {"filters": (*query.filters, ("k", "<", 77))},
        {"shape": "window" if query.shape == "group" else "group"},
        {"function": "median"},
        {"keys": ("a", *query.keys)},
        {"join": {"": "join", "join": "left join", "left join": "join"}[query.join]},
        {"relation": "raw.other_events"},
        {"after": "sign"},
    ]
    if query.shape == "window":
        changes.append({"frame": query.frame + 1})
    return replace(query, **chance.choice(changes))


@given(seeds)
@settings(max_examples=examples(60), deadline=None)
def test_a_change_of_meaning_changes_the_fingerprint(seed: int) -> None:
    chance = random.Random(seed)
    query = query_of(chance)
    other = changed(query, chance)
    one, two = write(query, chance), write(other, chance)
    assert fingerprint(one) != fingerprint(two), f"\n{one}\n{two}"


@given(seeds)
@settings(max_examples=examples(25), deadline=None)
def test_a_step_in_a_model_of_its_own_keeps_the_fingerprint(seed: int) -> None:
    """What one query does in a CTE, two models do, the second reading the first."""
    chance = random.Random(seed)
    query = replace(query_of(chance), after="")
    sql = write(query, chance)
    first = SqlModel(unique_id="m1", relation_name='"db"."m1"', sql=sql, depends_on=("s", "o"))
    second = SqlModel(
        unique_id="m2", relation_name='"db"."m2"', sql="select abs(z.f) as f from db.m1 z", depends_on=("m1",)
    )
    found = analyse([SOURCE, OTHER, first, second], dialect="duckdb")
    of = found.column("m2", "f")
    assert of is not None
    assert of.fingerprint == fingerprint(f"with z as ({sql}) select abs(f) as f from z")


WORDS = [*COLUMNS, "select", "from", "(", ")", ",", "with", "as", "join", "on", "=", "over", "partition by", "order by",
         "union all", "raw.events", "x", "*", "case", "when", "then", "end", "1", "'a'", "group by", "where", "in", ".",
         "lateral", "unnest", "::int", "interval '1 day'", "values", "exists", "not", "distinct on", "recursive",
         "filter", "window", "qualify"]  # fmt: skip


@given(
    seeds, st.sampled_from(["duckdb", "postgres", "snowflake", "bigquery", "spark", "clickhouse", "trino", "redshift"])
)
@settings(max_examples=examples(80), deadline=None)
def test_no_sql_makes_lineage_fail(seed: int, dialect: str) -> None:
    """Broken, strange and senseless SQL is followed or is a problem of its model."""
    chance = random.Random(seed)
    words = write(query_of(chance), chance).split(" ")
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(words))
        match chance.randrange(3):
            case 0:
                del words[place]
            case 1:
                words.insert(place, chance.choice(WORDS))
            case _:
                words[place] = chance.choice(WORDS)
        words = words or ["select"]
    model = SqlModel(unique_id="m", relation_name="m", sql=" ".join(words), depends_on=("s", "o"))
    found = analyse([SOURCE, OTHER, model], dialect=dialect)
    for column in found.columns("m"):
        assert found.upstream("m", column)
        found.graph("m", column)
