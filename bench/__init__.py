"""Benchmarks: one module a subject, each measuring ratios against a limit or a peer in the same run."""
