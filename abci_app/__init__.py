"""The verification committee: a replicated ABCI application over CometBFT, and the verifier beside it."""
