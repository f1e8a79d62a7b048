"""Convert the definitions of another feature tool to annotations."""

from featurelayer.migrate.dbt_features import from_dbt_features
from featurelayer.migrate.feast import TargetModel, from_feast
from featurelayer.migrate.values import FileEdit, Migration, Note

__all__ = ["FileEdit", "Migration", "Note", "TargetModel", "from_dbt_features", "from_feast"]
