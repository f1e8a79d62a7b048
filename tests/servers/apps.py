"""Two small web applications that serve features, as docs/serving.md shows them: FastAPI, and WSGI for gunicorn.

The environment says how: FEATURELAYER_TEST_STORE is the store's address, FEATURELAYER_TEST_START is `cold`, `warm`
(warm_up when the worker starts) or `used` (a lookup before the fork).
"""

import json
import os
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

from featurelayer.online import AsyncFeatureClient, FeatureClient

STORE, START = os.environ.get("FEATURELAYER_TEST_STORE", ""), os.environ.get("FEATURELAYER_TEST_START", "cold")
# The server that stands for DynamoDB in tests runs in one busy process.
DEADLINE = 60


def make_api():
    """Return the FastAPI application."""
    from fastapi import FastAPI

    clients: dict[str, AsyncFeatureClient] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI):
        async with AsyncFeatureClient.connect(STORE) as client:
            clients["features"] = client
            if START == "warm":
                await client.warm_up(["late_arrival"], deadline=DEADLINE)
            yield

    api = FastAPI(lifespan=lifespan)

    @api.get("/lookup")
    async def lookup(tailnum: str) -> dict[str, float]:
        vector = await clients["features"].lookup("late_arrival", {"tailnum": tailnum}, deadline=DEADLINE)
        return {"delay": vector["plane_legs__arr_delay"]}

    return api


def make_wsgi():
    """Return the WSGI application; its client is created here, before gunicorn forks if it preloads."""
    client = FeatureClient.connect(STORE)
    if START == "used":
        client.lookup("late_arrival", {"tailnum": "N1"}, deadline=DEADLINE)

    def application(environ, start_response):
        (tailnum,) = parse_qs(environ["QUERY_STRING"])["tailnum"]
        try:
            vector = client.lookup("late_arrival", {"tailnum": tailnum}, deadline=DEADLINE)
            status, body = "200 OK", {"delay": vector["plane_legs__arr_delay"]}
        except Exception as error:  # noqa: BLE001 (the test reads it)
            status, body = "503 Service Unavailable", {"error": f"{type(error).__name__}: {error}"}
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]

    application.client = client
    return application


def post_fork(server, worker) -> None:
    """Warm a worker up: what a gunicorn.conf.py defines."""
    if START == "warm":
        worker.app.wsgi().client.warm_up(["late_arrival"], deadline=DEADLINE)
