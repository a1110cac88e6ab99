"""Asking for a stream: announce it, enqueue its task, hand out its name and token."""
