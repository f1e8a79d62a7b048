"""The forms of a training set: a script of temporary tables, or one query. A dialect names the one that suits it best.

- `MaterializedScript`: a running maximum down one list of labels and rows, for any engine with temporary tables.
- `AsofScript`: the same with the engine's own as-of join.
- `MatchFetchScript`: match, fetch, resolve, for engines that update temporary tables.
- `RowMaximumScript`: a running maximum over whole rows, where every shuffle is dear.
"""

from featurelayer.sql.scripts.asof import AsofScript
from featurelayer.sql.scripts.base import Cte, ScriptBuilder
from featurelayer.sql.scripts.match_fetch import MatchFetchScript
from featurelayer.sql.scripts.materialized import MaterializedScript
from featurelayer.sql.scripts.row_maximum import RowMaximumScript

__all__ = ["AsofScript", "Cte", "MatchFetchScript", "MaterializedScript", "RowMaximumScript", "ScriptBuilder"]
