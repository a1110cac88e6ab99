"""Streams that a web process produces itself, without a Celery task."""
