"""ABCI 2.0 over CometBFT's socket protocol: framing and dispatch, without sockets."""
