"""The contract of the annotations: the only definition of their keys and values.

These classes describe what people write under `config.meta.featurelayer` and in featurelayer.yml. They give the
places of mistakes and the JSON Schema; the loader turns them into the domain at once.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from featurelayer.dbt.block import Block as Block
from featurelayer.dbt.monitors import FeatureMonitorsBlock, MonitorsBlock, ProjectMonitorsBlock
from featurelayer.durations import parse_duration
from featurelayer.errors import Problem, closest, did_you_mean
from featurelayer.model import RemovalGuard

_Block = TypeVar("_Block", bound="Block")

_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^\s*(\d+\s*[a-zA-Z]+\s*)+$",
    "examples": ["30 minutes", "24 hours", "7 days"],
}


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"{value!r} is not a duration; write a whole number and a unit such as '30 minutes' or '7 days'")


def _positive_duration(value: Any) -> Any:
    duration = _duration(value)
    if duration <= timedelta():
        raise ValueError(f"'{value}' is no time at all; a duration longer than zero is needed")
    return duration


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_owner(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _number_pair(value: Any) -> Any:
    numbers = value if isinstance(value, list) else []
    valid = [item is None or (isinstance(item, int | float) and not isinstance(item, bool)) for item in numbers]
    if len(valid) != 2 or not all(valid):
        raise ValueError(f"{value!r} is not a range; write [low, high], either of them null for no bound")
    low, high = numbers
    if low is not None and high is not None and low > high:
        raise ValueError(f"the range {value!r} holds nothing: {low} is greater than {high}")
    return tuple(numbers)


def _service_line(value: Any) -> Any:
    if isinstance(value, str):
        return {"reference": value}
    if isinstance(value, dict):
        if "reference" in value:
            raise ValueError(
                "there is no key 'reference'; write view.feature as plain text, or {view: ..., features: ...}"
            )
        if "view" not in value:
            raise ValueError("the key 'view' is missing")
        return value
    raise ValueError(f"{value!r} is neither view.feature nor a mapping with `view` and `features`")


_Name = Annotated[str, Field(min_length=1)]
_TEXT_OR_TEXTS: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}
Names = Annotated[list[_Name], BeforeValidator(_as_list), Field(min_length=1), WithJsonSchema(_TEXT_OR_TEXTS)]
Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
PositiveDuration = Annotated[timedelta, BeforeValidator(_positive_duration), WithJsonSchema(_DURATION_SCHEMA)]
Range = Annotated[
    tuple[float | None, float | None],
    BeforeValidator(_number_pair),
    WithJsonSchema({"type": "array", "items": {"type": ["number", "null"]}, "minItems": 2, "maxItems": 2}),
]


# YAML's bare null means the word here.
OnStale = Annotated[
    Literal["serve", "null", "default", "raise"],
    BeforeValidator(lambda value: "null" if value is None else value),
    WithJsonSchema({"enum": ["serve", "null", "default", "raise", None]}),
]


class PeriodBlock(Block):
    """A length of time as dbt writes it for source freshness."""

    count: int = Field(gt=0)
    period: Literal["minute", "hour", "day"]

    @property
    def duration(self) -> timedelta:
        return (
            self.count
            * {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}[self.period]
        )


class FreshnessBlock(Block):
    """The allowed age of the newest row: dbt's source freshness."""

    warn_after: PeriodBlock | None = Field(default=None, description="Older than this is worth a warning.")
    error_after: PeriodBlock | None = Field(default=None, description="Older than this is stale.")


class RemovalGuardBlock(Block):
    """The limit above which an export refuses to remove keys from the online store."""

    share: float = Field(
        default=RemovalGuard().share, ge=0, le=1, description="The share of a view's keys, 0 to 1, that may be removed."
    )
    at_least: int = Field(
        default=RemovalGuard().at_least, ge=1, description="Fewer keys than this may be removed, whatever their share."
    )


class DeprecatedBlock(Block):
    """Still works, should no longer be used."""

    replaced_by: str = Field(default="", description="What to use instead: a view, or for a column view.feature.")


class IgnoreBlock(Block):
    """A check that does not apply here, and why."""

    code: str = Field(pattern=r"^[A-Z]{2,10}\d{3}$", description="The check's code, such as FL203.")
    reason: _Name = Field(description="Why it does not apply.")


class ViewBlock(Block):
    """A feature view: `config.meta.featurelayer` of a model or snapshot."""

    entity: Names | None = Field(default=None, description="The entity, or the list of them, that the rows describe.")
    available_at: _Name | None = Field(
        default=None, description="The column that says when a row could first be known."
    )
    delay: Duration | None = Field(
        default=None, description="How long after its event time a row could first be known."
    )
    created_timestamp: _Name | None = Field(
        default=None, description="The column that decides between rows of one event time."
    )
    tie_breaker: Names | None = Field(
        default=None, description="Columns that decide what is still tied; the greatest wins."
    )
    ttl: PositiveDuration | None = Field(default=None, description="How long after its event time a row may be used.")
    bound: Literal["inclusive", "exclusive"] = Field(
        default="inclusive", description="Whether a row of exactly the label's time is visible."
    )
    static: bool = Field(default=False, description="The rows have no time; they join on their keys alone.")
    valid_to: _Name | None = Field(default=None, description="The column that says from when on a row no longer holds.")
    online: bool = Field(default=False, description="Export the view to the online store.")
    update_frequency: str = Field(default="", description="How often the model is built, for people.")
    freshness: FreshnessBlock | None = Field(default=None, description="How old the newest row may be.")
    on_stale: OnStale = Field(
        default="serve", description="What a lookup does when the view is older than freshness.error_after."
    )
    block_export: bool = Field(default=False, description="A failed monitor of the view stops the export.")
    removal_guard: RemovalGuardBlock = Field(
        default=RemovalGuardBlock(), description="When an export stops because it would remove too many keys."
    )
    monitors: MonitorsBlock = Field(default=MonitorsBlock(), description="Monitors of the view and its features.")
    ignore: list[IgnoreBlock] = Field(default_factory=list, description="Checks that do not apply.")
    deprecated: DeprecatedBlock | None = Field(default=None, description="The view should no longer be used.")


class ColumnBlock(Block):
    """A join key or feature: `config.meta.featurelayer` of a column."""

    join_key: _Name | None = Field(default=None, description="The entity that the column identifies, or entity.key.")
    feature: bool = Field(default=True, description="false: the column is no feature.")
    default: Any = Field(default=None, description="Replaces a missing or expired value, in training and in lookup.")
    unit: str = Field(default="", description="The unit of the values.")
    tags: Names | None = Field(default=None, description="Words to find the feature by.")
    range: Range | None = Field(default=None, description="[low, high] of plausible values.")
    monitors: FeatureMonitorsBlock = Field(default=FeatureMonitorsBlock(), description="Monitors of the feature.")
    ignore: list[IgnoreBlock] = Field(default_factory=list, description="Checks that do not apply to the feature.")
    deprecated: DeprecatedBlock | None = Field(default=None, description="The feature should no longer be used.")


class ServiceLine(Block):
    """Features of one view, in one role."""

    reference: _Name | None = Field(default=None, exclude=True)
    view: _Name | None = Field(default=None, description="The view, or view.v2 for a version.")
    role: _Name | None = Field(default=None, description="Starts the names of the columns instead of the view's name.")
    keys: dict[str, _Name] = Field(
        default_factory=dict, description="Entity key: the label column that holds its value."
    )
    features: Names | None = Field(default=None, description='The features, or "*" for all.')


_LINE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {
            "type": "string",
            "pattern": r"^.+\..+$",
            "examples": ["plane_legs.arr_delay", "plane_legs.*", "orders.v2.amount"],
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["view"],
            "properties": {
                name: {"description": field.description, **schema}
                for name, field, schema in (
                    ("view", ServiceLine.model_fields["view"], {"type": "string"}),
                    ("role", ServiceLine.model_fields["role"], {"type": "string"}),
                    (
                        "keys",
                        ServiceLine.model_fields["keys"],
                        {"type": "object", "additionalProperties": {"type": "string"}},
                    ),
                    ("features", ServiceLine.model_fields["features"], _TEXT_OR_TEXTS),
                )
            },
        },
    ]
}


class ServiceBlock(Block):
    """A feature service: `config.meta.featurelayer` of an exposure of type ml."""

    label_timestamp: _Name | None = Field(
        default=None, description="The label column that says when the prediction is made."
    )
    labels: _Name | None = Field(default=None, description="The dbt model that holds the labels, or model.v2.")
    features: list[Annotated[ServiceLine, BeforeValidator(_service_line), WithJsonSchema(_LINE_SCHEMA)]] = Field(
        min_length=1, description="The features, in the order of the model's columns."
    )
    ignore: list[IgnoreBlock] = Field(default_factory=list, description="Checks that do not apply to the service.")


class OwnerBlock(Block):
    """The owner of an entity."""

    name: str = ""
    email: str = ""


class EntityBlock(Block):
    """An entity of featurelayer.yml."""

    description: str = ""
    owner: Annotated[OwnerBlock, BeforeValidator(_as_owner)] = OwnerBlock()
    keys: dict[str, _Name] = Field(min_length=1, description="Key: data type, in order.")


class PricesBlock(Block):
    """DynamoDB prices and write throughput of this project's region, for the estimates of a plan."""

    million_write_units: float | None = Field(default=None, ge=0, description="US dollars per million write units.")
    import_gigabyte: float | None = Field(
        default=None, ge=0, description="US dollars per GB of files that AWS imports, before compression."
    )
    write_units_per_second: float | None = Field(default=None, gt=0, description="What the table takes.")
    rows_per_second: float | None = Field(default=None, gt=0, description="What one exporting process sends.")


class ConfigBlock(Block):
    """featurelayer.yml, but for what a target's online store needs: each kind of store checks that itself."""

    entities: dict[str, EntityBlock] = Field(default_factory=dict)
    online_store: dict[str, dict[str, Any]] = Field(default_factory=dict)
    prices: PricesBlock = PricesBlock()
    monitors: ProjectMonitorsBlock = ProjectMonitorsBlock()
    lint: Any = Field(
        default=None, description="What lint checks, and how features are named; lint checks that itself."
    )


# Keys that people expect here and that dbt has its own place for.
_NATIVE = {
    "event_time": "It is dbt's own: config.event_time.",
    "event_timestamp": "The event time is dbt's own: config.event_time.",
    "timestamp": "The event time is dbt's own: config.event_time.",
    "owner": "It is dbt's own: config.group, or the exposure's owner.",
    "description": "It is dbt's own: `description` beside `name`.",
    "data_type": "It is dbt's own: `data_type` of the column.",
    "entities": "It is called `entity`, also for a list.",
}


def validate_block(
    contract: type[_Block], block: Any, *, file: str, resource: str, path: str, problems: list[Problem]
) -> _Block | None:
    """Return the block as its contract reads it, after adding what is wrong to `problems`; None if it can't be read.

    A block is read as it was meant, without unknown keys and without values that nothing else hangs on, so that what
    else is wrong is found, too.
    """
    try:
        return contract.model_validate(block)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
        problems += [_problem(contract, mistake, file=file, resource=resource, path=path) for mistake in mistakes]
    try:
        return contract.model_validate(correct_keys(contract, block))
    except ValidationError:
        return None


# A mistake in one of these does not affect the rest of its block.
_APART = {"ignore", "freshness", "update_frequency", "monitors", "tags", "unit", "deprecated", "on_stale",
          "block_export", "removal_guard"}  # fmt: skip


def correct_keys(contract: type[Block], block: Any) -> Any:
    """Return the block with every unknown key under the name that was meant, or left out if none is close.

    Invalid values that nothing else depends on are left out, too.
    """
    if not isinstance(block, dict):
        return block
    fields = [name for name, field in contract.model_fields.items() if not field.exclude]
    # A key of dbt's is never a misspelling of ours: `timestamp` is not `created_timestamp`.
    names = {
        key: "entity" if key == "entities" else "" if key in _NATIVE else closest(str(key), fields)
        for key in block
        if key not in fields
    }
    corrected = {names[key]: value for key, value in block.items() if key not in fields and names[key]}
    corrected |= {key: value for key, value in block.items() if key in fields}
    try:
        contract.model_validate(corrected)
    except ValidationError as error:
        wrong = {mistake["loc"][0] for mistake in error.errors(include_url=False) if mistake["loc"]} & _APART
        return {key: value for key, value in corrected.items() if key not in wrong}
    return corrected


def format_location(file: str, resource: str, path: str) -> str:
    """Format a place in the YAML: `file -> resource -> yaml.path`."""
    return " -> ".join(part for part in (file, resource, path) if part)


def _problem(contract: type[Block], mistake: Any, *, file: str, resource: str, path: str) -> Problem:
    location = [step for step in mistake["loc"] if step != "[key]"]
    inner = _fields_around(contract, location)
    where = format_location(file, resource, (path + _join_path(location)).removeprefix("."))
    last = location[-1] if location else path
    name = f"{location[-2]}[{last}]" if isinstance(last, int) and len(location) > 1 else str(last)
    value, kind = mistake["input"], mistake["type"]
    shown = _SHORT.repr(value)
    subject = f"{resource}: " if resource else ""
    if kind == "extra_forbidden":
        native = _NATIVE if issubclass(contract, ViewBlock) else {}
        meant = closest(name, [*inner, *native])
        fix = _NATIVE.get(name) or native.get(meant) or f"Known keys: {', '.join(inner)}."
        hint = "" if name in native else did_you_mean(name, [*inner, *native])
        unknown = f"{subject}unknown key '{name}'{hint}"
        return Problem(what=unknown, where=where, fix=fix, code="FL102")
    what: str | None = {
        "missing": f"the key '{name}' is missing",
        "bool_type": f"'{name}' is {shown}, not true or false",
        "string_type": f"'{name}' is {shown}, not text",
        "string_too_short": f"'{name}' is empty",
        "too_short": f"'{name}' is empty",
        "int_type": f"'{name}' is {shown}, not a whole number",
        "greater_than": f"'{name}' is {shown}, and must be greater than 0",
        "list_type": f"'{name}' is {shown}, not a list",
        "dict_type": f"'{name}' is {shown}, not a mapping",
        "model_type": f"'{name}' is {shown}, not a mapping",
        "string_pattern_mismatch": f"'{name}' is {shown}, not a code such as FL203",
    }.get(kind)
    if kind == "literal_error":
        what = f"'{name}' is {shown}, not {mistake['ctx']['expected']}{did_you_mean(str(value), _choices(mistake))}"
    if what is None:
        what = f"'{name}': {str(mistake['msg']).removeprefix('Value error, ')}"
    meaning = inner[name].description if name in inner else None
    fix = _FIXES.get(kind) or (f"`{name}`: {meaning}" if meaning else "correct the value")
    return Problem(what=f"{subject}{what}", where=where, fix=fix, code="FL105")


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlevel = 4
_FIXES = {"missing": "add it", "model_type": "write `key: value` lines under it"}


def _choices(mistake: Any) -> list[str]:
    return [choice.strip("' ") for choice in str(mistake["ctx"]["expected"]).replace(" or ", ",").split(",")]


def _fields_around(contract: type[Block], location: list[Any]) -> Mapping[str, Any]:
    """Return the fields of the innermost block that holds the mistake."""
    fields: Mapping[str, Any] = contract.model_fields
    for step in location[:-1]:
        inner = next(_blocks(fields[step].annotation), None) if step in fields else None
        if inner is not None:
            fields = inner.model_fields
    return {name: field for name, field in fields.items() if not field.exclude}


def _blocks(annotation: Any) -> Iterator[type[Block]]:
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _blocks(argument)


def _join_path(location: Iterable[Any]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
