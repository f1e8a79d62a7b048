"""Declared types against PostgreSQL's own: a numeric of no size, jsonb, enums, domains, arrays, networks."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from featurelayer.errors import PlanError
from featurelayer.layer import FeatureLayer
from featurelayer.online import FeatureClient, MemoryStore
from tests.postgres_projects import layer
from tests.servers.postgres import Server
from tests.unit import dbt_projects as made

pytestmark = pytest.mark.slow

LABELS = pa.table({"tailnum": ["N1"], "at": pa.array([datetime(2024, 1, 2)], pa.timestamp("us"))})

# name: declared type, the SQL of a value, the value on both sides
EXACT: dict[str, tuple[str, str, Any]] = {
    "float of a double": ("real", "0.5::double precision", 0.5),
    "float NaN": ("real", "'NaN'::double precision", "nan"),
    "decimal of a numeric without size": ("numeric(10,2)", "1.50::numeric", Decimal("1.50")),
    "integer of a numeric without size": ("bigint", "9007199254740993::numeric", 9007199254740993),
    "double of a numeric": ("double precision", "1.10::numeric(10,2)", 1.1),
    "double of a bigint": ("double precision", "9007199254740992::bigint", 9007199254740992.0),
    "integer of a double": ("integer", "7::double precision", 7),
    "smallint of a bigint": ("smallint", "-32768::bigint", -32768),
    "boolean of text": ("boolean", "'false'::text", False),
    "text of jsonb": ("text", "'{\"a\": 1}'::jsonb", '{"a": 1}'),
    "jsonb": ("jsonb", "'{\"a\": 1}'::jsonb", '{"a": 1}'),
    "text of a network": ("text", "'10.0.0.1'::inet", "10.0.0.1/32"),
    "text of an enum": ("text", "'a'::{schema}.mood", "a"),
    "integer of a domain": ("integer", "7::{schema}.small", 7),
    "uuid": ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "bytes": ("bytea", "'\\x0061'::bytea", b"\x00a"),
    "timestamp of an instant": (
        "timestamp", "TIMESTAMPTZ '2024-01-01 10:00+02'", datetime(2024, 1, 1, 8)
    ),
    "instant of a timestamp": (
        "timestamptz", "TIMESTAMP '2024-01-01 10:00'", datetime(2024, 1, 1, 10, tzinfo=UTC)
    ),
    "doubles of floats": ("double precision[]", "ARRAY[0.5, NULL]::real[]", [0.5, None]),
}  # fmt: skip

INEXACT: dict[str, tuple[str, str, str]] = {
    "float of a double": ("real", "0.1::double precision", "0.1"),
    "float out of range": ("real", "1e300::double precision", "1e+300"),
    "float too small": ("real", "1e-300::double precision", "1e-300"),
    "decimal of a numeric without size": ("numeric(10,2)", "1.505::numeric", "1.505"),
    "decimal NaN": ("numeric(10,2)", "'NaN'::numeric", "NaN"),
    "decimal too large": ("numeric(4,2)", "99.995::numeric(10,3)", "99.995"),
    "integer of a double": ("integer", "2147483648::double precision", "2147483648"),
    "integer NaN": ("bigint", "'NaN'::double precision", "NaN"),
    "bigint at the edge": ("bigint", "9223372036854775808::double precision", "9.22337203685477"),
    "double of a bigint": ("double precision", "9007199254740993::bigint", "9007199254740993"),
    "boolean of text": ("boolean", "'t'::text", "t"),
    "date of a timestamp": ("date", "TIMESTAMP '2024-01-01 10:00'", "2024-01-01 10:00:00"),
}
NEVER: dict[str, tuple[str, str]] = {
    "integer of text": ("integer", "'7'::text"),
    "text of an interval": ("text", "INTERVAL '1 day'"),
    "text of a time": ("text", "TIME '10:00'"),
    "text of a double": ("text", "0.5::double precision"),
    "floats of doubles": ("real[]", "ARRAY[0.5]::double precision[]"),
}


def project(root: Path, server: Server, declared: str, sql: str) -> FeatureLayer:
    schema = root.name
    node = {"relation_name": f'"postgres"."{schema}"."legs"'}
    return layer(
        root,
        server,
        made.model(columns={"x": made.column(declared)}, drop=("arr_delay",), online=True, node=node),
        exposures=(made.exposure("legs.*", label_timestamp="at"),),
        sql="DO $do$ BEGIN CREATE TYPE {schema}.mood AS ENUM ('b', 'a'); CREATE DOMAIN {schema}.small AS integer; "
        "CREATE TABLE {schema}.legs AS SELECT 'N1'::text AS tailnum, TIMESTAMP '2024-01-01' AS landed_at, "
        + sql.replace('{"a": 1}', '{{"a": 1}}')
        + " AS x; END $do$",
    )


@pytest.mark.parametrize("name", EXACT)
def test_training_and_lookup_have_the_same_value(tmp_path: Path, postgres_server: Server, name: str) -> None:
    declared, sql, value = EXACT[name]
    found = project(tmp_path, postgres_server, declared, sql)
    with found.build_training_set("late", LABELS) as built:
        (trained,) = built.to_arrow()["legs__x"].to_pylist()
    store = MemoryStore()
    found.export(store=store)
    assert found.verify(store=store).ok
    with FeatureClient(store) as client:
        served = client.lookup("late", {"tailnum": "N1"}).to_dict()["legs__x"]
    if value == "nan":
        assert trained != trained
        assert served != served
        return
    assert (type(trained), trained) == (type(served), served) == (type(value), value)


@pytest.mark.parametrize("name", INEXACT)
def test_a_value_that_does_not_fit_is_told(tmp_path: Path, postgres_server: Server, name: str) -> None:
    declared, sql, value = INEXACT[name]
    found = project(tmp_path, postgres_server, declared, sql)
    for run in (
        lambda: found.build_training_set("late", LABELS),
        lambda: found.export(store=MemoryStore()),
        found.monitor,
    ):
        with pytest.raises(PlanError) as caught:
            run()
        (problem,) = caught.value.problems
        assert f": 1 value does not fit, such as {value}" in problem.what
        assert problem.what.endswith(" for tailnum = N1")


@pytest.mark.parametrize("name", NEVER)
def test_types_between_which_nothing_is_cast(tmp_path: Path, postgres_server: Server, name: str) -> None:
    found = project(tmp_path, postgres_server, *NEVER[name])
    for run in (
        lambda: found.build_training_set("late", LABELS),
        lambda: found.export(store=MemoryStore()),
        found.monitor,
    ):
        with pytest.raises(PlanError, match=r"legs: feature 'x' is .*, declared "):
            run()
