"""Reading over HTTP from a relay server."""
