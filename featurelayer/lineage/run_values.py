"""Removes the values of one dbt run from compiled SQL: its time, id, target and environment.

The same project compiled twice has other texts where Jinja wrote `run_started_at`, `invocation_id`, `target.name` or
an environment variable. Each such value is replaced by the Jinja that wrote it, so that the texts are equal, and a
reader sees where it came from.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from featurelayer.lineage.values import CompileRun

STARTED = "{{ run_started_at }}"
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<![\w.'\"])\d{10}(?:\d{3})?(?:\.\d+)?(?![\w.'\"])",
    re.DOTALL,
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?")
_TEMPORARY = re.compile(r"(\w)__dbt_(?:tmp|backup|new)\w*")
_JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_SET = re.compile(r"\{%-?\s*set\s+(\w+)\s*=\s*(.*?)\s*-?%\}", re.DOTALL)
_EXPRESSION = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
_TEMPLATE = re.compile(r"'((?:[^'{}]|\{(?!\{)|\}|\{\{.*?\}\})*?)'", re.DOTALL)
_OF_THE_RUN = re.compile(
    r"\b(?:run_started_at|invocation_id|env_var|dbt_version|thread_id|modules\s*\.\s*(?:datetime|pytz)|"
    r"(?<!\.)target\s*[.\[]|this\s*\.\s*(?:schema|database)|model\s*\.\s*(?:batch|schema|database)|"
    r"__dbt_internal_microbatch\w*)"
)
_DAY = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d")
_SECONDS, _SHORTEST_ID = 19, 16


def neutral_sql(sql: str, *, raw: str = "", run: CompileRun | None = None, relation_name: str = "") -> str:
    """Return compiled SQL in which values of the run are replaced by the Jinja that wrote them.

    Args:
        sql: what dbt compiled.
        raw: the model's file. Without it only times of the run with a fraction of a second are known.
        run: when dbt compiled, and its invocation id.
        relation_name: the model's relation; its schema and database are those of the target.
    """
    sql = _TEMPORARY.sub(r"\1", sql)
    if run is not None and len(run.invocation) >= _SHORTEST_ID:
        sql = sql.replace(run.invocation, "{{ invocation_id }}")
    values = _Values(raw=raw, run=run, places=_places(relation_name))
    return _TOKEN.sub(lambda found: values.neutral(found[0]), sql)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Values:
    raw: str
    run: CompileRun | None
    places: frozenset[str]

    def neutral(self, token: str) -> str:
        """Return a literal, a number or a comment as it is, or the Jinja that stands for it."""
        if token[0] == "-" or token[0] == "/":
            return _MOMENT.sub(lambda found: STARTED if self._is_moment(found[0]) else found[0], token)
        if token[0].isdigit():
            return f"'{STARTED}'" if self._is_epoch(token) else token
        text = token[1:-1]
        if self._is_moment(text) or self._is_day(text):
            return f"'{STARTED}'"
        if token[0] == "'" and self.raw and "{{" not in text and f"'{text}'" not in self.raw:
            if text in self.places:
                return "'{{ schema }}'"
            written = [each for each in _templates(self.raw) if each.pattern.fullmatch(text)]
            written = [each for each in written if each.has_text] or written
            if written and all(each.is_of_run for each in written):  # any of several templates may have written it
                quoted = " ".join(" | ".join(each.text for each in written).split()).replace("'", "''")
                return f"'{quoted}'"
        return token

    def _is_moment(self, text: str) -> bool:
        """Whether it is a time of the run: to the second where the file does not say it, else to the microsecond."""
        if self.run is None or not _MOMENT.fullmatch(text):
            return False
        exact = len(text) > _SECONDS and text[_SECONDS] == "."
        if not exact and (not self.raw or text in self.raw):
            return False
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return False
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return self.run.start <= moment <= self.run.end

    def _is_day(self, text: str) -> bool:
        if self.run is None or not self.raw or text in self.raw:
            return False
        return any(text in (self.run.start.strftime(form), self.run.end.strftime(form)) for form in _DAY)

    def _is_epoch(self, text: str) -> bool:
        if self.run is None or not self.raw or text in self.raw:
            return False
        seconds = float(text) if len(text.partition(".")[0]) == 10 else float(text) / 1000
        return self.run.start.timestamp() - 1 <= seconds <= self.run.end.timestamp() + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    """A literal of a file that Jinja fills in; `is_of_run` if nothing but the run decides what with.

    `has_text` tells whether it has any text of its own.
    """

    text: str
    pattern: re.Pattern[str]
    has_text: bool
    is_of_run: bool


def depends_on_time(text: str) -> bool:
    """Whether a literal stands for a time of the run, as far as the Jinja in it tells."""
    return "{{" in text and not any(word in text for word in ("env_var", "target", "schema", "invocation_id"))


@functools.lru_cache(maxsize=256)
def _templates(raw: str) -> tuple[_Template, ...]:
    """Return the literals that Jinja fills in."""
    return tuple(dict.fromkeys(_find_templates(raw))) if "{{" in raw else ()


def _find_templates(raw: str) -> Iterator[_Template]:
    raw = _JINJA_COMMENT.sub("", raw)
    names: set[str] = set()
    for name, expression in _SET.findall(raw):
        if _is_of_run(expression, names):
            names.add(name)
    for found in _TEMPLATE.finditer(_SET.sub("", raw)):
        expressions = _EXPRESSION.findall(found[1])
        if expressions:
            fixed = _EXPRESSION.split(found[1])[::2]
            pattern = re.compile("(?:[^']|'')*?".join(re.escape(each) for each in fixed), re.DOTALL)
            is_of_run = all(_is_of_run(each, names) for each in expressions)
            yield _Template(text=found[1], pattern=pattern, has_text=any(fixed), is_of_run=is_of_run)


def _is_of_run(expression: str, names: set[str]) -> bool:
    if re.search(r"\bvar\s*\(", expression):
        return False
    return _OF_THE_RUN.search(expression) is not None or any(re.search(rf"\b{name}\b", expression) for name in names)


@functools.lru_cache(maxsize=1024)
def _places(relation_name: str) -> frozenset[str]:
    parts = relation_name.translate(str.maketrans("", "", '"`[]')).split(".")
    return frozenset(part for part in parts[:-1] if part)
