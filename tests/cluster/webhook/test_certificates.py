import datetime as dt
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from csi_model.cluster.webhook.certificates import Kept, expiry, names_in, renewed, split

NAMES = names_in("csi-model")
START = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
DAY, YEAR = dt.timedelta(days=1), dt.timedelta(days=365)


@pytest.fixture(scope="module")
def first():
    return renewed(Kept(), NAMES, START)


def later(kept, days, names=NAMES):
    return renewed(kept, names, START + dt.timedelta(days=days))


def cert(pem):
    return x509.load_pem_x509_certificate(pem)


def signed_by(kept):
    """Return the place of the authority that signed what is served."""
    [place] = [n for n, it in enumerate(kept.authorities) if issued(kept.certificate, it)]
    return place


def issued(pem, authority):
    try:
        cert(pem).verify_directly_issued_by(cert(authority))
    except Exception:
        return False
    return True


def test_from_nothing_an_authority_and_a_certificate_are_made(first):
    assert len(first.authorities) == 1
    assert signed_by(first) == 0
    assert expiry(first.certificate) == START + YEAR
    assert cert(first.authorities[0]).not_valid_after_utc == START + 10 * YEAR


def test_what_is_made_is_valid_for_clocks_that_go_a_day_wrong(first):
    assert cert(first.certificate).not_valid_before_utc == START - DAY
    assert cert(first.authorities[0]).not_valid_before_utc == START - DAY


def test_the_certificate_is_a_servers_and_has_both_names(first):
    extensions = cert(first.certificate).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "csi-model-webhook.csi-model.svc",
        "csi-model-webhook.csi-model.svc.cluster.local",
    ]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert isinstance(cert(first.certificate).public_key().curve, ec.SECP256R1)


def test_the_longest_namespace_has_a_certificate():
    names = names_in("n" * 63)
    assert renewed(renewed(Kept(), names, START), names, START + DAY).certificate


def test_keys_are_not_shown(first):
    assert b"PRIVATE" in first.key
    assert "PRIVATE" not in repr(first)


@pytest.mark.parametrize("days", [0, 100, 243])
def test_until_two_thirds_of_its_life_are_over_all_stays_as_it_is(first, days):
    assert later(first, days) is first


def test_after_two_thirds_of_its_life_the_certificate_is_renewed_by_the_same_authority(first):
    renewed_ = later(first, 244)
    assert renewed_.authorities == first.authorities
    assert renewed_.certificate != first.certificate
    assert signed_by(renewed_) == 0
    assert later(renewed_, 245) is renewed_


def test_for_a_clock_that_is_behind_all_is_well(first):
    assert later(first, -300) is first


def test_a_new_authority_is_trusted_before_it_signs_and_the_old_one_for_a_day_after(first):
    fresh = later(first, 2400)  # by the old authority
    both = later(fresh, 2434)
    assert both.certificate == fresh.certificate
    assert both.authorities[1:] == fresh.authorities
    assert later(both, 2434 + 9 / 1440) is both
    changed = later(both, 2434 + 10 / 1440)
    assert (signed_by(changed), changed.authorities) == (0, both.authorities)
    assert later(changed, 2434.9) is changed
    assert later(changed, 2436).authorities == both.authorities[:1]


def test_a_certificate_and_an_authority_that_are_both_old_are_renewed_one_after_the_other(first):
    one = later(first, 2434)
    assert one.authorities == first.authorities
    two = later(one, 2434)
    assert (two.certificate, two.authorities[1:]) == (one.certificate, first.authorities)
    assert later(two, 2434) is two


def test_after_the_authoritys_end_everything_is_made_anew(first):
    anew = later(first, 3651)
    assert not set(anew.authorities) & set(first.authorities)
    assert signed_by(anew) == 0


def test_a_certificate_does_not_outlive_its_authority(first):
    assert expiry(renewed(first, NAMES, START + 9.5 * YEAR).certificate) <= START + 10 * YEAR


def test_other_names_need_another_certificate(first):
    moved = later(first, 0, names_in("elsewhere"))
    assert moved.authorities == first.authorities
    assert moved.certificate != first.certificate


def other_key(kind):
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(kind)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("key", [b"", b"junk", other_key("rsa"), other_key(ec.SECP256R1()), other_key(ec.SECP384R1())])
def test_a_key_that_does_not_belong_is_replaced(first, key):
    served = later(replace(first, key=key), 0)
    assert served.authorities == first.authorities
    assert served.certificate != first.certificate
    assert later(served, 0) is served
    anew = later(replace(first, authority_key=key), 0)
    assert anew.authorities != first.authorities
    assert later(anew, 0) is anew


def test_a_certificate_of_an_unknown_authority_is_replaced(first):
    stranger = renewed(Kept(), NAMES, START)
    mixed = replace(first, certificate=stranger.certificate, key=stranger.key)
    assert signed_by(later(mixed, 0)) == 0


def test_authorities_are_split_as_they_were_joined(first):
    both = later(later(first, 2400), 2434)
    assert split(both.bundle) == both.authorities
    assert split(b"") == split(b"junk") == split(both.bundle.replace(b"MII", b"MIx")) == ()


@given(st.sampled_from(["authorities", "authority_key", "certificate", "key"]), st.data())
def test_whatever_the_secret_holds_it_is_mended(first, part, data):
    whole = b"".join(first.authorities) if part == "authorities" else getattr(first, part)
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 3)) :]
    given_ = replace(first, **{part: split(damaged) if part == "authorities" else damaged})
    mended = later(given_, 0)
    assert later(mended, 0) is mended
    assert signed_by(mended) == 0
