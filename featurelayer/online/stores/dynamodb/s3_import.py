"""A DynamoDB table made from files: items as DynamoDB JSON in S3, which AWS imports into a table that is new.

An import takes no write units and is billed by the size of its files before compression. It can't add to a table that
is there. The files stay in the bucket; its lifecycle rules are who deletes them.
"""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import msgspec
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from featurelayer.callbacks import Progress
from featurelayer.errors import ConfigError, OnlineStoreError, Problem, closest, did_you_mean
from featurelayer.online.stores.dynamodb.tables import BULK, TableSettings, table_request, validate_endpoint
from featurelayer.tempdirs import TempDir

PART_BYTES = 64 * 1024 * 1024
_POLL_SECONDS = 5.0
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")

Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Sends one call to DynamoDB and returns its answer."""


class ImportLocation(msgspec.Struct, frozen=True, kw_only=True):
    """Where the files of an import go; `endpoint_url` is another server than AWS."""

    bucket: str
    prefix: str = "featurelayer"
    endpoint_url: str | None = None


class ImportFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files sent to S3; `bytes` is the size before compression, which AWS bills."""

    bucket: str
    prefix: str
    items: int
    bytes: int
    parts: int


def read_import_location(entry: Mapping[str, Any], where: str) -> ImportLocation:
    """Return where a store's entry in featurelayer.yml has the files of an import go.

    Raises:
        ConfigError: names everything that is wrong with it, or that it is missing.
    """
    bulk, fix = entry.get(BULK), "add bulk: {bucket: NAME, prefix: featurelayer}"
    if entry.get("type") != "dynamodb":
        what = "only a store of type dynamodb can be loaded by an import"
        raise ConfigError([Problem(what=what, where=where, fix="export without --bulk")])
    if not isinstance(bulk, Mapping):
        near = closest(BULK, entry)
        missing = "the entry has no `bulk`, the place for the files of an import" + (
            f"; is '{near}' meant?" if near else ""
        )
        what = missing if bulk is None else "`bulk` is not a mapping"
        raise ConfigError([Problem(what=what, where=where, fix=fix)])
    where, known = f"{where}.{BULK}", ImportLocation.__struct_fields__
    problems = [
        Problem(what=f"unknown key '{name}'{did_you_mean(str(name), known)}", where=where,
                fix=f"keys are {', '.join(known)}")
        for name in bulk if name not in known
    ]  # fmt: skip
    values = {name: str(bulk[name]) for name in known if bulk.get(name)}
    bucket, prefix = values.get("bucket", ""), values.get("prefix", "featurelayer").strip("/")
    if not bucket:
        problems.append(Problem(what="`bucket` is missing", where=where, fix=fix))
    elif not _BUCKET.fullmatch(bucket):
        problems.append(Problem(what="`bucket` is not a valid bucket name", where=where,
                                fix="use 3 to 63 small letters, digits, '-' and '.'; no s3://"))  # fmt: skip
    if not _PREFIX.fullmatch(prefix):
        problems.append(Problem(what="`prefix` is not a valid S3 key prefix", where=where,
                                fix="use letters, digits, '_', '-', '.' and '/'"))  # fmt: skip
    if problems:
        raise ConfigError(problems)
    validate_endpoint(values.get("endpoint_url"))
    return ImportLocation(bucket=bucket, prefix=prefix, endpoint_url=values.get("endpoint_url"))


def upload_items(
    client: Any, place: ImportLocation, folder: str, items: Iterable[Mapping[str, Any]], *, part_bytes: int = PART_BYTES
) -> ImportFiles:
    """Send items to S3 in files of about `part_bytes` before compression; one is on this disk at a time.

    Raises:
        OnlineStoreError: S3 refused a file or could not be reached.
    """
    prefix, total = f"{place.prefix}/{folder}/", [0, 0]
    parts = 0
    with TempDir() as scratch:
        for part in _write_parts(items, scratch, part_bytes, total):
            key = f"{prefix}{parts:06}.json.gz"
            with _s3_errors(place.bucket, key):
                client.upload_file(str(part), place.bucket, key)
            part.unlink()
            parts += 1
    return ImportFiles(bucket=place.bucket, prefix=prefix, items=total[0], bytes=total[1], parts=parts)


def _write_parts(items: Iterable[Mapping[str, Any]], folder: Path, part_bytes: int, total: list[int]) -> Iterator[Path]:
    """Write files one after the other, each once the one before is done with; `total` counts items and bytes."""
    path, remaining = folder / "part.json.gz", iter(items)
    item = next(remaining, None)
    while item is not None:
        size = 0
        with gzip.open(path, "wb", compresslevel=4) as file:
            while item is not None and size < part_bytes:
                line = msgspec.json.encode({"Item": item}) + b"\n"
                file.write(line)
                size += len(line)
                total[0] += 1
                item = next(remaining, None)
        total[1] += size
        yield path


def import_request(table: str, files: ImportFiles, token: str) -> dict[str, Any]:
    """Return the arguments of ImportTable: the table that `online create` makes, as far as an import can."""
    request = table_request(table, TableSettings())
    names = ("TableName", "KeySchema", "AttributeDefinitions", "BillingMode")
    return {
        "ClientToken": token,  # repeated, the call starts no second import
        "S3BucketSource": {"S3Bucket": files.bucket, "S3KeyPrefix": files.prefix},
        "InputFormat": "DYNAMODB_JSON",
        "InputCompressionType": "GZIP",
        "TableCreationParameters": {name: request[name] for name in names},
    }


def import_token(run: str, table: str) -> str:
    """Return a token that distinguishes the import of a table from others in the same run."""
    return uuid5(UUID(run), table).hex


def import_files(
    call: Call,
    table: str,
    files: ImportFiles,
    token: str,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Have AWS import the files into a new table, wait for the end, and return how it ended.

    Raises:
        OnlineStoreError: it failed or was cancelled; with AWS's own reason.
    """
    found: dict[str, Any] = call("ImportTable", import_request(table, files, token))["ImportTableDescription"]
    arn, done = found["ImportArn"], 0
    while found["ImportStatus"] == "IN_PROGRESS":
        sleep(_POLL_SECONDS)
        found = call("DescribeImport", {"ImportArn": arn})["ImportTableDescription"]
        done = max(done, int(found.get("ImportedItemCount") or 0))
        progress(f"importing into {table}", done, files.items)
    if found["ImportStatus"] != "COMPLETED":
        raise _import_failure(table, files, found)
    return found


def validate_complete(table: str, files: ImportFiles, found: Mapping[str, Any]) -> None:
    """Raise OnlineStoreError unless an import that has ended took every item."""
    done, bad = int(found.get("ImportedItemCount") or 0), int(found.get("ErrorCount") or 0)
    if done != files.items or bad:
        raise OnlineStoreError(
            f"DynamoDB, table '{table}': of {files.items:,} items {done:,} were imported, {bad:,} "
            f"with errors ({found.get('ImportArn')})",
            fix="run `featurelayer export` without --bulk: it writes every row again, for none has been committed",
        )


def _import_failure(table: str, files: ImportFiles, found: Mapping[str, Any]) -> OnlineStoreError:
    why = " ".join(str(found[name]) for name in ("FailureCode", "FailureMessage") if found.get(name))
    done, bad = found.get("ImportedItemCount") or 0, found.get("ErrorCount") or 0
    state = str(found["ImportStatus"])
    return OnlineStoreError(
        f"DynamoDB, table '{table}': the import is {state}: {why or 'AWS gives no reason'}; {done:,} "
        f"of {files.items:,} items were imported, {bad:,} had errors ({found.get('ImportArn')})",
        fix="AWS writes each error to the CloudWatch log group /aws-dynamodb/imports; delete the table "
        "if it is there, and export again, with or without --bulk",
        code=state,
    )


@contextmanager
def _s3_errors(bucket: str, key: str) -> Iterator[None]:
    try:
        yield
    except (S3UploadFailedError, ClientError, BotoCoreError) as error:
        # Of the message only the first line is kept, as of DynamoDB's.
        why = str(error).partition("\n")[0]
        raise OnlineStoreError(
            f"S3, s3://{bucket}/{key}: {why}",
            fix="check the bucket, its region and the role's s3:PutObject; nothing has been imported",
        ) from None
