"""Use case: what another tool knows of features, as annotations of this one's."""

from featurelayer.migrate.dbt_features import from_dbt_features
from featurelayer.migrate.feast import TargetModel, from_feast
from featurelayer.migrate.values import FileEdit, Migration, Note

__all__ = ["FileEdit", "Migration", "Note", "TargetModel", "from_dbt_features", "from_feast"]
