"""Use case: labels in, the same labels with point-in-time correct features out."""

from featurelayer.training.build import (
    ResolvedRequest,
    build_training_set,
    plan_request,
)
from featurelayer.training.files import default_lock_path
from featurelayer.training.report import FeatureReport, Report, ViewReport
from featurelayer.training.result import Provenance, TrainingSet

__all__ = [
    "FeatureReport",
    "Provenance",
    "Report",
    "ResolvedRequest",
    "TrainingSet",
    "ViewReport",
    "build_training_set",
    "default_lock_path",
    "plan_request",
]
