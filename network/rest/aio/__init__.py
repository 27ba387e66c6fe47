"""The shell of the REST gateway: aiohttp handlers over the light client."""
