"""`python -m example_project.demo`: everything at once, on a machine that has only Python."""
