"""Every named case of the kit, and random worlds, on a PostgreSQL server, in every form of the SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelayer.testing import ZONES, Case, applies, cases, check
from featurelayer.testing.postgres import FORMS, LACKS, PostgresEngine
from featurelayer.testing.strategies import worlds
from tests.profiles import examples
from tests.servers.postgres import Server

CASES = cases()
MODES = ("known_at", "event_time", "as_served")


@pytest.fixture(scope="module")
def engines(postgres_server: Server) -> Iterator[dict[str, PostgresEngine]]:
    found = {form: PostgresEngine(postgres_server.target(f"kit {form}"), form) for form in FORMS}
    yield found
    for engine in found.values():
        engine.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_in_every_form_and_zone(engines: dict[str, PostgresEngine], case: Case) -> None:
    if not applies(engines["portable"], case):
        pytest.skip(f"PostgreSQL has no {', '.join(LACKS)}")
    orders = (case, case.reordered(), case.reordered(seed=1))
    for (form, engine), order, zone in zip(engines.items(), orders, ZONES, strict=True):
        assert check(engine, replace(order, zone=zone)) == [], form


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
@settings(max_examples=examples(12))
def test_random_worlds_equal_the_oracle(engines: dict[str, PostgresEngine], mode: str, data: st.DataObject) -> None:
    case = data.draw(worlds(mode=mode))
    form = data.draw(st.sampled_from(list(FORMS)))
    if applies(engines[form], case):
        assert check(engines[form], case) == []
