"""Warehouses that are reached through dbt's own adapter: its connection and its cursor."""
