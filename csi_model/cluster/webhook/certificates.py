"""Certificates: an authority of our own and the webhook's certificate, and when they are made anew. No I/O.

All of it lies in one Secret that every replica reads, so they all serve the same certificate. What is made is valid
from a day ago on, for clocks that go wrong, and is replaced when two thirds of its life are over.

An authority is replaced in steps, so that the API server trusts whatever any replica serves: a new one first only
stands beside the old one in what is trusted; after ten minutes, when all replicas have read the Secret and the API
server knows it, it signs the certificate; a day later the old one is dropped.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVICE = "csi-model-webhook"
"""Name of the webhook's Service, and of its Secret."""
_AUTHORITY_LIFE, _LIFE = dt.timedelta(days=3650), dt.timedelta(days=365)
_SKEW = dt.timedelta(days=1)
_SPREADS = dt.timedelta(minutes=10)  # until everybody knows a new authority: they look every minute
_LINGERS = dt.timedelta(days=1)  # that an old authority is trusted after it has signed what was served last
_MAX_AUTHORITIES = 8
_WRONG = (
    ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm,
    x509.ExtensionNotFound, x509.DuplicateExtension, x509.InvalidVersion,
)  # fmt: skip
Pem = bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """What the Secret holds, all of it PEM.

    Attributes:
        authorities: certificates of authorities, the one that signs first.
        authority_key: its private key.
        certificate: of the webhook.
        key: its private key.

    """

    authorities: tuple[Pem, ...] = ()
    authority_key: Pem = field(default=b"", repr=False)
    certificate: Pem = b""
    key: Pem = field(default=b"", repr=False)

    @property
    def bundle(self) -> Pem:
        """What the API server has to trust."""
        return b"".join(self.authorities)


def names_in(namespace: str) -> tuple[str, ...]:
    """Return the DNS names under which the webhook is called in a namespace."""
    return (f"{SERVICE}.{namespace}.svc", f"{SERVICE}.{namespace}.svc.cluster.local")


def split(bundle: Pem) -> tuple[Pem, ...]:
    """Split certificates that stand one after the other; nothing if one of them is none."""
    try:
        found = x509.load_pem_x509_certificates(bundle)
    except _WRONG:
        return ()
    return tuple(_pem(certificate) for certificate in found[:_MAX_AUTHORITIES])


def renewed(kept: Kept, names: Sequence[str], now: dt.datetime) -> Kept:
    """Return what should be kept: the same if all is well, else with what is missing, damaged or too old made anew.

    Args:
        kept: what there is.
        names: DNS names that the certificate has to have.
        now: the time, with a zone.

    """
    if not _is_sound_authority(kept, now):
        kept = _signed(_with_authority(Kept(), now), names, now)
    signer, served = _load(kept.authorities[0]), _certificate(kept, names, now)
    if served is None or _is_old(served, now):
        return _signed(kept, names, now)
    if _is_old(signer, now):
        return _with_authority(kept, now)
    if not _issued(served, signer):
        return _signed(kept, names, now) if now - _made(signer) >= _SPREADS else kept
    if len(kept.authorities) > 1 and now - _made(served) >= _LINGERS:
        return replace(kept, authorities=kept.authorities[:1])
    return kept


def expiry(certificate: Pem) -> dt.datetime:
    """Return until when a certificate is valid; raises ValueError if it is none."""
    return _load(certificate).not_valid_after_utc


def _is_sound_authority(kept: Kept, now: dt.datetime) -> bool:
    try:
        authority = _load(kept.authorities[0])
        belongs = _belongs(kept.authority_key, authority)
        return belongs and authority.not_valid_after_utc > now and _issued(authority, authority)
    except (*_WRONG, IndexError):
        return False


def _certificate(kept: Kept, names: Sequence[str], now: dt.datetime) -> x509.Certificate | None:
    """Return the webhook's certificate if it can be served: the right names, its key, a known authority, alive."""
    try:
        served = _load(kept.certificate)
        named = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        sound = (
            set(named.get_values_for_type(x509.DNSName)) == set(names)
            and _belongs(kept.key, served)
            and served.not_valid_after_utc > now
            and any(_issued(served, _load(authority)) for authority in kept.authorities)
        )
    except _WRONG:
        return None
    return served if sound else None


def _is_old(certificate: x509.Certificate, now: dt.datetime) -> bool:
    """Tell whether two thirds of its life are over. One from the future isn't old: it is our clock that is behind."""
    life = certificate.not_valid_after_utc - _made(certificate)
    return now >= _made(certificate) + life * 2 / 3


def _made(certificate: x509.Certificate) -> dt.datetime:
    return certificate.not_valid_before_utc + _SKEW


def _belongs(key: Pem, certificate: x509.Certificate) -> bool:
    private = load_pem_private_key(key, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != ec.SECP256R1.name:
        return False  # none of ours
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return private.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except _WRONG:
        return False
    return True


def _with_authority(kept: Kept, now: dt.datetime) -> Kept:
    """Put a new authority before the others, which signs from now on."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{SERVICE} authority {now:%Y-%m-%d %H:%M}")
    usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
    certificate = (
        _builder(name, name, key=key, signer=key.public_key(), now=now, until=now + _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    authorities = (_pem(certificate), *kept.authorities)[:_MAX_AUTHORITIES]
    return replace(kept, authorities=authorities, authority_key=_private(key))


def _signed(kept: Kept, names: Sequence[str], now: dt.datetime) -> Kept:
    """Make a new certificate."""
    authority, signer = _load(kept.authorities[0]), load_pem_private_key(kept.authority_key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - for mypy: it is one of ours
    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now + _LIFE, authority.not_valid_after_utc)
    usage = dict.fromkeys(_USAGES, False) | {"digital_signature": True}
    certificate = (
        _builder(_name(SERVICE), authority.subject, key=key, signer=signer.public_key(), now=now, until=until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return replace(kept, certificate=_pem(certificate), key=_private(key))


_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    *,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    until: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _load(certificate: Pem) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate)


def _pem(certificate: x509.Certificate) -> Pem:
    return certificate.public_bytes(Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> Pem:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
