"""The shell of the verifier: overlay, chain, files and clock."""
