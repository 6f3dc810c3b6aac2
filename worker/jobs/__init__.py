"""Celery tasks: each unpacks ids and calls a flow. Messages are wake-ups; losing one changes nothing."""
