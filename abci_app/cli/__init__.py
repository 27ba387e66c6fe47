"""`planetserve validator COMMAND`: what the operator of a validator does with it, besides running it."""
