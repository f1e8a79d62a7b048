"""Projects whose catalogs are looked at: an ordinary one, one that means harm, and a large one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from featurelayer.catalog import (
    CatalogInput,
    ExportRun,
    FeatureChange,
    FeatureLineage,
    Origin,
    SiteOptions,
    write_site,
)
from featurelayer.catalog.pages import site_files
from featurelayer.dbt.documentation import DocBlock, TestOutcome
from featurelayer.dbt.inventory import Model
from featurelayer.model import (
    Deprecation,
    DType,
    Entity,
    Feature,
    FeatureService,
    FeatureView,
    Finding,
    Freshness,
    JoinKey,
    Key,
    Owner,
    ServiceView,
    Severity,
)
from featurelayer.monitor_records import MonitorResult, MonitorStatus, Profile, ProfileScope
from featurelayer.registry import Registry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEXT, FLOAT, TIME = DType.parse("text"), DType.parse("float64"), DType.parse("timestamp")
# What would run, or leave its place, if any part of the site took a text for something else.
HARM = (
    "<script>harm()</script>",
    '"><img src=x onerror=harm()>',
    "</script><script>harm()</script>",
    "[click](javascript:harm())",
    "![x](https://example.com/seen.png)",
    "<svg onload=harm()>",
    "'; harm(); '",
    "{{ 7 * 7 }}",
    "<!-- ",
    "\u2028harm()",
)


def view(name: str, features: tuple[Feature, ...], **said: object) -> FeatureView:
    """A view of customers."""
    given = {
        "unique_id": f"model.shop.{name}",
        "relation_name": f'"shop"."main"."{name}"',
        "entities": ("customer",),
        "join_keys": (JoinKey(column="customer_id", entity="customer", key="customer_id", dtype=TEXT),),
        "columns": (("customer_id", TEXT), ("at", TIME), *((each.name, each.dtype) for each in features)),
        "event_time": "at",
        "delay": timedelta(minutes=5),
        "ttl": timedelta(days=30),
        "online": True,
        "update_frequency": "hourly",
        "freshness": Freshness(warn_after=timedelta(hours=2)),
        "description": f"What {name} knows of customers. More follows.",
        "owner": Owner(name="Growth", email="growth@example.com"),
        "yaml_path": f"models/{name}.yml",
        "depends_on": ("source.shop.raw.orders",),
        **said,
    }
    return FeatureView(name=name, features=features, **given)  # type: ignore[arg-type]


def feature(name: str, description: str = "", **said: object) -> Feature:
    """A number."""
    return Feature(name=name, dtype=FLOAT, description=description, **said)  # type: ignore[arg-type]


def registry(*views: FeatureView, services: tuple[FeatureService, ...] = (), **said: object) -> Registry:
    """The registry of a shop."""
    key = Key(name="customer_id", dtype=TEXT)
    customer = Entity(name="customer", keys=(key,), description="Who buys.", owner=Owner(name="Growth"))
    given = {
        "project": "shop",
        "adapter": "duckdb",
        "dbt_version": "1.11.0",
        "invocation_id": "i",
        "generated_at": NOW.isoformat(),
        "manifest_hash": "0" * 64,
        "entities": {"customer": customer},
        **said,
    }
    return Registry(
        views={each.id: each for each in views},
        services={each.name: each for each in services},
        **given,  # type: ignore[arg-type]
    )


def service(name: str, *views: FeatureView, **said: object) -> FeatureService:
    """A service with all features of some views."""
    joins = tuple(
        ServiceView(
            view=each.id,
            prefix=each.prefix,
            features=tuple(one.name for one in each.features),
            keys=(("customer_id", "customer_id"),),
        )
        for each in views
    )
    key = Key(name="customer_id", dtype=TEXT)
    given = {
        "unique_id": f"exposure.shop.{name}",
        "label_timestamp": "asked_at",
        "description": "Who buys again.",
        **said,
    }
    return FeatureService(name=name, views=joins, request_keys=(key,), **given)  # type: ignore[arg-type]


def profile(
    of: FeatureView, name: str, days_ago: int, scope: ProfileScope = ProfileScope.PERIOD, **said: object
) -> Profile:
    """A profile of a number with four bins."""
    given = {
        "rows": 1000,
        "nulls": 20 + days_ago,
        "distinct": 700,
        "minimum": 0.0,
        "maximum": 99.5,
        "mean": 40.0 + days_ago,
        "shape_rows": 1000,
        "edges": (10.0, 20.0, 50.0),
        "counts": (100, 400, 300, 180),
        **said,
    }
    return Profile(
        view=of.id,
        feature=name,
        scope=scope,
        source="",
        run="r",
        profiled_at=NOW,
        start=NOW - timedelta(days=days_ago + 1),
        end=NOW - timedelta(days=days_ago),
        **given,
    )  # type: ignore[arg-type]


def shop() -> CatalogInput:
    """A project of which everything is known."""
    orders = view(
        "orders",
        (
            feature(
                "amount_mean_7d",
                "Mean *amount* of orders in seven days.",
                unit="euros",
                tags=("money",),
                range=(0, 500),
            ),
            feature("returns_7d", "Orders sent back.", default=0, has_default=True),
            feature("old_amount", "Do not use.", deprecated=Deprecation(replaced_by="amount_mean_7d")),
            Feature(name="channel", dtype=TEXT, description="Where the newest order was placed."),
        ),
        tags=("core",),
    )
    visits = view(
        "visits",
        (feature("visits_7d", "Visits to the shop's site."), feature("amount_mean_7d", "The same, of visits.")),
        online=False,
        owner=Owner(),
        ttl=None,
    )
    facts = view("facts", (feature("age"),), static=True, event_time=None, delay=None, description="")
    reorder = service("reorder", orders)
    return CatalogInput(
        registry=registry(orders, visits, facts, services=(reorder, service("churn", orders, visits))),
        models={
            each.unique_id: Model(
                unique_id=each.unique_id,
                name=each.name,
                kind="model",
                depends_on=("model.shop.stg_orders",),
                raw_sql="select 1 -- raw",
                compiled_sql="select 1",
            )
            for each in (orders, visits, facts)
        }
        | {
            "model.shop.stg_orders": Model(
                unique_id="model.shop.stg_orders",
                name="stg_orders",
                kind="model",
                depends_on=("source.shop.raw.orders",),
            ),
            "source.shop.raw.orders": Model(unique_id="source.shop.raw.orders", name="raw.orders", kind="source"),
        },
        docs=(DocBlock(name="reorder_rate", package="shop", text="How often *somebody* buys again."),),
        tests=(
            TestOutcome(model=orders.unique_id, column="amount_mean_7d", name="not_null", status="pass"),
            TestOutcome(
                model=orders.unique_id, column="", name="unique_per_entity_and_time", status="fail", failures=3
            ),
        ),
        lineage={
            "orders.amount_mean_7d": FeatureLineage(
                expression="AVG(amount) OVER w",
                origins=(Origin(relation="raw.orders", column="amount"),),
                through=("stg_orders",),
                fingerprint="x",
            ),
            "visits.amount_mean_7d": FeatureLineage(fingerprint="x"),
        },
        findings=(
            Finding(
                code="FL401",
                severity=Severity.WARNING,
                message="it is not described",
                name="facts.age",
                fix="say what it is",
            ),
        ),
        profiles=(
            profile(orders, "amount_mean_7d", 40, ProfileScope.BASELINE, counts=(300, 300, 200, 180)),
            *(profile(orders, "amount_mean_7d", day) for day in (3, 2, 1, 0)),
            *(
                profile(orders, "channel", day, edges=(), counts=(), mean=None, top=(("web", 700), ("app", 250)))
                for day in (1, 0)
            ),
        ),
        monitors=(
            MonitorResult(
                view="orders",
                feature="amount_mean_7d",
                monitor="null_rate",
                metric="null rate",
                status=MonitorStatus.WARN,
                meaning="2.0% of 1,000 rows are NULL",
                checked_at=NOW,
            ),
            MonitorResult(
                view="orders",
                feature="",
                monitor="volume",
                metric="rows",
                status=MonitorStatus.PASS,
                meaning="1,000 rows",
                checked_at=NOW,
            ),
        ),
        exports=(
            ExportRun(
                view="orders",
                run="a1",
                store="sqlite:online.db",
                as_of=NOW,
                started_at=NOW,
                finished_at=NOW + timedelta(minutes=1),
                entities=1200,
                written=34,
                unchanged=1166,
                removed=0,
            ),
            ExportRun(
                view="orders", run="b2", store="sqlite:online.db", as_of=NOW, started_at=NOW + timedelta(hours=1)
            ),
        ),
        changes=(
            FeatureChange(
                kind="retyped", view="orders", feature="amount_mean_7d", message="int64 became float64", breaking=True
            ),
            FeatureChange(kind="removed", view="orders", feature="gone", message="it is gone"),
        ),
        newest={"orders": NOW},
    )


def bare() -> CatalogInput:
    """The same project, of which nothing but the annotations is known."""
    return CatalogInput(registry=shop().registry)


def hostile() -> CatalogInput:
    """A project whose every name and text would do harm if it could."""
    features = tuple(
        Feature(name=text, dtype=FLOAT, description=text, unit=text, tags=(text,), default=text, has_default=True)
        for text in HARM
    )
    views = [view("facts", features, description="\n\n".join(HARM), tags=HARM, update_frequency=HARM[0])]
    views += [view(text, (feature("one", text),), owner=Owner(name=text, email=text), yaml_path=text) for text in HARM]
    key = Key(name=HARM[0], dtype=TEXT)
    entities = {text: Entity(name=text, keys=(key,), description=text) for text in (*HARM, "customer")}
    given = registry(
        *views,
        services=tuple(service(text, views[0], description=text, maturity=text) for text in HARM),
        entities=entities,
        project=HARM[0],
    )
    everything = [f"{each.id}.{one.name}" for each in views for one in each.features]
    return CatalogInput(
        registry=given,
        models={
            each.unique_id: Model(
                unique_id=each.unique_id,
                name=each.name,
                kind="model",
                raw_sql="\n".join(HARM),
                compiled_sql=HARM[2],
                depends_on=tuple(f"source.shop.{text}" for text in HARM),
            )
            for each in views
        },
        docs=tuple(DocBlock(name=text, package="shop", text=text) for text in HARM),
        tests=tuple(
            TestOutcome(model=views[0].unique_id, column=text, name=text, description=text, status=text)
            for text in HARM
        ),
        lineage={
            name: FeatureLineage(
                expression=HARM[2],
                origins=tuple(Origin(relation=text, column=text) for text in HARM),
                through=HARM,
                note=HARM[0],
            )
            for name in everything
        },
        findings=tuple(
            Finding(code="FL1", severity=Severity.ERROR, message=text, name=everything[0], fix=text) for text in HARM
        ),
        profiles=tuple(
            profile(views[0], text, 0, edges=(), counts=(), top=tuple((each, 9) for each in HARM)) for text in HARM
        ),
        monitors=tuple(
            MonitorResult(
                view="facts", feature=text, monitor=text, metric=text, status=MonitorStatus.WARN, meaning=text
            )
            for text in HARM
        ),
        exports=tuple(ExportRun(view=text, run=text, store=text, as_of=NOW, started_at=NOW) for text in HARM),
        changes=tuple(FeatureChange(kind=text, view=text, feature=text, message=text) for text in HARM),
    )


def large(views: int = 100, features: int = 50, models: int = 420) -> CatalogInput:
    """A project of 5,000 features and a graph of more than 500 nodes."""
    words = ("orders", "amount", "returns", "visits", "latency", "errors", "balance", "payments", "clicks", "minutes")
    found = [
        view(
            f"customer_{words[number % 10]}_{number}",
            tuple(
                feature(
                    f"{words[each % 10]}_mean_{each}d",
                    f"Mean {words[each % 10]} of {each} days.",
                    tags=(words[each % 10],),
                )
                for each in range(features)
            ),
            owner=Owner(name=f"Team {number % 9}"),
        )
        for number in range(views)
    ]
    staging = [
        Model(
            unique_id=f"model.shop.stg_{number}",
            name=f"stg_{words[number % 10]}_{number}",
            kind="model",
            depends_on=(f"model.shop.stg_{number // 3}",) if number > 2 else ("source.shop.raw.orders",),
        )
        for number in range(models)
    ]
    tops = {
        each.unique_id: Model(
            unique_id=each.unique_id,
            name=each.name,
            kind="model",
            depends_on=tuple(f"model.shop.stg_{(number * 7 + step * 31) % models}" for step in range(6)),
        )
        for number, each in enumerate(found)
    }
    return CatalogInput(
        registry=registry(
            *found, services=tuple(service(f"model_{number}", each) for number, each in enumerate(found[:20]))
        ),
        models={**tops, **{each.unique_id: each for each in staging}},
    )


def built(given: CatalogInput, folder: Path, look: SiteOptions | None = None) -> Path:
    """Write the site and return its folder."""
    return write_site(folder, site_files(given, look or SiteOptions(title="Shop"))).folder


class Links(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.to: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.to += [value for name in ("href", "src", "data-load") if (value := given.get(name))]
        if given.get("id"):
            self.ids.add(given["id"] or "")


def dead_links(folder: Path) -> list[str]:
    """Return every link of the site that leads nowhere, as `page -> link`."""
    pages = {
        path.relative_to(folder).as_posix(): Links(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")
    }
    nodes = json.loads(
        (folder / "data/lineage.js").read_text(encoding="utf-8").partition("=")[2].partition("=")[2].rstrip(";\n")
    )
    ids = {row[3] for row in nodes["nodes"]}
    dead = []
    for page, links in pages.items():
        for link in links.to:
            if link.startswith(("https://", "http://", "mailto:")):
                continue
            path, _, anchor = link.partition("#")
            root = folder if path.startswith("data/") else (folder / page).parent
            target = (root / unquote(path)).resolve() if path else folder / page
            name = target.relative_to(folder.resolve()).as_posix() if target.is_relative_to(folder.resolve()) else ""
            alive = target.is_file()
            if alive and anchor and name == "lineage.html":
                alive = unquote(anchor) in ids | pages[name].ids
            elif alive and anchor and name != "features.html":
                alive = unquote(anchor) in pages[name].ids
            if not alive:
                dead.append(f"{page} -> {link}")
    return dead
