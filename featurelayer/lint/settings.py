"""What featurelayer.yml says under `lint:`: which checks, how much they weigh, and how features are named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from featurelayer.dbt.contract import Block, validate_block
from featurelayer.errors import Problem
from featurelayer.model import Severity

_PLACEHOLDERS = ("what", "aggregate", "window", "unit")
_CODE = re.compile(r"[A-Z]{2,}\d{0,3}$")


def _grammar(text: str) -> str:
    """Check `<what>_<aggregate>_<window>`: known parts, each once, with `what` among them."""
    parts = re.findall(r"<(\w*)>", text)
    literal = re.sub(r"<\w+>", "", text)
    unknown = [part for part in parts if part not in _PLACEHOLDERS]
    if unknown or len(set(parts)) < len(parts) or "what" not in parts or not re.fullmatch(r"_*", literal):
        raise ValueError(
            f"'{text}' is no grammar; join each of {', '.join(f'<{part}>' for part in _PLACEHOLDERS)} at most once "
            "with _, with <what> among them"
        )
    return text


def _code(text: str) -> str:
    if not _CODE.match(text):
        raise ValueError(f"'{text}' is no check; write a code such as FL203, or a family such as FL2")
    return text


def _as_kind_table(value: Any) -> Any:
    return {"all": value} if isinstance(value, list | str) else value


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_explanations(value: Any) -> Any:
    return dict.fromkeys(value, "") if isinstance(value, list) else value


Code = Annotated[str, AfterValidator(_code)]
Words = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_words)]
Level = Annotated[Severity, BeforeValidator(lambda value: Severity(value) if isinstance(value, str) else value)]


class NamingBlock(Block):
    """How features are named."""

    grammar: Annotated[str, AfterValidator(_grammar)] = Field(
        default="<what>_<aggregate>_<window>",
        description="The order of a name's parts; each but <what> may be absent.",
    )
    aggregates: dict[str, Words] = Field(
        default_factory=dict, description="The word for an aggregate: the other words that mean the same."
    )
    windows: dict[str, Words] = Field(
        default_factory=dict, description="The word for a window, such as 30d: the other words that mean the same."
    )
    units: dict[str, Words] = Field(
        default_factory=dict, description="The word for a unit, such as minutes: the other words that mean the same."
    )
    synonyms: dict[str, Words] = Field(
        default_factory=dict, description="Any other word: its abbreviations and synonyms."
    )
    required: Annotated[dict[str, Words], BeforeValidator(_as_kind_table)] = Field(
        default_factory=dict, description="Type (bool, timestamp, ..., or all): words of which a name has at least one."
    )
    forbidden: Annotated[dict[str, str], BeforeValidator(_as_explanations)] = Field(
        default_factory=dict, description="Words that no name may have, with what to write instead."
    )


class LintBlock(Block):
    """The `lint:` of featurelayer.yml."""

    disabled: list[Code] = Field(default_factory=list, description="Checks, or families of them, that do not run.")
    severity: dict[Code, Level | Literal["error", "warning", "note"]] = Field(
        default_factory=dict, description="What a check, or a family, weighs here: error, warning or note."
    )
    naming: NamingBlock = NamingBlock()


Settings = LintBlock


def read_settings(block: Any, file: str, problems: list[Problem]) -> LintBlock:
    """Return the settings; what is wrong with them goes to `problems`, and the defaults hold instead."""
    read = validate_block(
        LintBlock, block if block is not None else {}, file=file, resource="", path="lint", problems=problems
    )
    return read or LintBlock()


def severity_of(code: str, table: Mapping[str, Any]) -> Any:
    """Return what a table of codes and families says of a code; the longest that fits is meant, None if none does."""
    fitting = [key for key in table if code.startswith(key)]
    return table[max(fitting, key=len)] if fitting else None
