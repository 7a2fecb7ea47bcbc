"""What the hub's client complains of, in one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator


def explained(error: Exception, kind: str, wanted: str, offline: bool) -> str:
    """One line for the user.

    Args:
        error: What the client raised.
        kind: ``model`` or ``dataset``.
        wanted: How messages name what was asked for.
        offline: Whether RETAIN_OFFLINE forbade the network.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    thing = "model" if kind == "model" else "data set"
    status = _status(error)
    chain = list(_chain(error))
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in chain):
        return f"{wanted}: no space left for the hub's cache: free some, or set HF_HOME to another disk"
    if offline and isinstance(error, LocalEntryNotFoundError):
        return f"{wanted}: RETAIN_OFFLINE is set and the {thing} is not cached; connect, or give a local folder"
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in chain) or _client_is_offline(error):
        return f"{wanted}: HF_HUB_OFFLINE is set and the {thing} is not cached; unset it and run 'retain fetch'"
    if any(isinstance(cause, GatedRepoError) for cause in chain):
        return (
            f"{wanted}: it is gated: accept its terms on its page on the hub, then log in (hf auth login, or HF_TOKEN)"
        )
    if any(isinstance(cause, RevisionNotFoundError) for cause in chain):
        return f"{wanted}: the hub has no such revision; look at the commits on its page"
    if status == 401 or (status == 403 and not isinstance(error, RepositoryNotFoundError)):
        refused = "wants a log-in for it, or there is no such thing" if status == 401 else "refuses access to it"
        return f"{wanted}: the hub {refused}: check the spelling org/name, and log in (hf auth login, or HF_TOKEN)"
    if any(isinstance(cause, RepositoryNotFoundError) for cause in chain):
        return f"{wanted}: the hub has no such {thing}; check the spelling org/name, or log in if it is private"
    if status == 429:
        return (
            f"{wanted}: the hub allows no more requests for now (429): wait some minutes, then run 'retain fetch'; "
            "who is logged in (hf auth login, or HF_TOKEN) may ask more"
        )
    if status is not None and status >= 500:
        return f"{wanted}: the hub is out of order (HTTP status {status}): run 'retain fetch' later, or set HF_ENDPOINT"
    if isinstance(error, HFValidationError):
        return f"{wanted}: that is no name on the hub; it has the form org/name"
    if _is_broken_transfer(error):
        return f"{wanted}: the transfer broke off again and again: check the network, then run 'retain fetch'"
    if isinstance(error, LocalEntryNotFoundError) and status is None:
        return f"{wanted}: the model hub can't be reached and the {thing} is not cached; connect, or set HF_ENDPOINT"
    return f"{wanted}: download failed: {reason_of(error)}"


def is_passing(error: Exception) -> bool:
    """Whether the same request may well succeed a little later."""
    status = _status(error)
    return status in (408, 429) or (status is not None and status >= 500) or _is_broken_transfer(error)


def reason_of(error: Exception) -> str:
    """Why a request failed, in a few words."""
    status = _status(error)
    if status is not None:
        return f"HTTP status {status}"
    if _is_broken_transfer(error):
        return "the transfer broke off"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: the client wraps its own errors in one that says nothing is cached."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _status(error: Exception) -> int | None:
    """The status of the answer that is at fault; None if there was no answer."""
    from huggingface_hub.errors import HfHubHTTPError

    for cause in _chain(error):
        if isinstance(cause, HfHubHTTPError):
            return int(cause.response.status_code)
    return None


def _client_is_offline(error: Exception) -> bool:
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import LocalEntryNotFoundError

    return is_offline_mode() and isinstance(error, LocalEntryNotFoundError)


def _is_broken_transfer(error: Exception) -> bool:
    """Whether the connection was lost on the way, or the file came out shorter or longer than announced."""
    import httpx2

    lost = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.ReadTimeout)
    return any(isinstance(cause, lost) or "Consistency check failed" in str(cause) for cause in _chain(error))
