"""Shared fixtures and the hypothesis profile of the whole suite."""

from hypothesis import HealthCheck, settings

settings.register_profile("featurelayer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("featurelayer")
