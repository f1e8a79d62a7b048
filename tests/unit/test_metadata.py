"""The contract's JSON Schema: committed, current, and right about the same YAML as the contract."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from featurelayer.dbt import schema

FIXTURE = Path(__file__).parents[1] / "fixtures" / "manifests" / "project" / "models" / "features" / "features.yml"
SCHEMA = schema.json_schema()


def test_the_committed_schema_is_what_the_code_generates():
    assert schema.read_schema() == schema.build_schema(), "run `python -m featurelayer.dbt.schema`"


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def errors(text):
    document = yaml.safe_load(text)
    return ["/".join(map(str, error.path)) for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]


def test_it_accepts_what_the_reader_accepts():
    assert errors(FIXTURE.read_text()) == []


def test_it_leaves_all_else_open():
    assert (
        errors("version: 2\nsources: [{anything: goes}]\nmodels: [{name: a, config: {meta: {owner: 3}}, x: y}]") == []
    )


MODEL = "models: [{name: a, config: {meta: {featurelayer: %s}}}]"
COLUMN = "models: [{name: a, columns: [{name: c, config: {meta: {featurelayer: %s}}}]}]"
EXPOSURE = "exposures: [{name: a, config: {meta: {featurelayer: %s}}}]"


@pytest.mark.parametrize(
    ("place", "block"),
    [
        (MODEL, "{entity: plane, ttll: 1 day}"),
        (MODEL, "{entity: 3}"),
        (MODEL, "{entity: []}"),
        (MODEL, "{ttl: 7}"),
        (MODEL, "{bound: open}"),
        (MODEL, "{online: 'yes'}"),
        (MODEL, "{freshness: {warn_after: {count: 0, period: day}}}"),
        (MODEL, "{freshness: {warn_after: {count: 1, period: days}}}"),
        (MODEL, "{ignore: [{code: FL203}]}"),
        (COLUMN, "{join_keys: plane}"),
        (COLUMN, "{range: [1]}"),
        (COLUMN, "{feature: 0}"),
        (EXPOSURE, "{features: []}"),
        (EXPOSURE, "{features: [nodot]}"),
        (EXPOSURE, "{features: [{role: x}]}"),
        (EXPOSURE, "{features: [{view: x, rol: y}]}"),
        (EXPOSURE, "{label_timestamp: at}"),
    ],
)
def test_it_refuses_what_the_reader_refuses(place, block):
    assert errors(place % block)


@pytest.mark.parametrize(
    ("place", "block"),
    [
        (MODEL, "{entity: [a, b], ttl: 1 day 12 hours, on_stale: null, tie_breaker: x, monitors: {null_rate: 3}}"),
        (COLUMN, "{default: [1, 2], range: [null, 3], tags: a, deprecated: {}}"),
        (EXPOSURE, "{features: ['a.*', a.v2.b, {view: a, role: r, keys: {k: l}, features: '*'}]}"),
    ],
)
def test_it_accepts_every_form(place, block):
    assert errors(place % block) == []
