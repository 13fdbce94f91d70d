"""A release of the shop under load, from nothing to the verdict: what `scripts/demo` runs."""
