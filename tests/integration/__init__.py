"""Whole paths on real projects: dbt builds, the commands, the wheels, processes that are killed."""
