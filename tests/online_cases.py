"""A small service for the tests of serving: a plane's legs (TTL one day) and the static facts of planes."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from featurelayer.model import DType, Feature, FeatureService, FeatureView, JoinKey, Key, ServiceView

TEXT, INT64, FLOAT64 = DType.parse("text"), DType.parse("int64"), DType.parse("float64")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def feature(name: str, dtype: str, **more) -> Feature:
    return Feature(name=name, dtype=DType.parse(dtype), **more)


def view(name: str, *features: Feature, keys: dict[str, str] | None = None, entities=("plane",), **more) -> FeatureView:
    join_keys = tuple(
        JoinKey(column=column, entity=entities[0], key=column, dtype=DType.parse(dtype))
        for column, dtype in (keys or {"tailnum": "text"}).items()
    )
    columns = tuple((key.column, key.dtype) for key in join_keys) + tuple((each.name, each.dtype) for each in features)
    return FeatureView(
        name=name, unique_id=f"model.demo.{name}", relation_name=f'"demo"."{name}"', entities=entities,
        join_keys=join_keys, features=features, columns=columns, **more,
    )  # fmt: skip


PLANE_LEGS = view(
    "plane_legs", feature("arr_delay", "float64", default=0, has_default=True), feature("legs", "int64"),
    event_time="landed_at", ttl=timedelta(days=1), online=True,
)  # fmt: skip
STATIC_PLANES = view("planes", feature("seats", "int64"), static=True, online=True)


def service_of(*views: FeatureView, name: str = "late_arrival", **more) -> FeatureService:
    keys = {key.column: key.dtype for each in views for key in each.join_keys}
    return FeatureService(
        name=name,
        views=tuple(
            ServiceView(view=each.id, prefix=each.prefix, features=tuple(one.name for one in each.features),
                        keys=tuple((key.column, key.column) for key in each.join_keys))
            for each in views
        ),
        request_keys=tuple(Key(name=column, dtype=dtype) for column, dtype in keys.items()),
        **more,
    )  # fmt: skip


SERVICE = service_of(PLANE_LEGS, STATIC_PLANES, aliases={"plane": "tailnum"})


def micros(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - EPOCH) // timedelta(microseconds=1)


def batch(columns: dict[str, pa.Array], event_times: list, valid_tos: list | None = None) -> pa.RecordBatch:
    """Return a snapshot's batch: keys and features, then the two columns of times."""
    return pa.RecordBatch.from_pydict({
        **columns,
        "__fl_event_time": pa.array([micros(moment) for moment in event_times], pa.int64()),
        "__fl_valid_to": pa.array([micros(moment) for moment in valid_tos or [None] * len(event_times)], pa.int64()),
    })  # fmt: skip


def legs_batch(rows: list[tuple[str | None, datetime, float | None, int | None]]) -> pa.RecordBatch:
    """Return (tailnum, landed at, arr_delay, legs) as a snapshot's batch."""
    names, times, delays, legs = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = {"tailnum": pa.array(names, pa.string()), "arr_delay": pa.array(delays, pa.float64()),
               "legs": pa.array(legs, pa.int64())}  # fmt: skip
    return batch(columns, list(times))


def planes_batch(rows: list[tuple[str, int]]) -> pa.RecordBatch:
    """Return (tailnum, seats) as a snapshot's batch of the static view."""
    names, seats = zip(*rows, strict=True)
    return batch({"tailnum": pa.array(names, pa.string()), "seats": pa.array(seats, pa.int64())}, [None] * len(rows))
