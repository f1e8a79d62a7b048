"""Guesses the role of each column of a model: key, event time, feature or other identifier.

Guesses from names, types and tests, for `featurelayer init` to propose. A guess that could do harm is a doubt, which is
printed; the worst would be a time that goes unseen, for then past labels would get present values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from featurelayer.dbt.artifacts import Node
from featurelayer.dbt.columns import snapshot_columns
from featurelayer.dbt.dtypes import UNKNOWN
from featurelayer.model import DType, Kind

_EVENT_TIME = re.compile(
    r"(event|feature|valid|observed|measured|occurred|as_of)\w*|.*_(at|ts|time|timestamp|on|date)|ts|timestamp|date"
)
_AVAILABLE = re.compile(r".*(loaded|ingested|available|inserted|synced|received|published).*")
_UPDATED = re.compile(r".*(updated|modified|changed|edited).*")
# Times of something other than the row's own event, most of them in the future.
_NO_EVENT = re.compile(
    r"(.*_)?(birth|born|dob|birthday|birthdate|expir\w*|until|due|deadline|scheduled|planned|estimated|expected|next|end|"
    r"ends|valid_to)(_.*)?"
)
_KEY = re.compile(r"(?P<entity>.+?)_(id|key|uuid|code|sk|pk|num|no)|(?P<plain>id|key|uuid|sk|pk)")
_LAYER = re.compile(r"(fct|fact|dim|feat|features|stg|int|base|raw|mart|src)_+")
# Common entities: a model named after one has one row per entity, not per event.
_SUBJECTS = frozenset(
    {
        "account", "airport", "buyer", "client", "company", "contact", "customer", "device", "driver",
        "employee", "household", "listener", "member", "merchant", "organization", "organisation", "owner",
        "patient", "person", "plane", "player", "product", "rider", "seller", "shop", "sku", "station",
        "store", "student", "subscriber", "supplier", "tenant", "user", "vehicle", "vendor", "viewer",
        "visitor", "worker",
    }
)  # fmt: skip
_PERSONAL = frozenset(
    {
        "email", "mail", "phone", "telephone", "mobile", "fax", "surname", "lastname", "firstname",
        "fullname", "forename", "address", "street", "ssn", "passport", "iban", "username", "login",
        "password", "dob", "birth", "birthdate", "birthday", "ip",
    }
)  # fmt: skip
_NAME = re.compile(
    r"name|(.+_)?(first|last|middle|full|given|family|maiden|user|customer|client|person|contact|patient|employee|member|"
    r"display|nick|holder|recipient|sender|owner)_?name"
)
# An email's domain, an address's country and a count of phones do not identify a person.
_COARSE = frozenset(
    {
        "count", "n", "num", "is", "has", "domain", "verified", "opt", "type", "country", "city", "state",
        "region", "status", "valid", "provider", "age",
    }
)  # fmt: skip
_FRACTIONS = (Kind.FLOAT, Kind.DECIMAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The roles of the columns. `left_out` are columns that are not features, each with the reason."""

    keys: tuple[str, ...]
    entity: str
    event_time: str | None
    available_at: str | None
    valid_to: str | None
    tie_breaker: str | None
    left_out: Mapping[str, str]
    doubts: tuple[str, ...]

    @property
    def times(self) -> tuple[str, ...]:
        """The columns that are the view's times, so not features."""
        return tuple(name for name in (self.event_time, self.available_at, self.valid_to) if name)


def guess_roles(
    node: Node,
    dtypes: Mapping[str, DType],
    *,
    references: Sequence[str] = (),
    unique: Sequence[str] = (),
    declared: tuple[str, Sequence[str]] | None = None,
) -> Roles:
    """Guess the roles of a model's columns.

    Args:
        node: the model or snapshot.
        dtypes: its columns and their types, `UNKNOWN` where none is known.
        references: columns that a test holds to be in another model.
        unique: the columns that tests or constraints hold to be unique together.
        declared: an entity of the project of which the model has every key, and those columns.
    """
    folded = {name.casefold(): name for name in dtypes}
    meta = _meta_columns(node, folded)
    event_time, available, valid_to, other_times = _times(node, dtypes, folded, meta)
    taken = {event_time, available, valid_to, *meta}
    row = _row_id(node, dtypes, taken, unique)
    doubts: list[str] = []
    if declared is not None:
        entity, keys = declared[0], list(declared[1])
    else:
        keys = _keys(node, dtypes, taken, references, unique, row, is_timed=event_time is not None)
        entity = _entity_name(node.name, keys)
        if row is not None and keys and keys != [row] and len(keys) == 1:
            doubts.append(
                f"'{row}' identifies a row of '{node.name}' and '{keys[0]}' what the row is about, so the entity is "
                f"'{entity}': correct that if it is not so."
            )
    if keys == [row] and event_time is not None and node.resource_type != "snapshot":
        doubts.append(
            f"'{row}' identifies a row, so '{node.name}' has one row per {entity}: if rows are overwritten, past "
            "labels get present values, and a dbt snapshot keeps what was known when."
        )
    left_out = {name: "a column of dbt's snapshots" for name in meta if name not in (event_time, valid_to)}
    if row is not None and row not in keys:
        left_out[row] = "it identifies a row"
    for name, dtype in dtypes.items():
        if name not in (*keys, *taken, row) and _is_personal(name, dtype):
            left_out[name] = "it identifies a person"
    doubts += _time_doubts(node, dtypes, event_time, other_times)
    return Roles(
        keys=tuple(keys),
        entity=entity,
        event_time=event_time,
        available_at=available,
        valid_to=valid_to,
        tie_breaker=row if row is not None and row not in keys and event_time is not None else None,
        left_out=left_out,
        doubts=tuple(doubts),
    )


def is_event_time(name: str, dtype: DType) -> bool:
    """Whether a column may be the time of its row's event: a time by type, or by name where no type is known."""
    folded = name.lower()
    if _NO_EVENT.fullmatch(folded) or not _is_time(dtype):
        return False
    return dtype.is_time or _EVENT_TIME.fullmatch(folded) is not None


def find_singular(model: str) -> str:
    """Return the singular of a model's name: `order` for `fct_orders` and `stg_shop__orders`."""
    name = _LAYER.sub("", model.rpartition("__")[2] or model, count=1)
    for ending, instead in (
        ("ies", "y"),
        ("sses", "ss"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("ss", "ss"),
        ("s", ""),
    ):
        if name.endswith(ending):
            return name.removesuffix(ending) + instead
    return name


def _meta_columns(node: Node, folded: Mapping[str, str]) -> tuple[str, ...]:
    """Return the columns that come from a snapshot, this one or one upstream."""
    names = [*snapshot_columns(node.config).values(), *snapshot_columns({}).values()]
    return tuple(dict.fromkeys(folded[name.casefold()] for name in names if name.casefold() in folded))


def _is_time(dtype: DType) -> bool:
    return dtype.is_time or dtype.kind is Kind.UNKNOWN


def _times(
    node: Node, dtypes: Mapping[str, DType], folded: Mapping[str, str], meta: Iterable[str]
) -> tuple[str | None, str | None, str | None, list[str]]:
    """Return the event time, the available time, the end of validity, and the other times."""
    named = [name for name, dtype in dtypes.items() if _is_time(dtype) and _EVENT_TIME.fullmatch(name.lower())]
    typed = [name for name, dtype in dtypes.items() if dtype.is_time and name not in named]
    times = [name for name in (*named, *typed) if name not in meta]
    configured = node.config.get("event_time")
    if node.resource_type == "snapshot":
        return (str(configured) if configured else None), None, None, []
    start, end = (
        next(
            (folded[name] for name in (f"dbt_{what}", what) if name in folded and _is_time(dtypes[folded[name]])), None
        )
        for what in ("valid_from", "valid_to")
    )
    events = [name for name in times if not _NO_EVENT.fullmatch(name.lower())]
    others = [name for name in times if name not in events and name != end]
    is_subject = find_singular(node.name) in _SUBJECTS
    # A row overwritten in place is known from its last change; an event, from when it happened.
    events.sort(key=lambda name: bool(_AVAILABLE.fullmatch(name.lower())))
    events.sort(key=lambda name: bool(_UPDATED.fullmatch(name.lower())) != is_subject)
    event_time = str(configured) if configured else start or next(iter(events), None)
    available = next((name for name in events if name != event_time and _AVAILABLE.fullmatch(name.lower())), None)
    valid_to = end if end is not None and event_time == start else None
    return event_time, available, valid_to, others


def _time_doubts(node: Node, dtypes: Mapping[str, DType], event_time: str | None, others: Sequence[str]) -> list[str]:
    if event_time is not None and dtypes.get(event_time, UNKNOWN).kind is Kind.DATE:
        return [f"'{event_time}' is a date: a row counts as known a day later (`delay`), correct that if it is not so."]
    if event_time is not None or node.resource_type == "snapshot":
        return []
    static = "the view is proposed as `static`, one row per key, whose values past labels get, too"
    if others:
        names = ", ".join(f"'{name}'" for name in others)
        return [
            f"{names} {'are times' if len(others) > 1 else 'is a time'}, not that of an event by the name: {static}."
        ]
    return [f"No column looks like an event time: {static}."]


def _row_id(node: Node, dtypes: Mapping[str, DType], taken: Iterable[str | None], unique: Sequence[str]) -> str | None:
    """Return the column that identifies a row: by a test or constraint, else by its name."""
    row_keys = [name for name in unique if name in dtypes and name not in taken]
    if len(row_keys) == 1 and len(unique) == 1:
        return row_keys[0]
    if row_keys:
        return None
    singular = find_singular(node.name)
    for name, dtype in dtypes.items():
        match = _KEY.fullmatch(name.lower())
        if match is None or name in taken or not (dtype.is_key or dtype == UNKNOWN):
            continue
        if match["plain"] or match["entity"] == singular:
            return name
    return None


def _keys(
    node: Node, dtypes: Mapping[str, DType], taken: Iterable[str | None], references: Sequence[str],
    unique: Sequence[str], row: str | None, *, is_timed: bool,
) -> list[str]:  # fmt: skip
    """Return the columns that identify a row's entity; other models refer to them too."""
    usable = [name for name, dtype in dtypes.items() if name not in taken and (dtype.is_key or dtype == UNKNOWN)]
    own = node.config.get("unique_key")
    if node.resource_type == "snapshot" and own:
        wanted = [str(name).casefold() for name in (own if isinstance(own, list) else [own])]
        return [name for name in dtypes if name.casefold() in wanted]
    unique_keys = [name for name in unique if name in dtypes and name not in taken]
    if row is None and unique_keys:
        return unique_keys  # a composite key, without the times
    candidates = [name for name in usable if name in references] + [
        name for name in usable if name not in references and _KEY.fullmatch(name.lower())
    ]
    others = [name for name in candidates if name != row]
    if row is not None and (not others or not is_timed or _is_entity(node, row)):
        return [row]
    others.sort(key=lambda name: (name not in references, _entity_name("", [name]) not in _SUBJECTS))
    return others[:1]


def _is_entity(node: Node, row: str) -> bool:
    """Whether rows of a model are the things that features describe, and not events of them."""
    match = _KEY.fullmatch(row.lower())
    name = (match["entity"] if match else row.lower()) or find_singular(node.name)
    return node.name.startswith("dim_") or node.resource_type == "snapshot" or name in _SUBJECTS


def _entity_name(model: str, keys: Sequence[str]) -> str:
    match = _KEY.fullmatch(keys[0].lower()) if keys else None
    if match and match["entity"] and len(keys) == 1:
        return match["entity"]
    if len(keys) == 1:
        return keys[0].lower() if not match else find_singular(model)
    return _LAYER.sub("", model, count=1) or model


def _is_personal(name: str, dtype: DType) -> bool:
    words = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("e_mail", "email"))
    if dtype.kind is Kind.BOOL or dtype.kind in _FRACTIONS or not _COARSE.isdisjoint(words):
        return False
    if dtype.kind in (Kind.INT, Kind.UINT):  # `phone`, and not `email_opens`
        return words[-1] in _PERSONAL or (words[-1] == "number" and not _PERSONAL.isdisjoint(words))
    return not _PERSONAL.isdisjoint(words) or (not dtype.is_time and _NAME.fullmatch("_".join(words)) is not None)
