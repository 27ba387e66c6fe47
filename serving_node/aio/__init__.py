"""The shell: asyncio, sockets, files, processes and clocks of `serving_node`; everything else there is pure."""
