"""Use case: labels in, the same labels with point-in-time correct features out."""

from featurelayer.training.build import (
    ResolvedRequest,
    build_training_set,
    describe_views,
    plan_request,
    run_checks,
)
from featurelayer.training.files import default_lock_path
from featurelayer.training.report import FeatureReport, Report, ViewReport
from featurelayer.training.result import Provenance, TrainingSet
from featurelayer.training.steps import run_step

__all__ = [
    "FeatureReport",
    "Provenance",
    "Report",
    "ResolvedRequest",
    "TrainingSet",
    "ViewReport",
    "build_training_set",
    "default_lock_path",
    "describe_views",
    "plan_request",
    "run_checks",
    "run_step",
]
