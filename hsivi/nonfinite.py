"""How a method fails: by numbers that are infinite or undefined.  No torch here."""


class NonFinite(ValueError):
    """A method gave numbers that are infinite or undefined, which is a result of it (`hsivi.failure`)."""
