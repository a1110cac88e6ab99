"""The load generator: one process that reads any number of feeds and stamps what arrives.

It is lean on purpose (bytes are counted, not parsed, while they arrive), so that with two
cores it is never the bottleneck. What arrived is checked afterwards.
"""
