"""The admission webhook: pods of a `prefer` volume are made to prefer the nodes that hold it.

:mod:`mutating` decides (no I/O), :mod:`known` knows from the watches' :mod:`index` which models a pod's claims name,
:mod:`reviewing` answers an AdmissionReview, :mod:`serving` is the HTTPS server, :mod:`certificates` makes its
certificate, :mod:`renewing` keeps it in a Secret and tells the API server whom to trust.
"""
