"""Backbones from the model hub, through its own client and cache."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError
from benchmark.fetch import offline


def fetch_from_hub(repository: str, revision: str) -> Path:
    """Folder with a model's configuration, tokenizer and safetensors weights, downloaded unless it is cached.

    RETAIN_OFFLINE=1 forbids the download.

    Raises:
        UserError: the hub can't be reached and nothing is cached, or it has no such model or revision.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f" at revision {revision}" if revision else ""
    cached_only = offline()
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"],
                local_files_only=cached_only,
            )
        )
    except LocalEntryNotFoundError as error:
        why = "RETAIN_OFFLINE is set" if cached_only else "the model hub can't be reached"
        raise UserError(
            f"backbone {repository}{at}: {why} and the model is not cached; connect, or give a local folder"
        ) from error
    except GatedRepoError as error:
        raise UserError(f"backbone {repository}: the hub wants a log-in for it (hf auth login)") from error
    except RevisionNotFoundError as error:
        raise UserError(f"backbone {repository}: the hub has no revision '{revision}'") from error
    except RepositoryNotFoundError as error:
        raise UserError(f"backbone {repository}: the hub has no such model; check the spelling org/name") from error
    except Exception as error:  # the client also lets errors of its HTTP library, of its cache and of the disk through
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"backbone {repository}{at}: download failed: {reason}") from error
