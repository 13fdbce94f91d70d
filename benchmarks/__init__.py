"""Measures the proxy beside its peers; see benchmarks/README.md."""
