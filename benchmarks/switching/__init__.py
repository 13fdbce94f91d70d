"""The proof of the switch: one load through ours, nginx and HAProxy while each switches between two slots."""
