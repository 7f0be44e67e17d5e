"""Commands that look after a checkout: ``plan``, ``doctor`` and ``clean``."""
