"""The `lint:` block of featurelayer.yml: disabled checks, severities, and how features are named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from featurelayer.dbt.contract import Block, validate_block
from featurelayer.errors import Problem
from featurelayer.model import Severity

_PLACEHOLDERS = ("what", "aggregate", "window", "unit")
_CODE = re.compile(r"[A-Z]{2,10}\d{0,3}$")


def _grammar(text: str) -> str:
    """Check `<what>_<aggregate>_<window>`: known parts, each once, with `what` among them."""
    parts = re.findall(r"<(\w*)>", text)
    literal = re.sub(r"<\w+>", "", text)
    unknown = [part for part in parts if part not in _PLACEHOLDERS]
    if unknown or len(set(parts)) < len(parts) or "what" not in parts or not re.fullmatch(r"_*", literal):
        raise ValueError(
            f"'{text}' is not a naming grammar; join <what> and any of "
            f"{', '.join(f'<{part}>' for part in _PLACEHOLDERS if part != 'what')} with _, each at most once"
        )
    return text


def _code(text: str) -> str:
    if not _CODE.match(text):
        raise ValueError(f"'{text}' is not a check; write a code such as FL203, or a family such as FL2")
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
    """The naming rules of features."""

    grammar: Annotated[str, AfterValidator(_grammar)] = Field(
        default="<what>_<aggregate>_<window>",
        description="The order of a name's parts; all but <what> are optional.",
    )
    aggregates: dict[str, Words] = Field(default_factory=dict, description="The word for an aggregate: its synonyms.")
    windows: dict[str, Words] = Field(
        default_factory=dict, description="The word for a window, such as 30d: its synonyms."
    )
    units: dict[str, Words] = Field(
        default_factory=dict, description="The word for a unit, such as minutes: its synonyms."
    )
    synonyms: dict[str, Words] = Field(
        default_factory=dict, description="Any other word: its abbreviations and synonyms."
    )
    required: Annotated[dict[str, Words], BeforeValidator(_as_kind_table)] = Field(
        default_factory=dict,
        description="Type (bool, timestamp, ..., or all): words, of which a name needs one.",
    )
    forbidden: Annotated[dict[str, str], BeforeValidator(_as_explanations)] = Field(
        default_factory=dict, description="Words that names must not have, with what to write instead."
    )


class LintBlock(Block):
    """The `lint:` block of featurelayer.yml."""

    disabled: list[Code] = Field(default_factory=list, description="Checks, or families of checks, that do not run.")
    severity: dict[Code, Level | Literal["error", "warning", "note"]] = Field(
        default_factory=dict, description="Severity of a check or family in this project: error, warning or note."
    )
    naming: NamingBlock = NamingBlock()

    def severity_of(self, code: str) -> Severity | None:
        """Return the severity that the project gives a check, None if it keeps the check's own.

        The longest matching code or family wins.
        """
        severity = self.severity[max(matching, key=len)] if (matching := self._matching(code, self.severity)) else None
        return Severity(severity) if severity is not None else None

    def is_disabled(self, code: str) -> bool:
        """Whether the project disables a check."""
        return bool(self._matching(code, self.disabled))

    @staticmethod
    def _matching(code: str, patterns: Iterable[str]) -> list[str]:
        return [pattern for pattern in patterns if matches_code(pattern, code)]


def read_settings(block: Any, file: str, problems: list[Problem]) -> LintBlock:
    """Return the settings; if they are invalid, add to `problems` and return the defaults."""
    read = validate_block(
        LintBlock, block if block is not None else {}, file=file, resource="", path="lint", problems=problems
    )
    return read or LintBlock()


def matches_code(pattern: str, code: str) -> bool:
    """Whether a code is `pattern`, or of the family `pattern` (`FL`, `FL2`)."""
    return code.startswith(pattern) and (pattern[-1:].isdigit() or code[len(pattern) :][:1].isdigit())
