"""Bytes, rates and durations in words that people read in events and tables."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_MINUTE = 60
_HOUR = 3600


def bytes_text(count: float) -> str:
    """Render a count of bytes with three significant digits and decimal units, as disks and links are sold."""
    value = float(count)
    for unit in _UNITS:
        if abs(value) < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    digits = 0 if unit == "B" else max(0, 2 - len(str(int(abs(value)))) + 1)
    return f"{value:.{digits}f} {unit}"


def rate_text(bytes_per_second: float) -> str:
    """Render a rate in bytes per second."""
    return f"{bytes_text(bytes_per_second)}/s"


def duration_text(seconds: float) -> str:
    """Render a duration in seconds, coarser as it grows."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < _MINUTE / 6 else f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"
