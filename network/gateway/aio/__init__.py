"""The shell of the gateway: HTTP, tasks and clocks; everything else in `network/gateway` is pure."""
