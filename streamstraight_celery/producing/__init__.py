"""From a generator to the stream store: driver, writer, outbox and sender."""
