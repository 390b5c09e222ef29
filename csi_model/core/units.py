"""Bytes, rates and durations in words that people read in events and tables."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_MINUTE = 60
_HOUR = 3600


def bytes_text(count: float) -> str:
    """Render a count of bytes with three significant digits and decimal units, as disks and links are sold."""
    value = float(count)
    for unit in _UNITS[:-1]:
        text = f"{value:.0f}" if unit == _UNITS[0] else _three_digits(value)
        if abs(float(text)) < _STEP:  # after rounding: 999,999 bytes are 1.00 MB, not 1000 kB
            return f"{text} {unit}"
        value /= _STEP
    return f"{_three_digits(value)} {_UNITS[-1]}"


def _three_digits(value: float) -> str:
    return next(
        (f"{value:.{digits}f}" for digits in (2, 1) if abs(round(value, digits)) < 10 ** (3 - digits)), f"{value:.0f}"
    )


def rate_text(bytes_per_second: float) -> str:
    """Render a rate in bytes per second."""
    return f"{bytes_text(bytes_per_second)}/s"


def duration_text(seconds: float) -> str:
    """Render a duration in seconds, coarser as it grows."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:  # noqa: PLR2004 - as milliseconds are
        return f"{milliseconds} ms"
    tenths = round(seconds, 1)
    if tenths < 10:  # noqa: PLR2004 - two significant digits
        return f"{tenths:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
