"""The shell: asyncio, sockets, files, processes and clocks of `abci_app`; everything else there is pure."""
