"""The read side of the ledger: proven rows, and friendly JSON paths that name the rows they were made from."""
