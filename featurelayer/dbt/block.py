"""The base class of the contract's blocks, and the keys that our blocks have in dbt's YAML."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

BLOCK = "featurelayer"
DEFAULTS = "featurelayer_defaults"
AT = f"config.meta.{BLOCK}"
"""The place of our block in the YAML of a model, a column or an exposure."""


class Block(BaseModel):
    """A mapping that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
