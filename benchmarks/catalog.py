"""How long a catalog of 5,000 features takes and how large it is, with everything that can be known of a feature.

    python benchmarks/catalog.py [features]

Prints seconds of processor time and megabytes. The claims: 5,000 features under 20 seconds and 30 MB, and no page of a
feature above 200 KB.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from featurelayer.catalog import CatalogInput, FeatureLineage, Origin, SiteOptions, write_site
from featurelayer.catalog.pages import site_files
from featurelayer.dbt.inventory import Model
from featurelayer.model import (
    DType,
    Entity,
    Feature,
    FeatureService,
    FeatureView,
    Finding,
    JoinKey,
    Key,
    Owner,
    ServiceView,
    Severity,
)
from featurelayer.monitor_records import Profile, ProfileScope
from featurelayer.registry import Registry

PER_VIEW = 50
PERIODS = 12
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ("orders", "amount", "returns", "visits", "latency", "errors", "balance", "payments", "clicks", "minutes")
WINDOWS = ("1h", "6h", "1d", "7d", "28d")


def feature(number: int) -> Feature:
    """A feature with a description and a unit."""
    word, window = WORDS[number % 10], WINDOWS[number // 10 % 5]
    return Feature(
        name=f"{word}_mean_{window}_{number}",
        dtype=DType.parse("float64"),
        description=f"Mean {word} of the customer in the {window} before, number {number} of its kind.",
        unit=word,
        tags=(word,),
        range=(0, 1000),
    )


def view(number: int, features: int) -> FeatureView:
    """A view of an entity."""
    found = tuple(feature(number * PER_VIEW + each) for each in range(features))
    key = DType.parse("text")
    columns = (("customer_id", key), ("happened_at", DType.parse("timestamp")), *((f.name, f.dtype) for f in found))
    return FeatureView(
        name=f"customer_facts_{number}",
        unique_id=f"model.shop.customer_facts_{number}",
        relation_name=f'"shop"."main"."customer_facts_{number}"',
        entities=("customer",),
        join_keys=(JoinKey(column="customer_id", entity="customer", key="customer_id", dtype=key),),
        features=found,
        columns=columns,
        event_time="happened_at",
        delay=timedelta(minutes=5),
        ttl=timedelta(days=30),
        online=True,
        update_frequency="hourly",
        description=f"What customers did, part {number}.",
        owner=Owner(name=f"Team {number % 12}", email=f"team{number % 12}@example.com"),
        yaml_path=f"models/customer_facts_{number}.yml",
    )


def profiles(name: str, of: Feature, number: int) -> list[Profile]:
    """A year of profiles with a histogram of twenty bins."""
    edges = tuple(float(edge) for edge in range(0, 950, 50))
    return [
        Profile(
            view=name,
            feature=of.name,
            scope=ProfileScope.PERIOD if month else ProfileScope.BASELINE,
            source="",
            start=NOW - timedelta(days=30 * (PERIODS - month + 1)),
            end=NOW - timedelta(days=30 * (PERIODS - month)),
            profiled_at=NOW,
            run="r",
            rows=100_000,
            nulls=1000 + 17 * month,
            distinct=90_000,
            minimum=0.0,
            maximum=990.5,
            mean=100.5 + month + number % 7,
            shape_rows=100_000,
            edges=edges,
            counts=tuple(1000 + 37 * place * (month + 1) for place in range(len(edges) + 1)),
        )
        for month in range(PERIODS + 1)
    ]


def project(features: int) -> CatalogInput:
    """A project with lineage, findings and profiles of every feature."""
    views = [view(number, min(PER_VIEW, features - number * PER_VIEW)) for number in range(-(-features // PER_VIEW))]
    key = Key(name="customer_id", dtype=DType.parse("text"))
    services = {
        f"model_{number}": FeatureService(
            name=f"model_{number}",
            unique_id=f"exposure.shop.model_{number}",
            views=(
                ServiceView(
                    view=each.id,
                    prefix=each.prefix,
                    features=tuple(f.name for f in each.features),
                    keys=(("customer_id", "customer_id"),),
                ),
            ),
            request_keys=(key,),
            label_timestamp="asked_at",
        )
        for number, each in enumerate(views[::2])
    }
    everything = [(each, f) for each in views for f in each.features]
    return CatalogInput(
        registry=Registry(
            project="shop",
            adapter="duckdb",
            dbt_version="1.11.0",
            invocation_id="i",
            generated_at=NOW.isoformat(),
            manifest_hash="0" * 64,
            entities={"customer": Entity(name="customer", keys=(key,), description="Who buys.")},
            views={each.id: each for each in views},
            services=services,
        ),
        models={
            each.unique_id: Model(
                unique_id=each.unique_id,
                name=each.name,
                kind="model",
                depends_on=(f"model.shop.stg_{number}", "source.shop.raw.orders"),
                raw_sql="select * from {{ ref('stg') }}\n" * 20,
                compiled_sql="select * from stg\n" * 20,
            )
            for number, each in enumerate(views)
        },
        lineage={
            f"{each.id}.{f.name}": FeatureLineage(
                expression=f"AVG({f.unit}) OVER w",
                origins=(Origin(relation="raw.orders", column=f.unit), Origin(relation="raw.orders", column="at")),
                through=("stg_orders",),
                fingerprint=f.name,
            )
            for each, f in everything
        },
        findings=tuple(
            Finding(
                code="FL401",
                severity=Severity.NOTE,
                message="its description could say more",
                name=f"{each.id}.{f.name}",
            )
            for each, f in everything[::10]
        ),
        profiles=tuple(p for number, (each, f) in enumerate(everything) for p in profiles(each.id, f, number)),
    )


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    given = project(asked)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        built = write_site(Path(folder, "site"), site_files(given, SiteOptions()))
        seconds = time.process_time() - start
        pages = [path.stat().st_size for path in Path(folder, "site", "feature").iterdir()]
    print(f"{asked:,} features: {seconds:.1f} s, {built.bytes / 1e6:.1f} MB in {built.files:,} files")
    print(f"largest page of a feature: {max(pages) / 1e3:.1f} KB")
    good = seconds < 20 * asked / 5000 and built.bytes < 30e6 * max(asked / 5000, 0.2) and max(pages) < 200e3
    print("as claimed" if good else "NOT as claimed")
