"""Published results: what is small of a finished run, and everything that is drawn from it without training."""
