"""The shell: asyncio, sockets, files, processes and clocks of `relay`; everything else there is pure."""
