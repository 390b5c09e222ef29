"""Kubernetes' quantities, e.g. ``20Gi``, as bytes."""

import re
from decimal import ROUND_CEILING, Decimal

_FORM = re.compile(r"(\d{1,20}(?:\.\d{1,20})?|\.\d{1,20})(?:([KMGTPE]i)|([kMGTPE])|m|[eE]([+-]?\d{1,2}))?\Z")
_MOST = 2**63 - 1


def bytes_of(text: str) -> int:
    """Return the bytes that a quantity says, rounded up; 0 for what says nothing that can be a size."""
    match = _FORM.match(text)
    if match is None:
        return 0
    number, binary, decimal, exponent = match.groups()
    factor = Decimal(1)
    if binary:
        factor = Decimal(1024) ** ("KMGTPE".index(binary[0]) + 1)
    elif decimal:
        factor = Decimal(1000) ** ("kMGTPE".index(decimal) + 1)
    elif exponent:
        factor = Decimal(10) ** int(exponent)
    elif text.endswith("m"):
        factor = Decimal("0.001")
    return min(_MOST, int((Decimal(number) * factor).to_integral_value(ROUND_CEILING)))
