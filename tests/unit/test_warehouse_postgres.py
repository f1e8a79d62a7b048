"""A session of PostgreSQL: exact types in both directions, errors without secrets, nothing left behind."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from featurelayer.errors import LabelError, MissingDependency, RelationNotBuilt, WarehouseError
from featurelayer.identifiers import truncate_identifier
from featurelayer.model import DType
from featurelayer.sql.dialects._postgres_json import REFUSED
from featurelayer.training.csv_labels import read_csv_labels
from featurelayer.warehouse.engines.postgres.types import REFUSED as REFUSED_HERE
from featurelayer.warehouse.engines.postgres.warehouse import PostgresWarehouse, connect
from tests.postgres_projects import session
from tests.servers.postgres import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def warehouse(postgres_server: Server) -> Iterator[PostgresWarehouse]:
    found = session(postgres_server, "public")
    yield found
    found.close()


def table(warehouse: PostgresWarehouse, query: str) -> pa.Table:
    return warehouse.arrow(query).read_all()


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "kind", "value"),
    [
        ("1::smallint", pa.int16(), 1),
        ("(-1)::int", pa.int32(), -1),
        ("9007199254740993::bigint", pa.int64(), 9007199254740993),
        ("'-0'::float8", pa.float64(), -0.0),
        ("1.5::real", pa.float32(), 1.5),
        ("1.50::numeric(10,2)", pa.decimal128(10, 2), Decimal("1.50")),
        ("123456789012345678901234567890123456789012.5::numeric(45,1)", pa.decimal256(45, 1),
         Decimal("123456789012345678901234567890123456789012.5")),
        ("2.5::numeric", pa.decimal128(38, 18), Decimal("2.5")),
        ("'x'::varchar(3)", pa.string(), "x"),
        (r"'\x00ff'::bytea", pa.binary(), b"\x00\xff"),
        ("'9999-12-31'::date", pa.date32(), date(9999, 12, 31)),
        ("'2024-01-01 10:00:00.000001'::timestamp", pa.timestamp("us"), datetime(2024, 1, 1, 10, 0, 0, 1)),
        ("'2024-01-01 10:00+09'::timestamptz", pa.timestamp("us", "UTC"), datetime(2024, 1, 1, 1, tzinfo=UTC)),
        ("'10:00:00.5'::time", pa.time64("us"), clock(10, 0, 0, 500_000)),
        ("'00000000-0000-0000-0000-00000000000a'::uuid", pa.string(), "00000000-0000-0000-0000-00000000000a"),
        ("""'{"a": [1]}'::jsonb""", pa.string(), '{"a": [1]}'),
        ("'10.0.0.1'::inet", pa.string(), "10.0.0.1/32"),
        ("ARRAY[1, NULL]::int[]", pa.list_(pa.int32()), [1, None]),
        ("ARRAY[1.5, NULL]::numeric(4,2)[]", pa.list_(pa.decimal128(4, 2)), [Decimal("1.50"), None]),
        ("ARRAY['00000000-0000-0000-0000-00000000000a']::uuid[]", pa.list_(pa.string()),
         ["00000000-0000-0000-0000-00000000000a"]),
        ("'{}'::text[]", pa.list_(pa.string()), []),
    ],
)  # fmt: skip
def test_a_value_leaves_as_it_is(warehouse: PostgresWarehouse, sql: str, kind: pa.DataType, value: object) -> None:
    warehouse.execute(f"CREATE TEMP TABLE one AS SELECT {sql} AS x")
    warehouse.execute("INSERT INTO one VALUES (NULL)")
    found = table(warehouse, "SELECT * FROM one")
    assert found.schema.types == [kind]
    assert found.column("x").to_pylist() == [value, None]
    if isinstance(value, float):
        assert math.copysign(1, found.column("x")[0].as_py()) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("'infinity'::timestamp", "infinity has no place in a file or a frame"),
        ("'-infinity'::timestamptz", "-infinity has no place in a file or a frame"),
        ("'infinity'::date", "infinity has no place in a file or a frame"),
        ("ARRAY[[1, 2], [3, 4]]", "{{1,2},{3,4}} is an array of arrays"),
        ("1::numeric / 3", "is no decimal128(38, 18)"),
        ("'NaN'::numeric(5,2)", "is no decimal128(5, 2)"),
    ],
)
def test_what_arrow_has_no_place_for_is_said_and_never_changed(
    warehouse: PostgresWarehouse, sql: str, said: str
) -> None:
    with pytest.raises(WarehouseError) as caught:
        table(warehouse, f"SELECT {sql} AS x")
    assert said in str(caught.value)


def test_the_prefix_of_refusals_is_one(warehouse: PostgresWarehouse) -> None:
    assert REFUSED == REFUSED_HERE


def test_rows_for_people_hold_infinite_times_as_the_last_there_is(warehouse: PostgresWarehouse) -> None:
    found = warehouse.rows(
        "SELECT 'infinity'::timestamp, '-infinity'::date, 'infinity'::date, sum(x) FROM (VALUES (1.5), (2)) t (x)"
    )
    assert found == [(datetime.fromisoformat("9999-12-31T23:59:59.999999"), date.min, date.max, Decimal("3.5"))]


def test_a_relations_columns_are_the_catalogs(warehouse: PostgresWarehouse) -> None:
    warehouse.execute("CREATE TYPE pg_temp.mood AS ENUM ('b', 'a')")
    warehouse.execute("CREATE DOMAIN pg_temp.money2 AS numeric(12, 2)")
    warehouse.execute(
        """CREATE TEMP TABLE "Wide One" (a pg_temp.mood, b pg_temp.money2, c numeric, d varchar(9)[],
        "E e" timestamp(3), f double precision, g char(2), h jsonb, i numeric(3,-2), j pg_temp.mood[])"""
    )
    warehouse.execute('ALTER TABLE "Wide One" DROP COLUMN f')
    found = {column.name: str(column.dtype) for column in warehouse.describe('pg_temp."Wide One"')}
    assert found == {
        "a": "text", "b": "decimal(12,2)", "c": "unknown", "d": "array<text>", "E e": "timestamp", "g": "text",
        "h": "json", "i": "decimal(5,0)", "j": "array<text>",
    }  # fmt: skip
    with pytest.raises(RelationNotBuilt, match="is not in the warehouse"):
        warehouse.describe('"nosuch"."table"')


# --- labels ----------------------------------------------------------------------------------------------------------


def test_labels_are_loaded_as_they_are_in_their_order(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    labels = pa.table({
        "n": pa.array([3, None, 1], pa.uint64()),
        "small": pa.array([1, 2, 3], pa.uint8()),
        "word": pa.array(["a", "a", None]).dictionary_encode(),
        "at": pa.array([1_000, None, 2_000], pa.timestamp("ns", "Asia/Tokyo")),
        "list": pa.array([["a,b", None], [], None], pa.list_(pa.string())),
        "money": pa.array([Decimal("1.50"), None, Decimal("-2.00")], pa.decimal128(12, 2)),
        "Word": pa.array(['q"uote', "new\nline", ""]),
    })  # fmt: skip
    pq.write_table(labels, tmp_path / "labels.parquet")
    for given in (labels, tmp_path / "labels.parquet"):
        source = warehouse.attach(given)
        assert [column.name for column in source.columns] == labels.column_names
        assert [str(column.dtype) for column in source.columns] == [
            "decimal(20,0)", "int16", "text", "timestamptz", "array<text>", "decimal(12,2)", "text",
        ]  # fmt: skip
        found = table(warehouse, f"SELECT * FROM {source.sql}").to_pylist()
        expected = labels.set_column(3, "at", labels["at"].cast(pa.timestamp("us", "UTC"))).to_pylist()
        assert found == expected


def test_every_label_that_has_no_type_here_is_named_at_once(warehouse: PostgresWarehouse) -> None:
    labels = pa.table({"a": [{"x": 1}], "b": [[[1]]], "ctid": [1]})
    with pytest.raises(LabelError) as caught:
        warehouse.attach(labels)
    assert [problem.what.split(" has ")[0].split(" is ")[0] for problem in caught.value.problems] == [
        "label column 'a'", "label column 'b'", "label column 'ctid'",
    ]  # fmt: skip


def test_labels_that_are_finer_than_a_microsecond_are_refused_by_row(warehouse: PostgresWarehouse) -> None:
    labels = pa.table({"t": pa.array([1_000, 1_001, None], pa.timestamp("ns"))})
    with pytest.raises(LabelError, match=r"'t' has values finer than a microsecond: '1970.*001001' in row 1"):
        warehouse.attach(labels)


def test_text_with_a_zero_character_is_refused_by_column_and_row(warehouse: PostgresWarehouse) -> None:
    texts = pa.array(["a", None, "", "a\0b", "\0"])
    lists = pa.array([["a"], None, ["", None, "\0", "\0"], [], ["a"]])
    labels = pa.table({"x": texts, "fine": texts.take([0, 1, 2, 0, 1]), "y": lists, "z": pa.array([b"\0"] * 5)})
    labels = pa.concat_tables([labels.slice(0, 1).take([0] * 131_072).combine_chunks(), labels])
    with pytest.raises(LabelError) as caught:
        warehouse.attach(labels)
    assert [problem.what for problem in caught.value.problems] == [
        f"label column '{name}' has a zero character (U+0000) in row {rows} (rows are counted from 0), "
        "which PostgreSQL's text can't hold"
        for name, rows in (("x", "131075, 131076"), ("y", "131074"))
    ]


def test_a_csv_means_what_it_means_on_duckdb(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text('k;n;t\n007;;2024-01-01\n"a;""b""";5;\n')
    source = warehouse.attach(read_csv_labels(tmp_path / "labels.csv", keys={}, time="t"))
    midnight = datetime(2024, 1, 1, tzinfo=UTC)
    assert warehouse.rows(f"SELECT * FROM {source.sql}") == [
        ("007", None, "2024-01-01", midnight), ('a;"b"', "5", None, None),
    ]  # fmt: skip
    assert [(column.name, str(column.dtype)) for column in source.columns] == [
        ("k", "text"),
        ("n", "text"),
        ("t", "text"),
    ]
    assert {name: str(column.dtype) for name, column in source.parsed.items()} == {"t": "timestamptz"}
    typed = warehouse.attach(read_csv_labels(tmp_path / "labels.csv", keys={}, time=None, csv_types=True))
    assert [str(column.dtype) for column in typed.columns] == ["text", "int64", "date"]


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_hold_the_rows_under_their_full_names(warehouse: PostgresWarehouse, tmp_path: Path) -> None:
    query = "SELECT 1::int AS a, NULL::text AS b, ''::text AS c, true AS d, 0.1::float8 AS e, ARRAY['x,y'] AS f"
    names = ["a" * 80, "b", "c", "d", "e", "f"]
    assert warehouse.write_file(query, tmp_path / "x.parquet", "parquet", names=names) == 1
    assert pq.read_table(tmp_path / "x.parquet").column_names == names
    assert warehouse.write_file(query, tmp_path / "x.csv", "csv", names=names) == 1
    assert (tmp_path / "x.csv").read_text() == ",".join(names) + '\n1,,"",true,0.1,"{""x,y""}"\n'
    text = table(warehouse, warehouse.as_text(query, ["e", "f"]))
    assert text.select(["e", "f"]).to_pylist() == [{"e": "0.1", "f": '{"x,y"}'}]


def test_long_names_are_cut_alike_and_stay_apart() -> None:
    names = [f"{'view' * 20}__{feature}" for feature in ("a", "b")]
    assert len({truncate_identifier(name) for name in names}) == 2
    assert all(len(truncate_identifier(name).encode()) <= 63 for name in (*names, "ü" * 60))
    assert truncate_identifier("short") == "short"


# --- connections -----------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_said_without_it(postgres_server: Server) -> None:
    for wrong in ({"password": "s3cret' x"}, {"port": 1, "connect_timeout": 2}):
        with pytest.raises(WarehouseError) as caught:
            session(postgres_server, "public", **wrong)
        said = str(caught.value)
        assert "can't be reached" in said
        assert "s3cret" not in said
        assert postgres_server.password not in said
        assert caught.value.__cause__ is None


def test_the_profile_says_role_and_search_path(postgres_server: Server, warehouse: PostgresWarehouse) -> None:
    warehouse.execute("DROP ROLE IF EXISTS analyst")
    warehouse.execute("CREATE ROLE analyst")
    other = session(postgres_server, "public", role="analyst", search_path='"some schema", pg_catalog')
    assert other.rows("SELECT current_user, current_setting('search_path'), current_setting('TimeZone')") == [
        ("analyst", '"some schema", pg_catalog', "UTC")
    ]
    other.close()
    aliased = postgres_server.target()
    aliased |= {"pass": aliased.pop("password"), "database": aliased.pop("dbname")}
    again = connect(aliased, root=Path.cwd())
    assert again.engine.startswith("postgres ")
    again.close()


def test_without_the_driver_it_is_said_what_to_install(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with pytest.raises(MissingDependency, match=r"pip install 'dbt-featurelayer\[postgres\]'"):
        session(postgres_server, "public")


def test_an_error_carries_its_sql(warehouse: PostgresWarehouse) -> None:
    with pytest.raises(WarehouseError, match=r'^PostgreSQL: relation "nosuch" does not exist$') as caught:
        warehouse.rows("SELECT * FROM nosuch")
    assert caught.value.sql == "SELECT * FROM nosuch"


# --- transactions ----------------------------------------------------------------------------------------------------


def test_what_fails_inside_leaves_nothing_and_lets_others_in(
    postgres_server: Server, warehouse: PostgresWarehouse
) -> None:
    warehouse.execute("CREATE TABLE IF NOT EXISTS kept (x int)")
    warehouse.execute("TRUNCATE kept")

    def fail(query: str) -> None:
        with warehouse.transaction():
            warehouse.execute("INSERT INTO kept VALUES (1)")
            warehouse.execute(query)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail("INSERT INTO kept VALUES (3)")
    with pytest.raises(WarehouseError, match="division by zero"):
        fail("INSERT INTO kept VALUES (1 / 0)")
    other = session(postgres_server, "public")
    with other.transaction():
        other.execute("INSERT INTO kept VALUES (2)")
    assert warehouse.rows("SELECT x FROM kept") == [(2,)]
    other.close()


def test_one_writes_and_the_other_waits_and_then_sees_it(postgres_server: Server, warehouse: PostgresWarehouse) -> None:
    warehouse.execute("CREATE TABLE IF NOT EXISTS counted (x int)")
    warehouse.execute("TRUNCATE counted")
    # Connected before: a slow connection would look like one that waits.
    other, asked, seen = session(postgres_server, "public"), threading.Event(), list[int]()

    def second() -> None:
        other.rows("SELECT 1")
        asked.set()
        with other.transaction():
            seen.append(other.rows("SELECT count(*) FROM counted")[0][0])

    thread = threading.Thread(target=second)
    with warehouse.transaction():
        thread.start()
        assert asked.wait(30)
        thread.join(0.5)
        warehouse.execute("INSERT INTO counted VALUES (1)")
        assert thread.is_alive()
        assert seen == []
    thread.join()
    other.close()
    assert seen == [1]


def test_whoever_waits_too_long_is_told_for_whom(postgres_server: Server, warehouse: PostgresWarehouse) -> None:
    impatient = session(postgres_server, "public")
    impatient._wait *= 0
    with warehouse.transaction():
        with pytest.raises(WarehouseError, match="another command is writing exports to schema public"):
            impatient.transaction().__enter__()
        elsewhere = session(postgres_server, "another schema")
        with elsewhere.transaction():
            pass
        elsewhere.close()
    impatient.close()


# --- interruptions ---------------------------------------------------------------------------------------------------

SLEEPER = """
import json, sys
from pathlib import Path
from featurelayer.warehouse.engines.postgres.warehouse import connect
warehouse = connect(json.loads(sys.argv[1]), root=Path.cwd())
warehouse.execute("CREATE TEMP TABLE left_over AS SELECT 1 AS x")
print("ready", flush=True)
try:
    warehouse.execute("CREATE TEMP TABLE slow AS SELECT 1 AS x, pg_sleep(60)::text /* the long one */")
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(3)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_session_ends_its_query_and_its_tables(
    postgres_server: Server, warehouse: PostgresWarehouse, how: signal.Signals
) -> None:
    import json

    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%the long one%' AND pid <> pg_backend_pid()"
    tables = "SELECT count(*) FROM pg_class WHERE relname = 'left_over'"
    command = [sys.executable, "-c", SLEEPER, json.dumps(postgres_server.target())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    until = time.monotonic() + 20
    while not warehouse.rows(f"{running} AND state = 'active'")[0][0]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert warehouse.rows(tables) == [(1,)]
    process.send_signal(how)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == ((3, "interrupted\n") if how is signal.SIGINT else (-signal.SIGKILL, ""))
    until = time.monotonic() + 40
    while warehouse.rows(f"{running} AND state = 'active'")[0][0] or warehouse.rows(tables)[0][0]:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_types_of_ours_are_types_of_its(warehouse: PostgresWarehouse) -> None:
    """What the dialect calls a type is what the catalog calls it."""
    from featurelayer.sql.dialects.postgres import DIALECT

    names = ["bool", "int16", "int32", "int64", "float32", "float64", "decimal(18,4)", "text", "bytes", "date", "time",
             "timestamp", "timestamptz", "uuid", "json", "interval", "array<text>", "array<decimal(4,2)>"]  # fmt: skip
    columns = ", ".join(f"c{place} {DIALECT.type_text(DType.parse(name))}" for place, name in enumerate(names))
    warehouse.execute(f"CREATE TEMP TABLE typed ({columns})")
    assert [str(column.dtype) for column in warehouse.describe("pg_temp.typed")] == names


def test_a_query_that_reaches_the_roles_limit_is_no_ctrl_c(
    postgres_server: Server, warehouse: PostgresWarehouse
) -> None:
    warehouse.execute("DROP ROLE IF EXISTS limited")
    warehouse.execute("CREATE ROLE limited LOGIN SUPERUSER PASSWORD 'x'")
    warehouse.execute("ALTER ROLE limited SET statement_timeout = '300ms'")
    limited = session(postgres_server, "public", user="limited", password="x")
    with pytest.raises(WarehouseError, match="statement timeout"):
        limited.rows("SELECT pg_sleep(10)::text")
    limited.close()


def test_a_database_in_another_encoding_is_refused(postgres_server: Server, warehouse: PostgresWarehouse) -> None:
    warehouse.execute("DROP DATABASE IF EXISTS latin")
    locale = "LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc" if _has_providers(warehouse) else "LOCALE 'C'"
    warehouse.execute(f"CREATE DATABASE latin ENCODING 'LATIN1' {locale} TEMPLATE template0")
    with pytest.raises(WarehouseError, match="the database's encoding is not UTF8"):
        session(postgres_server, "public", dbname="latin")


def _has_providers(warehouse: PostgresWarehouse) -> bool:
    return int(warehouse.rows("SHOW server_version_num")[0][0]) >= 150_000


def test_a_missing_schema_is_made_where_something_is_to_be_written(
    postgres_server: Server, warehouse: PostgresWarehouse
) -> None:
    there = "SELECT nspname FROM pg_namespace WHERE nspname = 'made ''for us'"
    session(postgres_server, "made 'for us").close()
    assert warehouse.rows(there) == []
    try:
        for _ in range(2):
            connect(postgres_server.target("made 'for us"), root=Path.cwd(), writable=True).close()
        assert warehouse.rows(there) == [("made 'for us",)]
        # A role that may use the schema and not create one goes on.
        warehouse.execute("CREATE ROLE makes_no_schema")
        target = postgres_server.target("made 'for us", role="makes_no_schema")
        connect(target, root=Path.cwd(), writable=True).close()
        with pytest.raises(WarehouseError, match="permission denied"):
            connect(target | {"schema": "another"}, root=Path.cwd(), writable=True)
    finally:
        warehouse.execute('DROP SCHEMA IF EXISTS "made \'for us" CASCADE')
        warehouse.execute("DROP ROLE IF EXISTS makes_no_schema")
