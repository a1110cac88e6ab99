"""An application's own routes that answer with a stream: what their frameworks have in common."""
