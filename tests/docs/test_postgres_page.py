"""docs/postgres.md is followed to the letter on a server of its own, and says what the code does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from featurelayer.sql.dialects._postgres_probe import LABELS_PER_ROW
from featurelayer.warehouse.engines.postgres import session as ours
from tests.docs.pages import REPOSITORY, run, tables
from tests.docs.test_pages import README
from tests.postgres_projects import session
from tests.servers.postgres import USER, Server

PAGE = REPOSITORY / "docs" / "postgres.md"


@pytest.mark.slow
def test_the_page_works_as_written(postgres_server: Server, tmp_path: Path) -> None:
    shop = run(README, tmp_path)
    environment = {
        "SHOP_DB_HOST": "127.0.0.1", "SHOP_DB_PORT": str(postgres_server.port), "SHOP_DB_USER": USER,
        "SHOP_DB_PASSWORD": postgres_server.password,
    }  # fmt: skip
    settings = (shop / "featurelayer.yml").read_text()
    (shop / "featurelayer.yml").write_text(settings.split("online_store:")[0])
    run(PAGE, shop, environment)
    warehouse = session(postgres_server, "shop")
    assert warehouse.rows("SELECT count(*) FROM reorder_training") == [(4,)]
    warehouse.close()
    shutil.rmtree(shop)


def test_every_key_of_a_target_that_is_named_is_read() -> None:
    text = PAGE.read_text()
    read = {*ours._LIBPQ, "password", "pass", "dbname", "database", "schema", "role", "search_path", "application_name"}
    assert [key for key in sorted(read) if f"`{key}`" not in text] == []


def test_the_measurements_are_where_the_choice_is_made() -> None:
    rows, shapes = tables(PAGE, "Indexes")
    limit = float(LABELS_PER_ROW)
    for row in rows:
        cheaper = float(row["sorted / looked up"]) >= 1
        assert cheaper == (float(row["labels per row"]) <= limit)
    for row in shapes:
        assert float(row["0.01 labels per row"]) > 1 > float(row["1.0"]), "the limit lies between"
    assert "at most three labels to ten rows" in PAGE.read_text()
