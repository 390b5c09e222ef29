"""Proxies from the environment, for listing and for reading."""

import pytest

from csi_model.core.globs import Selection
from csi_model.demo.s3server import S3Server
from csi_model.errors import SourceUnavailable
from csi_model.sources.http_pool import HttpPool
from csi_model.sources.http_server import Proxy, Server
from tests.contracts.source_contract import read
from tests.sources.certificates import make_certificate
from tests.sources.conftest import S3Place
from tests.sources.tiny_proxy import TinyProxy


@pytest.fixture
def proxy():
    with TinyProxy() as proxy:
        yield proxy


def whole_model(place, **access):
    source = place.source(**access)
    return [read(source, entry) for entry in source.resolve(place.reference("qwen"), Selection()).entries]


def test_http_goes_through_the_proxy(place_in, proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    place = place_in("models")
    place.put("qwen/a", b"weights")
    assert whole_model(place) == [b"weights"]
    assert any(head.startswith(f"GET {place.url}/models/qwen/a?") for head in proxy.heads)


def test_https_goes_through_a_tunnel(tmp_path, proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    public, tls = make_certificate(tmp_path)
    with S3Server(tmp_path / "s3", tls=tls) as server:
        server.create_bucket("models")
        server.put("models", "qwen/a", b"weights")
        place = S3Place(server.url, None, None)
        assert whole_model(place, ca_bundle=public) == [b"weights"]
        place.close()
    assert {head.split()[0] for head in proxy.heads} == {"CONNECT"}


def test_no_proxy_is_honoured(place_in, proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    place = place_in("models")
    place.put("qwen/a", b"weights")
    assert whole_model(place) == [b"weights"]
    assert proxy.heads == []


def test_a_proxys_password_is_sent_to_it(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://me:s%40crt@proxy.example.com:3128")
    proxy = Proxy.for_server(Server.of("http://host/"))
    assert (proxy.host, proxy.port) == ("proxy.example.com", 3128)
    assert proxy.headers == {"Proxy-Authorization": "Basic bWU6c0BjcnQ="}


def test_an_unknown_kind_of_proxy_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret@proxy:1080")
    with pytest.raises(SourceUnavailable, match="HTTPS_PROXY") as caught:
        HttpPool().lease(Server.of("https://host/"))
    assert "secret" not in str(caught.value)
