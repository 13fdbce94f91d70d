"""The supervisor: processes, the admin API, durable state."""
