"""What a Celery worker does around a stream task."""
