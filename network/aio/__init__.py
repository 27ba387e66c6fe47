"""The shell: asyncio, sockets, files, processes and clocks of `network`; everything else there is pure."""
