"""Measures the whole path, worker to reader, beside what people use today: `make bench`."""
