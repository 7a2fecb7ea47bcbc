"""One file from the configured package index: which index that is, and a checked download from it."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import platformdirs

from benchmark.errors import UserError
from tasks.sources.archive import Archive

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage, ProgressTracker, PyPISimple

Result = TypeVar("Result")

DEFAULT_INDEX = "https://pypi.org/simple"
PIP_MACHINE_CONFIG = Path("/etc/pip.conf")  # which pip reads besides the platform's own place
INDEX_VARIABLES = ("RETAIN_INDEX_URL", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
TIMEOUT = (20.0, 60.0)  # seconds to connect, and between two pieces of an answer
PAUSES = (1.0, 3.0, 9.0)  # seconds before each retry


def index_url() -> str:
    """The index to download from: environment, then pip's configuration files, then pypi.org.

    Only the main index is asked, never an extra one: a file is what its hash says wherever it comes from, but
    the names of its project's files are nobody else's business.
    """
    for variable in INDEX_VARIABLES:
        if value := os.environ.get(variable, "").strip():
            # uv lets an index have a name: NAME=URL
            return _checked_url(re.sub(r"^[\w.-]+=(?=https?:)", "", value), variable)
    if configured := pip_setting("index-url"):
        return _checked_url(configured, "pip's configuration")
    return DEFAULT_INDEX


def _checked_url(url: str, origin: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UserError(f"the package index '{_public(url)}' of {origin} is no http(s) address: correct it")
    return url


def _public(url: str) -> str:
    """The address without user name and password."""
    return re.sub(r"//[^/]*@", "//", url)


def pip_setting(name: str) -> str | None:
    """A setting of pip's configuration files as ``pip install`` would see it, without its environment."""
    found = None
    for path in _pip_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not a valid pip configuration: correct it or remove it") from error
        for section in ("global", "install"):
            for key, value in parser.items(section) if parser.has_section(section) else ():
                if key.replace("_", "-") == name and value.strip():
                    found = value.strip()
    return found


def _pip_files() -> Iterator[Path]:
    """Pip's configuration files, those that override others last."""
    own = os.environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:  # pip's way to say: none at all
        return
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    yield platformdirs.site_config_path("pip", appauthor=False) / name
    yield PIP_MACHINE_CONFIG
    if not (own and Path(own).exists()):
        yield Path.home() / ("pip" if sys.platform == "win32" else ".pip") / name
        if sys.platform == "darwin":
            yield Path.home() / ".config" / "pip" / name
        yield platformdirs.user_config_path("pip", appauthor=False, roaming=True) / name
    yield Path(os.environ.get("VIRTUAL_ENV") or sys.prefix) / name
    if own:
        yield Path(own)


def download(archive: Archive, target: Path, report: Callable[[str], None]) -> None:
    """Downloads the archive's file, compares its hash and shows the progress on a terminal.

    Args:
        archive: What to download.
        target: Where to write it; the caller removes it, also after an error.
        report: Called with one line for whatever the user should know.

    Raises:
        UserError: The index cannot be reached, has no such file, or its file is not the pinned one.
        OSError: The target cannot be written.
    """
    from pypi_simple import PyPISimple

    index = index_url()
    with PyPISimple(index) as client:
        if certificate := _certificate():
            client.s.verify = certificate
        package = _retry(archive, index, report, lambda: _find(client, archive, index))
        report(f"downloading {archive.filename} ({archive.size / 1e6:.0f} MB) from {_public(index)}")
        _retry(archive, index, report, lambda: _receive(client, package, archive, target))
    _compare(archive, sha256_of(target))


def _certificate() -> str | None:
    """The certificates pip is told to trust, unless requests is told so itself."""
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return None
    path = os.environ.get("PIP_CERT") or pip_setting("cert")
    if path and not Path(path).exists():
        raise UserError(f"the certificate file {path} of PIP_CERT or pip's configuration does not exist")
    return path


def _retry(archive: Archive, index: str, report: Callable[[str], None], action: Callable[[], Result]) -> Result:
    """What the action returns. It is tried again while the network or the server is at fault."""
    import requests

    pauses = iter(PAUSES)
    while True:
        try:
            return action()
        except requests.RequestException as error:
            reason = _reason(error)
            pause = next(pauses, None) if _is_passing(error) else None
            if pause is None:
                raise UserError(
                    f"cannot download {archive.filename} from {_public(index)} ({reason}): "
                    "check the network and the index, then run 'retain fetch'"
                ) from error
            report(f"{archive.filename}: {reason}; trying again in {pause:.0f} s")
        time.sleep(pause)


def _is_passing(error: Exception) -> bool:
    """Whether the same request may well succeed a little later."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code == 429 or error.response.status_code >= 500
    if isinstance(error, requests.exceptions.SSLError):
        return False
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def _reason(error: Exception) -> str:
    """Why a request failed, in a few words and without credentials."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__


def _find(client: PyPISimple, archive: Archive, index: str) -> DistributionPackage:
    """The archive's entry on its project's page."""
    from pypi_simple import NoSuchProjectError, UnsupportedContentTypeError, UnsupportedRepoVersionError

    try:
        page = client.get_project_page(archive.project, timeout=TIMEOUT)
    except NoSuchProjectError as error:
        raise UserError(
            f"the package index {_public(index)} has no project '{archive.project}': "
            "use an index that mirrors pypi.org (RETAIN_INDEX_URL)"
        ) from error
    except (UnsupportedContentTypeError, UnsupportedRepoVersionError) as error:
        raise UserError(
            f"{_public(index)} does not answer like a package index: correct RETAIN_INDEX_URL or PIP_INDEX_URL"
        ) from error
    for package in page.packages:
        if package.filename == archive.filename:
            # Worth a look before a long download: an index that states another hash has another file.
            _compare(archive, package.digests.get("sha256", archive.sha256))
            return package
    raise UserError(
        f"project '{archive.project}' has no file {archive.filename} on {_public(index)}: "
        "use an index that mirrors pypi.org (RETAIN_INDEX_URL)"
    )


def _compare(archive: Archive, sha256: str) -> None:
    if sha256 != archive.sha256:
        raise UserError(
            f"{archive.filename} has SHA-256 {sha256}, but {archive.sha256} is pinned: "
            "the index offers another file, so it is not used; try another index (RETAIN_INDEX_URL)"
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _receive(client: PyPISimple, package: DistributionPackage, archive: Archive, target: Path) -> None:
    def progress(_announced: int | None) -> ProgressTracker:
        return _Progress(archive)

    # verify=False: the file is compared with the pinned hash instead of the one that the index states.
    client.download_package(package, target, verify=False, progress=progress, timeout=TIMEOUT)


class _Progress:
    """A bar on a terminal, and the end of a download that is larger than the file it should be."""

    def __init__(self, archive: Archive) -> None:
        from tqdm import tqdm

        self.archive = archive
        self.received = 0
        # disable=None: a bar on a terminal, nothing in a log file
        self.bar = tqdm(total=archive.size, desc=archive.filename, unit="B", unit_scale=True, leave=False, disable=None)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def update(self, increment: int) -> None:
        """Counts the bytes that have just arrived."""
        self.received += increment
        self.bar.update(increment)
        if self.received > self.archive.size:
            raise UserError(
                f"{self.archive.filename} is larger than the {self.archive.size} bytes it should have: "
                "the index offers another file; try another index (RETAIN_INDEX_URL)"
            )
