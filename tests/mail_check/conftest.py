from collections.abc import Iterator

import pytest

from tests.support.certificates import Authority
from tests.support.mail_setups import zone
from tests.support.nameserver import Nameserver, nameserver


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of the tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The authority, which this process trusts as it does the public ones."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


@pytest.fixture
def dns() -> Iterator[Nameserver]:
    """A DNS server with the records of a site whose mail arrives."""
    with nameserver() as server:
        server.zone |= zone()
        yield server
