"""The application process of a validator: `python -m abci_app.app --config config.toml`."""
