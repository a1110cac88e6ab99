"""Web frameworks: one module each, imported only by its users."""
