"""Hundreds of the same trials on DynamoDB Local; each has a view and keys of its own in one table."""

from uuid import uuid4

import pytest

from featurelayer.online.stores.dynamodb.store import DynamoDBStore
from tests.profiles import trials
from tests.reliability.checks import hold
from tests.reliability.stages import dynamodb_stage

CHUNKS = 4


@pytest.fixture(scope="module")
def table(dynamodb_local_endpoint):
    store = DynamoDBStore(
        f"reliability-{uuid4().hex[:8]}",
        region="eu-west-1",
        endpoint_url=dynamodb_local_endpoint,
        timeout=10,
        threads=4,
    )
    store.create()
    yield store
    store.close()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_whatever_happens(chunk, table):
    numbers = trials(CHUNKS * 6, base=0)[chunk::CHUNKS]
    hold(dynamodb_stage(table), [3_000_000 + number for number in numbers])
