"""The DynamoDB tables of a store as code: a CloudFormation template, or Terraform. No AWS call is made.

`tables` are the names as `Layout.tables` has them: one table under no name, or each under its view's. A resource is
named after its view and keeps that name whatever views come and go, since either tool would replace a table whose
resource is called something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from zlib import crc32

from featurelayer.online.stores.dynamodb.tables import (
    TableSettings,
    recovery_request,
    table_request,
    ttl_request,
    validate_table_name,
)


def cloudformation(tables: Mapping[str, str], settings: TableSettings) -> dict[str, Any]:
    """Return a CloudFormation template of the tables; their properties are those of the API."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "The online store of featurelayer",
        "Resources": {_logical_id(name): _resource(table, settings) for name, table in tables.items()},
    }


def terraform(tables: Mapping[str, str], settings: TableSettings) -> str:
    """Return the tables as Terraform resources of the `aws` provider."""
    return "\n".join("\n".join([*_terraform(_label(name), table, settings), ""]) for name, table in tables.items())


def _resource(table: str, settings: TableSettings) -> dict[str, Any]:
    validate_table_name(table)
    properties = {
        **table_request(table, settings),
        "TimeToLiveSpecification": ttl_request(),
        "PointInTimeRecoverySpecification": recovery_request(settings),
    }
    return {
        "Type": "AWS::DynamoDB::Table",
        "DeletionPolicy": "Retain" if settings.deletion_protection else "Delete",
        "UpdateReplacePolicy": "Retain",
        "Properties": properties,
    }


def _terraform(label: str, table: str, settings: TableSettings) -> Iterator[str]:
    validate_table_name(table)
    request = table_request(table, settings)
    hash_key, range_key = (each["AttributeName"] for each in request["KeySchema"])
    yield f'resource "aws_dynamodb_table" {_quote(label)} {{'
    yield f"  name                        = {_quote(request['TableName'])}"
    yield f"  billing_mode                = {_quote(request['BillingMode'])}"
    yield f"  hash_key                    = {_quote(hash_key)}"
    yield f"  range_key                   = {_quote(range_key)}"
    yield f"  deletion_protection_enabled = {str(request['DeletionProtectionEnabled']).lower()}"
    for attribute in request["AttributeDefinitions"]:
        yield from ("", "  attribute {", f"    name = {_quote(attribute['AttributeName'])}")
        yield from (f"    type = {_quote(attribute['AttributeType'])}", "  }")
    ttl = ttl_request()
    yield from ("", "  ttl {", f"    attribute_name = {_quote(ttl['AttributeName'])}")
    yield from (f"    enabled        = {str(ttl['Enabled']).lower()}", "  }")
    recovery = recovery_request(settings)["PointInTimeRecoveryEnabled"]
    yield from ("", "  point_in_time_recovery {", f"    enabled = {str(recovery).lower()}", "  }")
    yield from ("", "  tags = {")
    for tag in request["Tags"]:
        yield f"    {_quote(tag['Key'])} = {_quote(tag['Value'])}"
    yield from ("  }", "}")


def _logical_id(name: str) -> str:
    """Return the CloudFormation name of a view's table: letters and digits, with a checksum that keeps it unique."""
    words = "".join(word[:1].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", name))
    return f"FeatureTable{words}{crc32(name.encode()):08X}" if name else "FeatureTable"


def _label(name: str) -> str:
    """Return the Terraform name of a view's table, with a checksum if the name had to be changed."""
    if not name:
        return "features"
    plain = re.sub("[^A-Za-z0-9_-]", "_", name)
    return f"features_{plain}" + ("" if plain == name else f"_{crc32(name.encode()):08x}")


def _quote(text: str) -> str:
    """Return a string as HCL writes it; `${` and `%{` would begin a template."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
