"""Following streams for readers: one feed a stream, shared by its readers."""
