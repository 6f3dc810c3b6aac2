"""Measurements: registries that are loaded in bulk, tasks in processes of their own, and a report."""
