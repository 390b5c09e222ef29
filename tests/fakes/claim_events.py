"""ClaimEvents that a test can read."""


class FakeClaimEvents:
    """Keeps what was said, as (claim, reason, message, warning)."""

    def __init__(self):
        self.said = []

    def say(self, claim, *, warning, reason, message):
        self.said.append((str(claim), reason, message, warning))

    def reasons(self, claim=None):
        return [reason for who, reason, _, _ in self.said if claim in (None, who)]

    def message(self, reason):
        """Return the only message of a reason."""
        (message,) = (text for _, why, text, _ in self.said if why == reason)
        return message
