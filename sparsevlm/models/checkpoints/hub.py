"""What a repository on the hub holds, and the bytes of one file, from where one stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from sparsevlm.models.checkpoints.declared import Repository
from sparsevlm.models.checkpoints.places import CheckpointError, FileEntry, Locked

# Texts that the loaders read. Everything else (pickles, code, training states) stays behind.
TEXTS = (".json", ".model", ".txt", ".jinja")
LEFT_OUT = {"trainer_state.json", "pytorch_model.bin.index.json"}
SECONDS = 60  # without a byte, a connection counts as lost


def listing(repository: Repository, revision: str, endpoint: str | None = None) -> Locked:
    """Ask the hub what is to be fetched of a repository.

    Parameters
    ----------
    repository
        Which.
    revision
        Commit, branch or tag.
    endpoint
        Address of the hub; by default huggingface_hub's, which the environment variable
        HF_ENDPOINT sets.

    Returns
    -------
    Locked
        The commit, and the safetensors, configuration and tokenizer files at its top level.

    Raises
    ------
    CheckpointError
        The hub cannot be reached or refuses, or has no safetensors of it.
    """
    from huggingface_hub import HfApi

    with _told(repository.id, revision):
        info = HfApi(endpoint=endpoint).model_info(
            repository.id, revision=revision, files_metadata=True
        )
    found = [_entry(sibling) for sibling in info.siblings if _wanted(sibling.rfilename)]
    if not any(file.name.endswith(".safetensors") for file in found):
        raise CheckpointError(
            f"{repository.id} at {revision} has no safetensors; pickled weights (.bin) can run "
            "any code when they are opened and are not fetched. Look for a revision with "
            "safetensors, or convert a copy that you trust and give its folder"
        )
    return Locked(info.sha, tuple(found))


def _wanted(name: str) -> bool:
    if "/" in name or name in LEFT_OUT:
        return False
    return name.endswith((".safetensors", *TEXTS))


def _entry(sibling: Any) -> FileEntry:
    if sibling.lfs is not None:
        digest = sibling.lfs["sha256"]
        return FileEntry(sibling.rfilename, sibling.lfs["size"], "sha256", digest)
    return FileEntry(sibling.rfilename, sibling.size, "git", sibling.blob_id)


def download(
    repository: str,
    revision: str,
    file: FileEntry,
    partial: Path,
    seen: Callable[[int], object],
    endpoint: str | None = None,
) -> None:
    """Append to `partial` what it lacks of a file.

    huggingface_hub deletes a partial file when a download fails, so the bytes are taken here, from
    the address, with the session and the login that it gives.

    Parameters
    ----------
    repository, revision, file
        What.
    partial
        Holds the beginning, or does not exist.
    seen
        Called with the number of bytes just written; with a negative one where the server does
        not continue and the file begins anew.
    endpoint
        See `listing`.

    Raises
    ------
    CheckpointError
        The connection was lost, or the hub refuses. What came stays in `partial`.
    """
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    url = hf_hub_url(repository, file.name, revision=revision, endpoint=endpoint)
    # "identity": a compressed reply could not be continued.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    have = partial.stat().st_size if partial.exists() else 0
    if have:
        headers["Range"] = f"bytes={have}-"
    with _told(repository, revision), partial.open("ab") as out:
        with get_session().stream(
            "GET", url, headers=headers, follow_redirects=True, timeout=SECONDS
        ) as reply:
            hf_raise_for_status(reply)
            if have and reply.status_code != 206:
                out.truncate(0)
                seen(-have)
            for chunk in reply.iter_bytes():  # as they come, so that a cut loses none
                out.write(chunk)
                seen(len(chunk))


@contextmanager
def _told(repository: str, revision: str) -> Iterator[None]:
    """Turn what the hub's client raises into one sentence that says what to do."""
    from huggingface_hub import errors, get_session

    # httpx or httpx2, whichever this release of huggingface_hub uses.
    client = import_module(type(get_session()).__module__.partition(".")[0])
    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise CheckpointError(
            "the environment variable HF_HUB_OFFLINE forbids the network; unset it to fetch"
        ) from error
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{repository} asks for its terms to be accepted: open its page on the hub, accept "
            "them, and log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"the hub knows {repository}, but not its revision {revision}; "
            "its history may have been rewritten: give a local folder with the files instead"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub does not show {repository} (it was moved, or needs a login: `hf auth login`)"
        ) from error
    except (client.HTTPError, errors.HfHubHTTPError) as error:
        raise LostConnectionError(
            f"the connection to the hub failed at {repository} ({error or type(error).__name__}); "
            "what came is kept, the same command goes on from there. Behind a firewall set "
            "HTTPS_PROXY, or HF_ENDPOINT to a mirror"
        ) from error


class LostConnectionError(CheckpointError):
    """The network failed; trying again may help."""
