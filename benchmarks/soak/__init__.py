"""`scripts/bench soak`: minutes of mixed load with faults injected, and an account of every request."""
