"""Results from other machines: taken over where they are verified, listed where they conflict."""
