"""A training set as a dbt model: its text from the project's own files, and the file that holds it, kept current."""

from featurelayer.dbt_model.files import DbtModel, State, training_set_models, write_models
from featurelayer.dbt_model.text import ModelRequest

__all__ = ["DbtModel", "ModelRequest", "State", "training_set_models", "write_models"]
