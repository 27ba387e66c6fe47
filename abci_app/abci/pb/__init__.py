"""Generated from `abci_app/abci/proto`; imported by `abci_app.abci` alone. `abci_app/README.md` has the command."""
