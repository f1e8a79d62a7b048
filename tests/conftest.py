"""Shared fixtures and the hypothesis profile of the whole suite."""

import functools
import os
import signal
from collections.abc import Iterator
from typing import Any

import botocore.loaders
import pytest
from hypothesis import HealthCheck, Phase, settings

from featurelayer.online import AsyncFeatureClient, FeatureClient
from tests.servers import dynamodb_local, postgres, spark

# scikit-learn's threads spin while they wait: two workers with two threads each take minutes for seconds of work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# botocore parses 2 MB of JSON for each session's first client, two thirds of what a test on moto takes: the sessions of
# a process share what they have read.
botocore.loaders.create_loader = functools.cache(botocore.loaders.create_loader)

# A shell that starts pytest in the background has it ignore Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# By default a lookup has a second, which is enough for a serving process but not among other tests on a busy machine.
for client in (FeatureClient, AsyncFeatureClient):
    for call in ("lookup", "lookup_many", "service", "services"):
        getattr(client, call).__kwdefaults__["deadline"] = 60.0

settings.register_profile(
    "featurelayer",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # Explaining a failure runs the example hundreds of times more; with a database behind it that takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
settings.load_profile("featurelayer")


# What only `make test-all` starts: a JVM costs seconds, and each statement of Spark a good part of one.
ENGINES = ("dynamodb_local_endpoint", "spark_target")


# A file's tests run in one worker, so the longest files go first: one of them at the end would keep one worker waiting.
LONGEST = (
    "tests/integration/test_spark.py",
    "tests/conformance/test_spark.py",
    "tests/docs/test_pages.py",
    "tests/integration/test_postgres.py",
    "tests/properties/test_asof.py",
    "tests/integration/test_wheel.py",
    "tests/conformance/test_dynamodb_faults.py",
    "tests/reliability/test_memory.py",
    "tests/reliability/test_sqlite.py",
    "tests/integration/test_ci_workflow.py",
    "tests/integration/test_catalog_demo.py",
    "tests/reliability/test_network.py",
    "tests/unit/test_monitor.py",
    "tests/unit/test_verify.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a server of `make test-all`, by a fixture or a parameter that names one; sort the files.

    The order needs xdist's `--no-loadscope-reorder`, which starts with the files of most tests otherwise.
    """
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))
    for item in items:
        callspec = getattr(item, "callspec", None)
        values = callspec.params.values() if callspec is not None else ()
        texts = [text for value in values for text in (value if isinstance(value, tuple) else (value,))]
        named = {
            *getattr(item, "fixturenames", ()),
            *(word for text in texts if isinstance(text, str) for word in text.split()),
        }
        if named.intersection(ENGINES):
            item.add_marker("engine")


def _check_marked(request: pytest.FixtureRequest) -> None:
    """Fail where a test of `make test` asks for a server that only `make test-all` has, rather than skip it in both."""
    if request.config.getoption("markexpr") == "not engine":
        pytest.fail("this test needs the mark `engine`: pytestmark = pytest.mark.engine, or in its pytest.param")


@pytest.fixture(scope="session")
def aws_credentials() -> Iterator[None]:
    """Credentials that no real account has, for boto3's own search; one test may still take them away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.delenv("AWS_PROFILE", raising=False)
        yield


@pytest.fixture(scope="session")
def moto_endpoint(aws_credentials: None) -> Iterator[str]:
    """The address of moto's server: one per process, with the tables of all its tests."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def dynamodb_local_endpoint(aws_credentials: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of DynamoDB Local: one per process that asks for it. Skips where it can't or must not run."""
    _check_marked(request)
    if reason := dynamodb_local.why_not():
        pytest.skip(reason)
    with dynamodb_local.running() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server: one per process that asks for it. Skips where there are no programs for it."""
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def spark_target(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A dbt-spark target whose Spark runs in this process, one for all tests. Skips where there is no Java."""
    _check_marked(request)
    if reason := spark.why_not():
        pytest.skip(reason)
    with spark.running(tmp_path_factory.mktemp("spark")) as target:
        yield target
