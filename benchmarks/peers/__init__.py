"""The servers' configurations, and the aiohttp proxy that is one of them."""
