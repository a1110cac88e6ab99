"""Reading straight from the stream store."""
