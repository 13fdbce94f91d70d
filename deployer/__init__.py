"""The release tool: manages the slots and asks the proxy to switch between them."""
