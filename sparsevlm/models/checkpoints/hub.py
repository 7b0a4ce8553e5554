"""Asking the hub, and GitHub, what a repository holds, and getting files from them.

huggingface_hub does the work; GitHub, which has some official files that no hub copy replaces, is
asked for the same facts: commit, and size and git's hash of every file.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

from sparsevlm.models.atomic import replacing
from sparsevlm.models.checkpoints.declared import Repository
from sparsevlm.models.checkpoints.places import LOCK, CheckpointError, FileEntry, Locked

# Weights, and texts that the loaders read. Pickles, code and training states are not fetched.
WANTED = (".safetensors", ".json", ".model", ".txt", ".jinja")
LEFT_OUT = {"trainer_state.json", "pytorch_model.bin.index.json"}
CHANGED = (
    "{} of {} came with another content than the hub states; it was thrown away. Run the same "
    "command again; if it happens again, a proxy or a mirror on the way changes files, or "
    f"{LOCK} was changed: delete that"
)
LOST = (
    "the connection to the hub failed at {} ({}); whole files are kept, the same command goes on "
    "from there. Behind a firewall set HTTPS_PROXY, or HF_ENDPOINT to a mirror"
)
GITHUB = "SPARSEVLM_GITHUB"  # environment variable: an address in place of both of these
GITHUB_API, GITHUB_FILES = "https://api.github.com", "https://raw.githubusercontent.com"
WHOLE = 40  # digits of a commit


class Unreachable(CheckpointError):
    """The hub does not answer, or may not be asked."""


def listing(repository: Repository, endpoint: str | None) -> Locked:
    """Ask for the commit of a repository, and the files of it that are wanted.

    A mirror is asked where a repository does not have the file as it must be.

    Raises
    ------
    CheckpointError
        None of them has it.
    """
    failed: list[CheckpointError] = []
    for one in repository.served():
        try:
            locked = _listing(one, endpoint)
            _require_wanted(one, locked)
            return locked
        except CheckpointError as error:
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    is_away = all(isinstance(error, Unreachable) for error in failed)
    said = f"{failed[0]}" if is_away else "; ".join(map(str, failed))
    raise (Unreachable if is_away else CheckpointError)(said)


def _listing(repository: Repository, endpoint: str | None) -> Locked:
    if repository.kind == "github":
        return _of_github(repository)
    info = repo_info(repository, endpoint)
    with explained(repository):
        files = [_entry(file) for file in info.siblings if _is_wanted(repository, file.rfilename)]
        return Locked(info.sha, tuple(files), repository.id)


def repo_info(repository: Repository, endpoint: str | None) -> Any:
    """Return what the hub says of a repository and its files; first digits of a commit will do.

    Raises
    ------
    CheckpointError
        It is not shown, asks for its terms to be accepted, or lacks the revision.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import BadRequestError, RevisionNotFoundError

    api, revision = HfApi(endpoint=endpoint), repository.revision
    ask = {"repo_id": repository.id, "repo_type": repository.kind}
    with explained(repository):
        try:
            return api.repo_info(**ask, revision=revision, files_metadata=True)
        except (RevisionNotFoundError, BadRequestError):
            if len(revision) == WHOLE or not repository.pinned:
                raise
            commits = [one.commit_id for one in api.list_repo_commits(**ask)]
            found = [commit for commit in commits if commit.startswith(revision)]
            if len(found) != 1:
                raise
        return api.repo_info(**ask, revision=found[0], files_metadata=True)


def _is_wanted(repository: Repository, name: str) -> bool:
    if repository.files:
        return any(fnmatch(name, pattern) for pattern in repository.files)
    return name.endswith(WANTED) and "/" not in name and name not in LEFT_OUT


def _require_wanted(repository: Repository, locked: Locked) -> None:
    where = f"{repository.id} at {repository.revision}"
    if not repository.accepts(locked.revision):
        raise CheckpointError(
            f"{where} is {locked.revision} by the hub, which is another commit; if you go through "
            "a mirror of the hub, use another one"
        )
    names = [file.name for file in locked.files]
    if not repository.files and not any(name.endswith(".safetensors") for name in names):
        raise CheckpointError(
            f"{where} has no safetensors; pickled weights (.bin) "
            "can run any code when they are opened and are not fetched. Look for a revision with "
            "safetensors, or convert a copy that you trust and give its folder"
        )
    for pattern in repository.files:
        if not any(fnmatch(repository.strip + name, pattern) for name in names):
            raise CheckpointError(
                f"{where} has no file {pattern}; its files were moved: look at its page for "
                "another revision, or put the official files into the benchmark's folder by hand"
            )
    if repository.sha256 and any(file.digest != repository.sha256 for file in locked.files):
        raise CheckpointError(
            f"{names[0]} of {where} is not the file that is needed (SHA-256 {repository.sha256}); "
            "get that one from its authors"
        )


def _entry(file: Any) -> FileEntry:
    if file.lfs is not None:
        return FileEntry(file.rfilename, file.lfs["size"], "sha256", file.lfs["sha256"])
    return FileEntry(file.rfilename, file.size, "git", file.blob_id)


def _github(kind: str, path: str) -> str:
    return f"{os.environ.get(GITHUB) or kind}/{path}"


def _of_github(repository: Repository) -> Locked:
    """The commit and the wanted files of a repository on GitHub, with git's hashes."""
    with explained(repository), httpx.Client(follow_redirects=True, timeout=30) as client:
        about = f"repos/{repository.id}"
        commit = client.get(_github(GITHUB_API, f"{about}/commits/{repository.revision}"))
        commit.raise_for_status()
        sha = commit.json()["sha"]
        tree = client.get(_github(GITHUB_API, f"{about}/git/trees/{sha}?recursive=1"))
        tree.raise_for_status()
        rows = [row for row in tree.json()["tree"] if row["type"] == "blob"]
        files = [
            FileEntry(row["path"].removeprefix(repository.strip), row["size"], "git", row["sha"])
            for row in rows
            if _is_wanted(repository, row["path"])
        ]
        return Locked(sha, tuple(files), repository.id)


def download(
    repository: Repository,
    locked: Locked,
    files: Sequence[FileEntry],
    to: Path,
    endpoint: str | None,
) -> None:
    """Get files of a repository into a folder; a lost connection is taken up where it broke.

    Raises
    ------
    CheckpointError
        The connection was lost for good, or a file has another size than stated.
    """
    if repository.kind == "github":
        with explained(repository):
            for file in files:
                path = f"{locked.source}/{locked.revision}/{repository.strip}{file.name}"
                _from_github(path, to / file.name)
        return
    from huggingface_hub import snapshot_download

    try:
        with explained(repository):
            snapshot_download(
                locked.source or repository.id,
                repo_type=repository.kind,
                revision=locked.revision,
                local_dir=to,
                allow_patterns=[glob.escape(file.name) for file in files],
                endpoint=endpoint,
            )
    except OSError as error:
        if "Consistency check failed" not in str(error):  # huggingface_hub's, of a file's size
            raise
        raise CheckpointError(CHANGED.format("a file", repository.id)) from error


def _from_github(path: str, to: Path) -> None:
    url = _github(GITHUB_FILES, path)
    with httpx.stream("GET", url, follow_redirects=True, timeout=30) as reply:
        reply.raise_for_status()
        with replacing(to) as partial, partial.open("wb") as file:
            for part in reply.iter_bytes():
                file.write(part)


@contextmanager
def explained(repository: Repository) -> Iterator[None]:
    """Turn what the clients of hub and GitHub raise into one sentence that says what to do."""
    from huggingface_hub import errors, get_session

    # httpx or httpx2, whichever this release of huggingface_hub uses.
    client = import_module(type(get_session()).__module__.partition(".")[0])
    sentences = {
        errors.OfflineModeIsEnabled: "the environment variable HF_HUB_OFFLINE forbids the network; "
        "unset it to fetch",
        errors.GatedRepoError: f"{repository.id} asks for its terms to be accepted: open its page "
        "on the hub, accept them, and log in with `hf auth login`",
        errors.RevisionNotFoundError: f"the hub knows {repository.id}, but not its revision "
        f"{repository.revision}; its history may have been rewritten: give a local folder with "
        "the files instead",
        errors.RepositoryNotFoundError: f"the hub does not show {repository.id} (it was moved, or "
        "needs a login: `hf auth login`)",
    }
    unreachable = (errors.OfflineModeIsEnabled, client.TransportError, httpx.TransportError)
    hub = (client.HTTPError, httpx.HTTPError, errors.HfHubHTTPError, errors.LocalEntryNotFoundError)
    try:
        yield
    except (*sentences, *hub) as error:
        known = (text for kind, text in sentences.items() if isinstance(error, kind))
        first = next(iter(str(error).splitlines()), type(error).__name__)
        text = next(known, _of_status(repository, error) or LOST.format(repository.id, first))
        kind = Unreachable if isinstance(error, unreachable) else CheckpointError
        raise kind(text) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"what answers in place of the hub or GitHub about {repository.id} says what neither "
            f"does ({error}); log in where your network asks for it, or look at HF_ENDPOINT"
        ) from error


def _of_status(repository: Repository, error: Exception) -> str:
    """What to do about the status of an answer, "" for what the same command may cure."""
    reply = getattr(error, "response", None)
    status = getattr(reply, "status_code", 0)
    if status == 404 and repository.kind == "github":
        return (
            f"GitHub does not show {repository.id} at {repository.revision}; it was moved: look "
            f"for {', '.join(repository.files)} there and put them into the benchmark's folder by "
            "hand"
        )
    if status == 401:
        return f"the hub wants a login for {repository.id}: `hf auth login`, then the same command"
    if status == 429 or (status == 403 and repository.kind == "github"):
        wait = reply.headers.get("Retry-After", "")
        wait = f"{wait} seconds" if wait.isdecimal() else "an hour"
        return (
            f"too many requests were made for {repository.id} from this address (HTTP {status}); "
            f"run the same command again in {wait}; whole files are kept"
        )
    return ""
