"""Reading: Durable Streams, plain server-sent events, many streams on one connection."""
