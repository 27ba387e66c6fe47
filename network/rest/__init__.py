"""A read-only REST gateway: the ledger as proven JSON, and the Cosmos routes that block explorers call."""
