"""Whose rights read an S3 source, and what is said when they don't suffice."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from csi_model.core.reference import Reference
from csi_model.demo.s3server import S3Server
from csi_model.demo.s3server_auth import Key
from csi_model.errors import (
    InvalidArgument,
    SourceDenied,
    SourceNotFound,
    SourceUnauthenticated,
    SourceUnavailable,
)
from csi_model.sources.base import Access, read_into
from csi_model.sources.s3 import S3Source
from tests.contracts.source_contract import ALL, paths, read
from tests.sources.certificates import make_certificate
from tests.sources.conftest import ID, SECRET, SECRETS, S3Place

AMBIENT = {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture
def place(place_in):
    place = place_in("models")
    place.put("qwen/a", b"weights")
    return place


def resolve(place, path="qwen", **access):
    return place.source(**access).resolve(place.reference(path), ALL)


def set_ambient(monkeypatch):
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)


def test_secrets_are_used(place):
    assert paths(resolve(place)) == ["a"]


@pytest.mark.parametrize("missing", ["accessKeyId", "secretAccessKey"])
def test_a_missing_secret_is_named(place, missing):
    with pytest.raises(SourceUnauthenticated, match=f"want {missing}:"):
        resolve(place, secrets={key: value for key, value in SECRETS.items() if key != missing})


def test_secrets_never_fall_back_to_the_drivers_own(place, monkeypatch):
    set_ambient(monkeypatch)
    with pytest.raises(SourceUnauthenticated, match="accessKeyId and secretAccessKey"):
        resolve(place, secrets={})


def test_wrong_secrets_never_fall_back_to_the_drivers_own(place, monkeypatch):
    set_ambient(monkeypatch)
    with pytest.raises(SourceUnauthenticated, match="SignatureDoesNotMatch"):
        resolve(place, secrets={**SECRETS, "secretAccessKey": "wrong"})


def test_an_unknown_key_is_unauthenticated(place):
    with pytest.raises(SourceUnauthenticated, match="InvalidAccessKeyId"):
        resolve(place, secrets={"accessKeyId": "AKIAUNKNOWN", "secretAccessKey": "x"})


def test_no_secret_gets_into_a_text(place):
    source = place.source(secrets={**SECRETS, "secretAccessKey": "hunter2", "sessionToken": "token3"})
    with pytest.raises(SourceUnauthenticated) as caught:
        source.resolve(place.reference("qwen"), ALL)
    assert not [word for word in ("hunter2", "token3") if word in str(caught.value) + repr(source)]


def test_a_session_token_is_used(tmp_path):
    with S3Server(tmp_path / "s3", keys={ID: Key(SECRET, token="session/token+=")}) as server:
        server.create_bucket("models")
        server.put("models", "qwen/a", b"weights")
        place = S3Place(server.url, None, None)
        assert paths(resolve(place, secrets={**SECRETS, "sessionToken": "session/token+="})) == ["a"]
        with pytest.raises(SourceUnauthenticated):
            resolve(place, secrets={**SECRETS, "sessionToken": "old"})
        place.close()


def test_ambient_uses_the_drivers_own(place, monkeypatch):
    set_ambient(monkeypatch)
    assert paths(resolve(place, auth="ambient", secrets={})) == ["a"]


def test_ambient_without_credentials_is_unauthenticated(place):
    with pytest.raises(SourceUnauthenticated, match="ambient"):
        resolve(place, auth="ambient", secrets={})


def test_anonymous_reads_what_is_public(place_in, server):
    server.put("open", "qwen/a", b"weights")
    source = place_in("open").source(auth="anonymous", secrets={})
    entry = source.resolve(Reference.parse("s3://open/qwen"), ALL).entries[0]
    assert read(source, entry) == b"weights"


def test_anonymous_never_uses_anybodys_credentials(place, monkeypatch):
    set_ambient(monkeypatch)
    with pytest.raises(SourceDenied):
        resolve(place, auth="anonymous")


def test_a_tenants_source_is_not_redirected_by_the_drivers_environment(place, monkeypatch, tmp_path):
    config = tmp_path / "config"
    config.write_text("[default]\nendpoint_url = http://127.0.0.1:1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/missing.pem")
    assert paths(resolve(place)) == ["a"]
    client = S3Source(Reference.parse("s3://models"), Access(secrets=SECRETS))._ready().client
    assert client.meta.endpoint_url == "https://s3.amazonaws.com"
    client.close()


def test_the_right_to_list_alone_is_not_enough(place, server):
    server.denied.add(("GET", "models", "qwen/a"))
    with pytest.raises(SourceDenied):
        resolve(place)


def test_an_empty_model_still_proves_the_right_to_read(place, server):
    server.put("models", "empty/.keep", b"")
    assert paths(resolve(place, "empty")) == [".keep"]
    server.denied.add(("HEAD", "models", "empty/"))
    with pytest.raises(SourceDenied):
        resolve(place, "empty")


def test_no_right_to_list_is_denied(place, server):
    server.denied.add(("GET", "models", ""))
    with pytest.raises(SourceDenied, match=r"s3://models/qwen .*s3:ListBucket"):
        resolve(place)


def test_a_clock_that_is_wrong_is_named(place, server):
    now = server.clock
    server.clock = lambda: now() + 3600
    with pytest.raises(SourceUnauthenticated, match="clocks"):
        resolve(place)


def test_nobody_listening_is_unavailable(place):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{port}"):
        resolve(place, endpoint=f"http://127.0.0.1:{port}")


def test_an_untrusted_certificate_is_unavailable_and_a_bundle_mends_it(tmp_path):
    public, tls = make_certificate(tmp_path)
    with S3Server(tmp_path / "s3", tls=tls) as server:
        server.create_bucket("models")
        server.put("models", "qwen/a", b"weights")
        place = S3Place(server.url, None, None)
        with pytest.raises(SourceUnavailable, match="CA bundle"):
            resolve(place)
        assert paths(resolve(place, ca_bundle=public)) == ["a"]
        place.close()


def test_a_signature_that_expired_is_renewed(place, server):
    source = place.source()
    entry = source.resolve(place.reference("qwen"), ALL).entries[0]
    now, ahead = server.clock, [7200.0]
    server.clock = lambda: now() + (ahead.pop() if ahead else 0)
    assert read(source, entry) == b"weights"
    assert not ahead


def test_a_lasting_refusal_is_denied_after_one_renewal(place, server):
    source = place.source()
    entry = source.resolve(place.reference("qwen"), ALL).entries[0]
    server.denied.add(("GET", "models", "qwen/a"))
    server.requests.clear()
    with pytest.raises(SourceDenied):
        read(source, entry)
    assert len(server.requests) == 2


def test_one_signature_serves_many_ranges(place, monkeypatch):
    source = place.source()
    entry = source.resolve(place.reference("qwen"), ALL).entries[0]
    signer, signed = source._ready().signer, []
    real = signer.url
    monkeypatch.setattr(signer, "url", lambda *a: signed.append(1) or real(*a))
    with source.open(entry) as reader:
        for start in range(entry.size):
            read_into(reader, start, memoryview(bytearray(1)))
    assert len(signed) == 1


@pytest.mark.parametrize("name", ["-x", "a@b", "b:80", "arn:aws:s3:::x", "b" * 300])
def test_what_is_no_bucket_is_an_invalid_argument(name):
    with pytest.raises(InvalidArgument, match=r"parameters\.source"):
        S3Source(Reference("s3", name, "qwen"), Access())


def test_a_source_that_was_never_used_closes():
    S3Source(Reference.parse("s3://models"), Access()).close()


def test_the_catalog_does_not_import_botocore():
    code = "import csi_model.sources.catalog, sys; sys.exit(any(m.split('.')[0] in ('boto3', 'botocore') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_bucket_at_moto_is_not_found(moto):
    place = S3Place(moto, None, None, "no-such-bucket")
    with pytest.raises(SourceNotFound, match="bucket"):
        resolve(place)
    place.close()


def test_a_volume_does_not_wait_for_the_credentials_of_another(place_in, server, monkeypatch):
    """A metadata service that never answers holds up those who ask it and nobody else."""
    server.put("open", "qwen/a", b"weights")
    with socket.create_server(("127.0.0.1", 0)) as metadata:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{metadata.getsockname()[1]}/")
        place = place_in("open")
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(resolve, place, auth="ambient", secrets={})
            asked, _ = metadata.accept()
            assert paths(resolve(place, auth="anonymous", secrets={})) == ["a"]
            assert not asking.done()
            asked.close()
            metadata.close()
            with pytest.raises(SourceUnauthenticated):
                asking.result()
