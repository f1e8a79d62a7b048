"""Each check that needs no SQL finds what it should, and nothing in a project that is in order."""

from __future__ import annotations

import json

import pytest

from featurelayer.lint import all_checks, lint
from tests.unit.dbt_projects import column, version
from tests.unit.linting import ENTITIES, asked_tests, codes, data_test, described, service, view, write


def test_nothing_is_found_in_a_project_that_is_in_order(tmp_path):
    assert codes(tmp_path, exposures=(service(),)) == []


def with_tests(node, *, but="", more=()):
    return (node, *asked_tests(node["name"], but=but), *more)


def features(**columns):
    return with_tests(view(columns=columns))


def twins(first, second, **more):
    other = described(description="Another.", **more)
    return with_tests(view(columns={first: described(description="One thing."), second: other}))


def static(**more):
    """A static view, with `more` as of `view`."""
    node = view(
        static=True, delay=None, ttl=None, online=None, freshness=None, drop=("landed_at",),
        config={"event_time": None}, **more,
    )  # fmt: skip
    return with_tests(node)


SNAPSHOT = {"resource_type": "snapshot", "unique_id": "snapshot.shop.legs"}
MIXED = (
    *with_tests(view()),
    *with_tests(
        view(
            "zoned",
            columns={
                "landed_at": column("timestamptz"),
                "arr_delay": described(),
                "x": described(description="X of it."),
            },
        )
    ),
)
BOTH = {"depends_on": ("model.shop.legs", "model.shop.zoned")}

# code -> (nodes and keywords that it finds something in, the names that it says it of)
BAD = {
    "FL112": ({"nodes": with_tests(view(update_frequency=None))}, {"legs"}),
    "FL113": ({"nodes": features(arr_delay=described(unit=None))}, {"legs.arr_delay"}),
    "FL203": ({"nodes": with_tests(view(), but="unique_per_entity_and_time")}, {"legs"}),
    "FL204": ({"nodes": MIXED, "exposures": (service("legs.arr_delay", "zoned.x", **BOTH),)}, {"late"}),
    "FL207": ({"nodes": with_tests(view(), but="not_null")}, {"legs.tailnum", "legs.landed_at"}),
    "FL208": ({"nodes": with_tests(view(), but="event_time_not_in_future")}, {"legs"}),
    "FL209": (
        {"nodes": with_tests(view(delay=None, available_at="loaded_at", columns={"loaded_at": column("timestamp")}))},
        {"legs"},
    ),
    "FL230": ({"nodes": static(columns={"opened_at": column("timestamp")})}, {"legs"}),
    "FL301": ({"nodes": with_tests(view(config={"contract": {"enforced": False}}))}, {"legs"}),
    "FL302": (
        {
            "nodes": features(old=described(deprecated={"replaced_by": "arr_delay"}, description="Gone.")),
            "exposures": (service("legs.old"),),
        },
        {"late"},
    ),
    "FL305": ({"nodes": features(old=described(deprecated={}, description="Gone."))}, {"legs.old"}),
    "FL306": (
        {
            "nodes": features(
                a=described(deprecated={"replaced_by": "b"}, description="One."),
                b=described(deprecated={"replaced_by": "arr_delay"}, description="Two."),
            )
        },
        {"legs.a"},
    ),
    "FL401": (
        {
            "nodes": with_tests(view(config={"group": None})),
            "exposures": (service(node={"owner": None}),),
            "entities": {"plane": {**ENTITIES["plane"], "owner": {}}},
        },
        {"legs", "late", "plane"},
    ),
    "FL402": (
        {
            "nodes": with_tests(view(node={"description": ""})),
            "exposures": (service(node={"description": None}),),
            "entities": {"plane": {**ENTITIES["plane"], "description": ""}},
        },
        {"legs", "late", "plane"},
    ),
    "FL403": ({"nodes": features(arr_delay=described(description=""))}, {"legs.arr_delay"}),
    "FL404": ({"nodes": features(arr_delay=described(description="The arr_delay of the leg."))}, {"legs.arr_delay"}),
    "FL405": (
        {"nodes": features(gate=described("varchar", "Where it was."), dest=described("varchar", "Where it  WAS."))},
        {"legs.dest"},
    ),
    "FL501": ({"nodes": with_tests(view(ttl=None, config={"materialized": "view"}))}, {"legs"}),
    "FL503": ({"nodes": with_tests(view(freshness=None))}, {"legs"}),
    "FL504": (
        {
            "nodes": (*with_tests(view()), *with_tests(view("zoned", online=False))),
            "exposures": (service("legs.arr_delay", "zoned.arr_delay", **BOTH),),
        },
        {"late"},
    ),
    "FL505": ({"nodes": with_tests(view(ttl="1 hour"))}, {"legs"}),
    "FL506": ({"nodes": with_tests(view(on_stale="default"))}, {"legs.arr_delay"}),
    "FL611": ({"nodes": features(avg_delay_7d=described())}, {"legs.avg_delay_7d"}),
    "FL612": ({"nodes": twins("delay_mean_7d", "wait_avg_7d")}, {"legs.wait_avg_7d"}),
    "FL613": ({"nodes": twins("delay_mean_7d", "wait_mean_1w")}, {"legs.wait_mean_1w"}),
    "FL614": ({"nodes": twins("delay_mean_28d", "wait_mean_30d")}, {"legs.wait_mean_30d"}),
    "FL615": (
        {"nodes": features(delay_mean_30=described(), wait_mean_3m=described(description="W."))},
        {"legs.delay_mean_30", "legs.wait_mean_3m"},
    ),
    "FL616": ({"nodes": twins("delay_a", "delay_b", unit="mins")}, {"legs.delay_b"}),
    "FL617": (
        {
            "nodes": (
                *with_tests(view()),
                *with_tests(
                    view(
                        "zoned",
                        columns={
                            "arrival_delay": described(unit="seconds", description="Seconds late."),
                            "arr_delay": described(description="Late."),
                        },
                    )
                ),
            )
        },
        {"zoned.arrival_delay"},
    ),
    "FL618": ({"nodes": features(delay_seconds=described(unit="minutes"))}, {"legs.delay_seconds"}),
    "FL619": (
        {
            "nodes": features(tmp_x=described("boolean", "Whether so.")),
            "settings": {"naming": {"forbidden": ["tmp"], "required": {"bool": ["is"]}}},
        },
        {"legs.tmp_x"},
    ),
    "FL620": ({"nodes": twins("val_avg_30", "average_value_last_month")}, {"legs.average_value_last_month"}),
}


@pytest.mark.parametrize("code", BAD)
def test_a_check_finds_what_it_is_for(code, tmp_path):
    said, names = BAD[code]
    report = lint(
        write(tmp_path, *said["nodes"], **{key: value for key, value in said.items() if key != "nodes"}), checks=[code]
    )
    assert {found.name for found in report.findings} == names
    assert {found.code for found in report.findings} == {code}
    assert all(found.message and found.fix and found.file for found in report.findings)


def test_every_check_without_sql_has_an_example():
    ours = {code for code, item in all_checks().items() if item.run and not item.needs_sql}
    # in test_lint.py, with the checks of leakage, in test_columns.py and in test_lint_types.py
    elsewhere = {"FL104", "FL111"} | {"FL201"} | {"FL310"} | {"FL311"}
    assert ours - set(BAD) - elsewhere == set()


@pytest.mark.parametrize(
    ("column_type", "finds"),
    [({"signed_up_at": "TIMESTAMP"}, True), ({"joined": "DATE"}, True), ({"signed_up_at": "VARCHAR"}, False),
     ({"birth_date": "DATE"}, False), ({"expires_at": "TIMESTAMP"}, False), ({"seats": "INTEGER"}, False)],
)  # fmt: skip
def test_a_time_that_only_the_catalog_has_makes_a_static_view_doubtful(tmp_path, column_type, finds):
    project = write(tmp_path, *static())
    listed = {name: {"name": name, "type": text} for name, text in column_type.items()}
    (tmp_path / "target" / "catalog.json").write_text(json.dumps({"nodes": {"model.shop.legs": {"columns": listed}}}))
    found = [(hit.code, hit.message) for hit in lint(project, checks=["FL230"]).findings]
    (name,) = column_type
    assert found == ([("FL230", f"legs: it is static, and '{name}' is a time")] if finds else [])


def test_a_time_that_only_the_compiled_sql_has_makes_a_static_view_doubtful(tmp_path):
    sql = {"compiled_code": 'select tailnum, arr_delay, built_on, updated_at, due_date from "db"."main"."raw"'}
    (found,) = lint(write(tmp_path, *static(node=sql)), checks=["FL230"]).findings
    assert found.message == "legs: it is static, and 'built_on', 'updated_at' are times"
    assert "a dbt snapshot" in found.fix


# What looks like it and is in order.
GOOD = {
    "a view whose rows are unique on fewer columns": (
        "FL203",
        with_tests(view(), but="unique_per_entity_and_time", more=[data_test("legs", "unique", "tailnum")]),
    ),
    "a test of another package": (
        "FL203",
        with_tests(
            view(),
            but="unique_per_entity_and_time",
            more=[
                data_test(
                    "legs",
                    "dbt_utils.unique_combination_of_columns",
                    None,
                    combination_of_columns=["TAILNUM", "landed_at"],
                )
            ],
        ),
    ),
    "a primary key that DuckDB holds": (
        "FL2",
        with_tests(
            view(node={"constraints": [{"type": "primary_key", "columns": ["tailnum", "landed_at"]}]}),
            but="unique_per_entity_and_time",
        ),
    ),
    "a not-null constraint": (
        "FL207",
        with_tests(
            view(
                columns={
                    "landed_at": {**column("timestamp"), "constraints": [{"type": "not_null"}]},
                    "tailnum": {**column("varchar", join_key="plane"), "constraints": [{"type": "not_null"}]},
                }
            ),
            but="not_null",
        ),
    ),
    "a static view, which has no times": (
        "FL",
        (
            view(static=True, ttl=None, delay=None, freshness=None, drop=("landed_at",), config={"event_time": None}),
            data_test("legs", "unique", "tailnum"),
            data_test("legs", "not_null", "tailnum"),
        ),
    ),
    "a property that is called like an aggregate": (
        "FL6",
        features(max_speed=described(description="Its limit."), total_seats=described("integer", "Seats.")),
    ),
    "last, which is no window": (
        "FL6",
        features(
            last_delay_at=described("timestamp", "When it was late."),
            late_share=described(description="Of its legs.", unit="share"),
        ),
    ),
    "two windows of one kind": ("FL6", twins("delay_mean_7d", "delay_mean_28d")),
    "minutes that are no minimum": ("FL6", features(delay_min=described(description="Late by."))),
    "heights, not months": ("FL6", features(wind_10m=described(description="Ten metres up.", unit="mph"))),
    "one name in two views": ("FL6", (*with_tests(view()), *with_tests(view("other")))),
    "names alike of other entities": (
        "FL620",
        (
            *with_tests(view(columns={"val_avg_30d": described()})),
            *with_tests(
                view(
                    "fields",
                    entity="airport",
                    drop=("tailnum",),
                    columns={"airport": column("varchar", join_key="airport"), "average_value_30d": described()},
                )
            ),
        ),
    ),
    "a deprecated twin": ("FL6", twins("value_mean_30d", "val_mean_30d", deprecated={"replaced_by": "value_mean_30d"})),
    "versions of one model": (
        "FL6",
        (
            version(1, latest=2, columns={"delay_mean_7d": described()}),
            version(2, latest=2, columns={"delays_mean_7d": described()}),
        ),
    ),
    "country and county": ("FL620", twins("country", "county")),
    "a ratio of two windows": ("FL6", features(ratio_7d_28d=described(description="More of late?", unit="share"))),
    "a description that adds one word": ("FL404", features(arr_delay=described(description="Arr delay, landed legs."))),
    "snapshots, which have no contract": ("FL301", (view(node=SNAPSHOT, config={"contract": {}}),)),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_check_lets_be_what_is_in_order(case, tmp_path):
    family, nodes = GOOD[case]
    report = lint(write(tmp_path, *nodes), checks=[family])
    assert [(found.code, found.message) for found in report.findings] == []


def test_a_primary_key_that_the_warehouse_does_not_hold_is_no_test(tmp_path):
    key = {"constraints": [{"type": "primary_key", "columns": ["tailnum", "landed_at"]}]}
    nodes = with_tests(view(node=key), but="unique_per_entity_and_time")
    assert codes(tmp_path, *nodes, adapter="snowflake") == [("FL203", "legs")]


def test_a_disabled_test_holds_nothing(tmp_path):
    tests = [{**test, "config": {"enabled": False}} for test in asked_tests()]
    found = codes(tmp_path, view(), *tests, checks=("FL2",))
    assert {code for code, _ in found} == {"FL203", "FL207", "FL208"}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("delay_mean_7d", "wait_mean_7d", "gap_avg_7d"), "gap_mean_7d"),
        (("delay_avg_7d", "wait_avg_7d", "gap_mean_7d"), "gap_avg_7d"),
    ],
)
def test_the_word_that_most_names_have_is_the_one_to_use(names, wanted, tmp_path):
    columns = {name: described(description=name * 2) for name in names}
    (found,) = lint(write(tmp_path, *features(**columns)), checks=["FL612"]).findings
    assert wanted in found.fix


def test_the_words_of_featurelayer_yml_are_the_ones_to_use(tmp_path):
    naming = {"aggregates": {"avg": ["mean"]}, "windows": {"4w": ["28d"]}, "units": {"min": ["minutes"]}}
    project = write(tmp_path, *features(delay_mean_28d=described(description="Late.")), settings={"naming": naming})
    found = {finding.code: finding.fix for finding in lint(project, ["legs.delay_mean_28d"]).findings}
    assert found == {
        "FL612": "Rename it to 'delay_avg_4w'.",
        "FL613": "Rename it to 'delay_avg_4w'.",
        "FL616": "Write `unit: min`.",
    }


def test_another_grammar_is_another_order(tmp_path):
    settings = {"naming": {"grammar": "<aggregate>_<what>_<unit>_<window>"}}
    columns = {"mean_delay_minutes_7d": described(), "wait_mean_7d": described(description="Waited.")}
    (found,) = lint(write(tmp_path, *features(**columns), settings=settings), checks=["FL611"]).findings
    assert found.fix == "Rename it to 'mean_wait_7d'."
