"""Protocols of the two recursive readers of SQL: one of expressions, one of queries.

Each needs the other and the modules for joins, places, bounds and windows; these depend on the protocols only.
"""

from __future__ import annotations

from typing import Any, Protocol

from sqlglot import exp

from featurelayer.lineage.scope import FromItem, Parts, SelectScope, Value
from featurelayer.lineage.values import Fact, FactKind


class ExpressionReader(Protocol):
    """Reads the expressions of one model. `over` is the window function that is being read."""

    model: str
    over: exp.Expression | None

    def value(self, node: exp.Expression, scope: SelectScope, name: str = "") -> Value:
        """Return the value of an expression of a SELECT."""
        ...

    def key(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> str:
        """Return the canonical key of an expression and collect its parts."""
        ...

    def conjuncts(self, condition: exp.Expression | None) -> list[exp.Expression]:
        """Return the conditions that all have to hold."""
        ...

    def condition(self, node: exp.Expression, scope: SelectScope, parts: Parts) -> list[str]:
        """Return the keys of a condition's conjuncts."""
        ...

    def sql(self, node: exp.Expression) -> str:
        """Return an expression as SQL for a reader."""
        ...

    def fact(self, kind: FactKind, node: exp.Expression, **more: Any) -> Fact:
        """Return a fact about an expression of this model."""
        ...

    def note_window_form(self, function: str, window: str) -> str:
        """Return the key of a function over a window."""
        ...


class QueryReader(Protocol):
    """Reads the queries of one model."""

    @property
    def writer(self) -> ExpressionReader:
        """The reader of the model's expressions."""
        ...

    def next_place(self) -> int:
        """Return a new number for a relation in a FROM."""
        ...

    def item(self, node: exp.Expression, scope: SelectScope, within: str) -> FromItem:
        """Return one entry of a FROM or JOIN under its name."""
        ...
