"""Shared fixtures and the hypothesis profile of the whole suite."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "featurelayer",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # Explaining a failure runs the example hundreds of times more; with a database behind it that takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
settings.load_profile("featurelayer")
