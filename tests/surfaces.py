"""The client's two surfaces behind one, so that what is tested of one is tested of the other.

A test module names `FeatureClient` and has every test run with both by

    @pytest.fixture(autouse=True, params=SURFACES)
    def surface(request, monkeypatch):
        monkeypatch.setattr(request.module, "FeatureClient", SURFACES[request.param])
"""

import asyncio
from typing import Any, Self

from featurelayer.online import AsyncFeatureClient, FeatureClient


class Awaited:
    """`AsyncFeatureClient`, every call awaited in a loop of its own."""

    def __init__(self, store, **options) -> None:
        self._client = AsyncFeatureClient(store, **options)

    @classmethod
    def connect(cls, url: str, **options) -> Self:
        connected = cls.__new__(cls)
        connected._client = AsyncFeatureClient.connect(url, **options)
        return connected

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not asyncio.iscoroutinefunction(attribute):
            return attribute
        return lambda *given, **named: asyncio.run(attribute(*given, **named))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()


SURFACES = {"sync": FeatureClient, "async": Awaited}
