"""The stream store in this process's memory, for tests and eager mode."""
