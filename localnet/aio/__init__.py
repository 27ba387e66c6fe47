"""The shell: asyncio, sockets, files, processes and clocks of `localnet`; everything else there is pure."""
