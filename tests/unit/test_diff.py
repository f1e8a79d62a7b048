"""Two manifests, feature by feature: every kind of change, whom it concerns, and what is no change at all."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurelayer.cli import main
from featurelayer.diff import Change, ChangeKind, DiffReport
from featurelayer.diff.formats import MARK, markdown, text_lines
from featurelayer.errors import MetadataError, PlanError
from featurelayer.layer import FeatureLayer
from featurelayer.model import Severity
from tests.unit import dbt_projects as made

RAW = "model.shop.raw"
SQL = {
    "raw": 'select tailnum, landed_at, delay, seats from "db"."src"."flights" where delay is not null',
    "legs": 'select tailnum, landed_at, delay as arr_delay, seats from "db"."main"."raw"',
}
Edit = Callable[[dict[str, Any]], None]


def manifest() -> dict[str, Any]:
    """A view `legs` of two features over a model `raw`; the service `late` uses one of them."""
    legs = made.model(online=True, ttl="1 day", columns={"seats": made.column("bigint")})
    raw = made.model("raw", columns={"delay": made.column("double"), "seats": made.column("bigint")})
    raw["config"] = {"materialized": "table"}
    for column in raw["columns"].values():
        column |= {"config": {}, "meta": {}}
    legs["depends_on"], raw["depends_on"] = {"nodes": [RAW]}, {"nodes": []}
    document = made.manifest(legs, raw, exposures=(made.exposure("legs.arr_delay", label_timestamp="at"),))
    for name, sql in SQL.items():
        set_sql(document, name, sql)
    return document


def set_sql(document: dict[str, Any], name: str, sql: str) -> None:
    document["nodes"][f"model.shop.{name}"] |= {"compiled_code": sql, "language": "sql", "checksum": checksum(sql)}


def checksum(text: str) -> dict[str, str]:
    return {"name": "sha256", "checksum": str(hash(text))}


def block(document: dict[str, Any], name: str = "legs") -> dict[str, Any]:
    return document["nodes"][f"model.shop.{name}"]["config"]["meta"]["featurelayer"]


def column(document: dict[str, Any], name: str) -> dict[str, Any]:
    return document["nodes"]["model.shop.legs"]["columns"][name]


@pytest.fixture
def diff(tmp_path: Path) -> Callable[..., DiffReport]:
    """Return what an edit of the manifest amounts to; `before` edits the state that it is compared with."""

    def found(edit: Edit, before: Edit = lambda _document: None) -> DiffReport:
        then, now = manifest(), manifest()
        before(then)
        edit(now)
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "state" / "manifest.json").write_text(json.dumps(then))
        made.project(tmp_path, now)
        return FeatureLayer(tmp_path).diff(tmp_path / "state")

    return found


def told(report: DiffReport) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(str(change.kind), str(change.severity), change.names) for change in report.changes]


def only(report: DiffReport) -> Change:
    (change,) = report.changes
    return change


# --- no change ---------------------------------------------------------------


def test_the_same_manifest_has_no_changes(diff):
    assert diff(lambda _document: None) == DiffReport()


def test_another_schema_is_no_change(diff):
    def elsewhere(document):
        text = json.dumps(document).replace('\\"main\\"', '\\"pr_42\\"').replace('\\"db\\".', '\\"ci\\".')
        document.clear()
        document.update(json.loads(text))

    def sources(document):
        document["sources"] = {"source.shop.src.flights": {
            "unique_id": "source.shop.src.flights", "name": "flights", "source_name": "src",
            "relation_name": '"db"."src"."flights"', "resource_type": "source",
        }}  # fmt: skip
        document["nodes"][RAW]["depends_on"] = {"nodes": ["source.shop.src.flights"]}

    def both(document):
        sources(document)
        elsewhere(document)

    assert diff(both, sources).changes == ()


def test_a_model_that_only_one_side_has_compiled_is_compared_by_its_file(diff):
    """CI builds some models and compiles all of the branch it goes to."""

    def partly(document):
        for node in document["nodes"].values():
            if node["resource_type"] == "model":
                node["compiled_code"] = None

    assert told(diff(partly)) == []
    assert told(diff(lambda _document: None, before=partly)) == []


def test_an_incremental_model_is_compiled_in_two_ways(diff):
    def first(document):
        document["nodes"]["model.shop.legs"]["config"]["materialized"] = "incremental"
        document["nodes"]["model.shop.legs"]["checksum"] = {"name": "sha256", "checksum": "same"}

    def later(document):
        first(document)
        document["nodes"]["model.shop.legs"]["compiled_code"] += " where landed_at > (select max(landed_at) from legs)"

    assert diff(later, first).changes == ()


# --- features ----------------------------------------------------------------


def test_a_feature_that_a_service_uses_is_removed(diff):
    def edit(document):
        del document["nodes"]["model.shop.legs"]["columns"]["arr_delay"]
        document["exposures"]["exposure.shop.late"]["config"]["meta"]["featurelayer"]["features"] = ["legs.seats"]

    report = diff(edit)
    first = report.changes[0]
    assert (first.kind, first.severity, first.names) == (ChangeKind.REMOVED, Severity.ERROR, ("legs.arr_delay",))
    assert (first.services, first.online) == (("late",), "legs@0")
    # That the service lacks it is told once.
    assert told(report)[1:] == [("added", "note", ("late",))]


def test_a_feature_that_nobody_uses_is_removed_and_another_added(diff):
    def edit(document):
        columns = document["nodes"]["model.shop.legs"]["columns"]
        columns["chairs"] = columns.pop("seats") | {"name": "chairs"}

    assert told(diff(edit)) == [("removed", "warning", ("legs.seats",)), ("added", "note", ("legs.chairs",))]
    assert diff(edit).breaking == ()


@pytest.mark.parametrize(("name", "severity"), [("arr_delay", "error"), ("seats", "warning")])
def test_another_type(diff, name, severity):
    change = only(diff(lambda document: column(document, name).update(data_type="varchar")))
    assert (change.kind, str(change.severity), change.names) == (ChangeKind.RETYPED, severity, (f"legs.{name}",))
    assert change.details[0].endswith("-> text")


def test_another_computation(diff):
    edited = SQL["legs"].replace("delay as arr_delay", "delay / 60 as arr_delay")
    report = diff(lambda document: set_sql(document, "legs", edited))
    change = only(report)  # and nothing of the other feature
    assert (change.kind, change.severity, change.names) == (ChangeKind.MEANING, Severity.ERROR, ("legs.arr_delay",))
    assert "delay / 60" in change.details[0]
    assert "new version" in change.fix


def test_other_rows_are_another_meaning_of_every_feature(diff):
    edited = f"{SQL['legs']} where seats > 9"
    change = only(diff(lambda document: set_sql(document, "legs", edited)))
    assert (change.kind, change.names) == (ChangeKind.MEANING, ("legs.arr_delay", "legs.seats"))
    assert any("seats > 9" in detail for detail in change.details)


def test_a_model_above_that_changed_is_named(diff):
    edited = SQL["raw"].replace("is not null", "> 0")
    change = only(diff(lambda document: set_sql(document, "raw", edited)))
    assert (change.kind, change.severity) == (ChangeKind.UPSTREAM, Severity.ERROR)
    assert change.names == ("legs.arr_delay", "legs.seats")
    assert change.details[0] == "by raw"


def test_what_is_not_online_is_a_warning(diff):
    def offline(document):
        block(document).pop("online")

    def edit(document):
        offline(document)
        set_sql(document, "legs", f"{SQL['legs']} where seats > 9")

    report = diff(edit, offline)
    assert told(report) == [("meaning changed", "warning", ("legs.arr_delay", "legs.seats"))]


def test_other_words_are_cosmetic(diff):
    edited = 'with x as (select seats, tailnum, landed_at, delay as d from "db"."main"."raw") -- the legs\n' \
             "select tailnum, landed_at, d as arr_delay, seats from x"  # fmt: skip
    change = only(diff(lambda document: set_sql(document, "legs", edited)))
    assert (change.kind, change.severity) == (ChangeKind.COSMETIC, Severity.NOTE)
    assert change.names == ("legs.arr_delay", "legs.seats")


@pytest.mark.parametrize("sql", ["", "select from where ((("])
def test_what_can_not_be_told_is_said(diff, sql):
    change = diff(lambda document: set_sql(document, "legs", sql)).changes[0]
    assert (change.kind, change.severity) == (ChangeKind.UNKNOWN, Severity.WARNING)
    assert ("dbt compile" in change.fix) == (not sql)
    assert ("FL220" in change.fix) == bool(sql)


@pytest.mark.parametrize(
    ("key", "value", "detail"),
    [
        ("ttl", "2 days", "ttl: 1 day -> 2 days"),
        ("delay", "1 hour", "delay: none -> 1 hour"),
        ("bound", "exclusive", "bound: inclusive -> exclusive"),
    ],
)
def test_rules_that_decide_which_row_wins_are_meaning(diff, key, value, detail):
    change = only(diff(lambda document: block(document).update({key: value})))
    assert (change.kind, change.severity, change.details) == (ChangeKind.MEANING, Severity.ERROR, (detail,))


def test_a_default_is_meaning(diff):
    def edit(document):
        column(document, "arr_delay")["config"] = {"meta": {"featurelayer": {"default": 0}}}

    change = only(diff(edit))
    assert (change.kind, change.names, change.details) == (
        ChangeKind.MEANING,
        ("legs.arr_delay",),
        ("default: none -> 0.0",),
    )


def test_words_about_a_feature_are_metadata(diff):
    def edit(document):
        column(document, "seats")["description"] = "How many."
        block(document)["update_frequency"] = "hourly"

    report = diff(edit)
    assert told(report) == [("metadata", "note", ("legs",)), ("metadata", "note", ("legs.seats",))]
    assert report.changes[1].details == ("description: none -> How many.",)


def test_a_view_that_is_no_longer_online(diff):
    report = diff(lambda document: block(document).pop("online"))
    assert told(report) == [("removed", "error", ("legs.arr_delay",)), ("removed", "warning", ("legs.seats",))]
    assert report.changes[0].details == ("no longer online",)


def test_a_new_version_breaks_nobody(diff):
    def versions(*numbers):
        def edit(document):
            legs = document["nodes"].pop("model.shop.legs")
            for number in numbers:
                node = copy.deepcopy(legs) | {
                    "unique_id": f"model.shop.legs.v{number}",
                    "version": number,
                    "latest_version": 1,
                    "relation_name": f'"db"."main"."legs_v{number}"',
                }
                node["compiled_code"] += f" where seats > {number}"
                document["nodes"][node["unique_id"]] = node
            document["exposures"]["exposure.shop.late"]["depends_on"] = {"nodes": ["model.shop.legs.v1"]}

        return edit  # fmt: skip

    report = diff(versions(1, 2), versions(1))
    assert told(report) == [("added", "note", ("legs.v2.arr_delay", "legs.v2.seats"))]


# --- services ----------------------------------------------------------------


def late(document: dict[str, Any]) -> dict[str, Any]:
    return document["exposures"]["exposure.shop.late"]["config"]["meta"]["featurelayer"]


def test_services_that_go_and_come(diff):
    def edit(document):
        exposure = document["exposures"].pop("exposure.shop.late")
        document["exposures"]["exposure.shop.later"] = exposure | {"name": "later", "unique_id": "exposure.shop.later"}

    assert told(diff(edit)) == [("removed", "error", ("late",)), ("added", "note", ("later",))]


def test_a_service_that_gives_less_or_more(diff):
    def more(document):
        late(document)["features"] = ["legs.arr_delay", "legs.seats"]

    assert told(diff(more)) == [("added", "note", ("late",))]
    report = diff(lambda _document: None, more)
    assert told(report) == [("removed", "error", ("late",))]
    assert report.changes[0].details == ("it no longer has legs__seats",)
    assert told(diff(lambda d: late(d).update(features=["legs.seats", "legs.arr_delay"]), more)) == [
        ("metadata", "warning", ("late",))
    ]


def test_a_service_that_asks_for_another_key(diff):
    def edit(document):
        late(document)["features"] = [{"view": "legs", "keys": {"tailnum": "plane"}, "features": ["arr_delay"]}]

    report = diff(edit)
    assert {kind for kind, severity, _ in told(report) if severity == "error"} == {"retyped", "meaning changed"}


# --- the command -------------------------------------------------------------


def command(tmp_path: Path, *arguments: str) -> int:
    return main(["diff", "--project-dir", str(tmp_path), "--state", str(tmp_path / "state"), *arguments])


def test_the_command_exits_with_1_if_something_breaks(diff, tmp_path, capsys):
    diff(lambda document: set_sql(document, "legs", f"{SQL['legs']} where seats > 9"))
    assert command(tmp_path) == 1
    out = capsys.readouterr().out
    assert out.startswith("BREAKING  meaning changed: legs.arr_delay, legs.seats\n")
    assert "services late; " in out
    assert "online items legs@0" in out
    assert out.endswith("1 breaking, 0 other changes\n")
    assert command(tmp_path, "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["breaking"], report["changes"][0]["kind"]) == (1, "meaning changed")
    assert report["changes"][0]["features"] == ["legs.arr_delay", "legs.seats"]
    diff(lambda document: block(document).update(update_frequency="hourly"))
    assert command(tmp_path, "--format", "markdown") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{MARK}\n### Features: 0 breaking, 1 other change\n")
    assert not [path for path in (tmp_path / "state").iterdir() if path.name != "manifest.json"]


def test_nothing_changed_in_every_format(diff, tmp_path, capsys):
    report = diff(lambda _document: None)
    assert list(text_lines(report)) == ["No feature changed."]
    assert markdown(report) == f"{MARK}\n### Features: No feature changed.\n\n"
    assert command(tmp_path) == 0


def test_markdown_does_not_do_what_names_say():
    hostile = Change(kind=ChangeKind.METADATA, severity=Severity.NOTE, view="a|b`c", features=("f",), owner="@everyone",
                     details=("description: <img src=x> | [x](y) -> *b*\nnew line",))  # fmt: skip
    text = markdown(DiffReport(changes=(hostile,)))
    (row,) = (line for line in text.splitlines() if line.startswith("| note"))
    assert row.count("|") - row.count("\\|") == 8
    assert "<img" not in text
    assert "@everyone" not in text


def test_a_folder_without_a_manifest(diff, tmp_path):
    diff(lambda _document: None)
    with pytest.raises(PlanError, match=r"no manifest\.json to compare with"):
        FeatureLayer(tmp_path).diff(tmp_path / "nowhere")


def test_problems_of_the_other_state_do_no_harm(diff):
    def wrong(document):
        block(document)["tll"] = "1 day"

    report = diff(lambda _document: None, wrong)
    assert report.notes
    with pytest.raises(MetadataError):
        diff(wrong)


def test_the_state_may_bring_its_own_entities(diff, tmp_path):
    diff(lambda _document: None)
    (tmp_path / "state" / "featurelayer.yml").write_text("entities: {aircraft: {keys: {tailnum: varchar}}}\n")
    then = manifest()
    block(then)["entity"] = "aircraft"
    column(then, "tailnum")["config"] = {"meta": {"featurelayer": {"join_key": "aircraft"}}}
    (tmp_path / "state" / "manifest.json").write_text(json.dumps(then))
    report = FeatureLayer(tmp_path).diff(tmp_path / "state")
    assert report.notes == ()
    assert report.changes[0].details == ("keys: aircraft.tailnum = tailnum text -> plane.tailnum = tailnum text",)


# --- what is of the run --------------------------------------------------------


def ran(document: dict[str, Any], day: int, sql: str, raw: str = "") -> None:
    """The view's model as dbt compiled it on a day of January 2026."""
    started = f"2026-01-{day:02}T10:00:00.123456Z"
    document["metadata"] |= {
        "invocation_id": f"00000000-0000-0000-0000-0000000000{day:02}",
        "invocation_started_at": started,
        "generated_at": f"2026-01-{day:02}T10:00:05Z",
    }
    document["nodes"]["model.shop.legs"] |= {
        "compiled_code": sql,
        "raw_code": raw,
        "language": "sql",
        "checksum": {"name": "sha256", "checksum": "same"},
    }


OF_THE_RUN = {
    "a time": ("landed_at <= '{}'", ["2026-01-04 10:00:00.123456", "2026-01-05 10:00:00.123456"], "f()"),
    "a time with a zone": ("landed_at <= '{}+00:00'", ["2026-01-04T10:00:00.123456", "2026-01-05T10:00:00.123456"], ""),
    "a second": ("landed_at <= '{}'", ["2026-01-04 10:00:01", "2026-01-05 10:00:01"], "f()"),
    "a day": ("landed_at <= '{}'", ["2026-01-04", "2026-01-05"], "f()"),
    "a day without dashes": ("day <= '{}'", ["20260104", "20260105"], "f()"),
    "seconds since 1970": ("epoch(landed_at) <= {}", ["1767520801", "1767607201"], "f()"),
    "the invocation": ("seats <> '{}'", [f"00000000-0000-0000-0000-0000000000{day}" for day in ("04", "05")], "f()"),
    "days ago": ("landed_at > '{}'", ["2026-01-01", "2026-01-02"],
                 "landed_at > '{{ (run_started_at - modules.datetime.timedelta(days=3)).date() }}'"),
    "by a variable": ("landed_at > '{}'", ["2026-01-01", "2026-01-02"],
                      "{% set since = run_started_at.date() %} landed_at > '{{ since }}'"),
    "the target": ("seats <> 'of {}'", ["dev", "prod"], "seats <> 'of {{ target.name }}'"),
    "the environment": ("seats <> '{}-eu'", ["a", "b"], "seats <> '{{ env_var(\"TIER\") }}-eu'"),
    "a remark": ("seats > 1 -- as of {}\n", ["2026-01-04 10:00:01", "2026-01-05 10:00:01"], "f()"),
}  # fmt: skip


def compiled_on(day: int, condition: str, value: str, raw: str) -> Edit:
    sql = f"{SQL['legs']} where {condition.format(value)} and tailnum <> 'don''t'"
    return lambda document: ran(document, day, sql, raw)


@pytest.mark.parametrize(("condition", "values", "raw"), OF_THE_RUN.values(), ids=list(OF_THE_RUN))
def test_what_is_of_the_run_is_no_change(diff, condition, values, raw):
    before, after = (compiled_on(day, condition, value, raw) for day, value in zip((4, 5), values, strict=True))
    assert diff(after, before) == DiffReport()


SAID = {
    "a constant": ("landed_at <= '{}'", ["2026-01-04", "2026-01-05"], "landed_at <= '2026-01-04' or '2026-01-05'"),
    "another day": ("landed_at <= '{}'", ["2025-01-04", "2025-01-05"], "f()"),
    "a variable of the project": ("seats <> '{}'", ["a", "b"], "seats <> '{{ var(\"tier\") }}'"),
    "a variable beside the target": ("seats <> '{}'", ["dev.a", "prod.b"], "'{{ target.name }}.{{ var(\"tier\") }}'"),
    "another offset": ("landed_at > '{}'", ["2026-01-01", "2026-01-03"], "'{{ var(\"since\") }}'"),
    "a text of a macro": ("seats <> '{}'", ["a", "b"], "{{ f() }} '{{ target.name }}x'"),
}


@pytest.mark.parametrize(("condition", "values", "raw"), SAID.values(), ids=list(SAID))
def test_what_is_not_of_the_run_is_a_change(diff, condition, values, raw):
    before, after = (compiled_on(day, condition, value, raw) for day, value in zip((4, 5), values, strict=True))
    report = diff(after, before)
    assert only(report).kind is ChangeKind.MEANING


def test_a_model_that_can_not_be_followed_has_not_changed_with_the_run(diff):
    condition, values, raw = OF_THE_RUN["a time"]
    pivoted = "pivot x on k using sum(y) -- {}"
    before, after = (compiled_on(day, pivoted, value, raw) for day, value in zip((4, 5), values, strict=True))
    assert condition
    assert diff(after, before) == DiffReport()


def test_a_changed_model_above_that_can_not_be_followed_may_have_changed_what_is_below(diff):
    def pivoted(function):
        return lambda document: set_sql(document, "raw", f"select * from t pivot ({function}(x) for k in ('delay'))")

    change = only(diff(pivoted("max"), pivoted("sum")))
    assert (change.kind, change.names) == (ChangeKind.UNKNOWN, ("legs.arr_delay", "legs.seats"))
    assert change.details[0].startswith("raw changed with unknown effect")


def test_only_what_a_feature_depends_on_is_its_reason(diff):
    """The value of one, the rows of none: names inside were changed as well."""

    def written(factor, name):
        inner = f'select *, delay * {factor} as d from "db"."main"."raw"'
        outer = f"select {name}.tailnum, landed_at, {name}.d as arr_delay, seats from {name} where {name}.seats > 1"
        return lambda document: set_sql(document, "legs", f"with {name} as ({inner}) {outer}")

    change = only(diff(written(2, "other"), written(1, "one")))
    assert (change.kind, change.names) == (ChangeKind.MEANING, ("legs.arr_delay",))
    assert change.details == ("delay * 1 -> delay * 2",)


def test_a_named_window_that_changed_is_told_by_the_part_that_did(diff):
    def framed(days):
        window = f"partition by tailnum order by landed_at range interval {days} days preceding"
        sql = 'select tailnum, landed_at, sum(delay) over w as arr_delay, seats from "db"."main"."raw" window w as '
        sql += f"({window})"
        return lambda document: set_sql(document, "legs", sql)

    change = only(diff(framed(14), framed(7)))
    assert change.names == ("legs.arr_delay",)
    assert [re.sub("[^0-9>]", "", detail) for detail in change.details] == ["7>14"]


def test_aggregates_that_are_joined_by_their_key_are_no_reason_of_the_others(diff):
    """What is joined to the rows by `left join`, one for each, neither adds nor takes any."""

    def written(least, above):
        raw = '"db"."main"."raw"'
        sql = (
            f"with seats as (select tailnum, max(seats) as seats from {raw} where delay > {least} group by 1), "
            f"delays as (select tailnum, max(delay) as delay from {raw} where seats > {above} group by 1) "
            f"select r.tailnum, landed_at, d.delay as arr_delay, s.seats from {raw} r "
            "left join seats s on s.tailnum = r.tailnum left join delays d using (tailnum)"
        )
        return lambda document: set_sql(document, "legs", sql)

    change = only(diff(written(1, 2), written(1, 1)))
    assert (change.kind, change.names) == (ChangeKind.MEANING, ("legs.arr_delay",))
    assert change.details == ("no longer filter in delays: seats > 1", "now filter in delays: seats > 2")
    change = only(diff(written(2, 1), written(1, 1)))
    assert change.names == ("legs.seats",)
