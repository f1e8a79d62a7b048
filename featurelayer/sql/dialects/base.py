"""An engine's SQL: its words (`SqlBuilder`) and the form of script that suits it best."""

from __future__ import annotations

from functools import cached_property

from featurelayer.sql.join_rules import JoinRules
from featurelayer.sql.plan import Plan, Script
from featurelayer.sql.scripts.base import ScriptBuilder
from featurelayer.sql.scripts.materialized import MaterializedScript
from featurelayer.sql.sql_builder import SqlBuilder


class Dialect(SqlBuilder):
    """One engine. A file of this package, or another package's, subclasses it and has an instance named DIALECT.

    Set flags first (`SqlBuilder` lists them), then override methods. `script_type` is the form of its
    scripts: running maximums over temporary tables, unless the engine has something better.
    """

    script_type: type[ScriptBuilder] = MaterializedScript

    @cached_property
    def script(self) -> ScriptBuilder:
        """The script builder of this dialect."""
        return self.script_type(self)

    @cached_property
    def rules(self) -> JoinRules:
        """The rules of a point-in-time join in this dialect."""
        return self.script.rules

    def compile(self, plan: Plan) -> Script:
        """Return the script of a plan."""
        return self.script.compile(plan)

    def statement(self, plan: Plan, *, ordered: bool = False) -> str:
        """Return the plan of a training set as one query, in the labels' order if `ordered`."""
        return self.script.statement(plan, ordered=ordered)
