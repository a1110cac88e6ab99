"""The stream store on one Redis, with or without Sentinel."""
