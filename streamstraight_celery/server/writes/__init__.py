"""Writing over HTTP: Durable Streams' PUT, POST, DELETE, and forks."""
