"""What the Kubernetes API can answer instead of what was asked for.

All are :class:`csi_model.errors.StoreUnusable`: to the volumes' verbs the API is where the records are kept, and an
answer like these never means that there is no record.
"""

from csi_model.errors import StoreUnusable


class ApiUnavailable(StoreUnusable):
    """It doesn't answer, fails, or asks to be left alone for a while: the same request later."""


class ApiDenied(StoreUnusable):
    """It doesn't let this driver: a right is missing, or the token isn't accepted."""


class ApiNotFound(StoreUnusable):
    """It doesn't know the kind of object, or the place for it: the CustomResourceDefinition or namespace is missing."""


class ApiAbsent(ApiNotFound):
    """There is no object of this name; the kind is known."""


class ApiConflict(StoreUnusable):
    """The object exists already, or is another one than the request was made for (its resourceVersion or uid)."""


class ApiExpired(StoreUnusable):
    """What a watch or a list was to go on from is too long ago: list anew."""


class ApiRefused(StoreUnusable):
    """The object is not one that the API accepts."""
