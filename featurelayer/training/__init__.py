"""Use case: labels in, the same labels with point-in-time correct features out."""

from featurelayer.training.build import build_training_set
from featurelayer.training.files import default_lock_path
from featurelayer.training.report import FeatureReport, Report, ViewReport
from featurelayer.training.request import TrainingSetRequest
from featurelayer.training.resolved_request import Provenance, ResolvedRequest, plan_request
from featurelayer.training.result import TrainingSet

__all__ = [
    "FeatureReport",
    "Provenance",
    "Report",
    "ResolvedRequest",
    "TrainingSet",
    "TrainingSetRequest",
    "ViewReport",
    "build_training_set",
    "default_lock_path",
    "plan_request",
]
