"""Publishes a run to a repository of the Hugging Face Hub, in one commit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vaezoo.pretrained import download
from vaezoo.pretrained.entry import parse_registry
from vaezoo.pretrained.hub_files import SCHEME
from vaezoo.pretrained.index import parse_index
from vaezoo.pretrained.locations import REGISTRY_FILE
from vaezoo.runs.publishing import PublicationInfo
from vaezoo.runs.publishing import publish as publish_to_folder
from vaezoo.runs.run import Run
from vaezoo.utils.errors import UnavailableError, UsageError, VaezooError, one_line


def publish(
    run: Run, entry_id: str, address: str, info: PublicationInfo, *, half: bool = False
) -> str:
    """Adds a run to the registry in a repository of the hub; see ``upload``.

    Args:
        run, entry_id, info, half: see ``vaezoo.runs.publishing.publish``.
        address: ``hf://owner/repo``; the repository must exist.
    """

    def add(folder: Path) -> None:
        publish_to_folder(run, entry_id, folder, info, half=half)

    return upload(add, entry_id, address)


def upload(
    add: Callable[[Path], object], entry_id: str, address: str, *, changed: str | None = None
) -> str:
    """Adds an entry to the registry in a repository of the hub.

    Args:
        add: adds the entry to the registry in a folder.
        entry_id: its id.
        address: ``hf://owner/repo``; the repository must exist.
        changed: the id of an entry that ``add`` may change.

    Returns:
        The address of the registry at the new commit.

    Raises:
        UsageError: ``address`` is not the address of a repository.
        UnavailableError: ``huggingface-hub`` is not installed, or the hub failed.
        RegistryError: the registry in the repository is not valid.
        Exception: what ``add`` raises.
    """
    repo = address.removeprefix(SCHEME).strip("/")
    if repo.count("/") != 1:
        raise UsageError(f"{address}: must be {SCHEME}owner/repo")
    if download.is_offline():
        raise UnavailableError(f"{address}: offline, because VAEZOO_OFFLINE is set")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UnavailableError(
            "--to hf:// needs huggingface-hub; pip install 'vaezoo[hub]'"
        ) from error
    with tempfile.TemporaryDirectory() as name:
        folder = (
            Path(name) / repo.partition("/")[2]
        )  # the name of the folder becomes the prefix of the registry
        with _failing_as_unavailable(address):
            base = HfApi().repo_info(repo).sha
            replaced = _download_registry(repo, base, folder, changed)
        add(folder)
        with _failing_as_unavailable(address):
            commit = HfApi().upload_folder(
                repo_id=repo,
                folder_path=folder,
                commit_message=f"Add {entry_id}",
                ignore_patterns=[".cache/**", *replaced],
                delete_patterns=["entries/index.*.jsonl"],  # the one that is replaced
                parent_commit=base,  # fails if another commit was made in the meantime
            )
    return f"{SCHEME}{repo}@{commit.oid}/{REGISTRY_FILE}"


@contextmanager
def _failing_as_unavailable(address: str) -> Iterator[None]:
    """Turns what calls of the hub raise into UnavailableError."""
    try:
        yield
    except VaezooError:
        raise
    except Exception as error:  # huggingface_hub and its HTTP library raise many types
        raise UnavailableError(f"{address}: {one_line(error)[:300]}") from error


def _download_registry(
    repo: str, commit: str | None, folder: Path, changed: str | None
) -> list[str]:
    """Downloads the registry file of a repository, if it has one, its index and one entry.

    Returns:
        The path of the index, if there is one; another one takes its place.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def download(path: str) -> Path:
        return Path(hf_hub_download(repo, path, revision=commit, local_dir=folder))

    try:
        content = parse_registry(download(REGISTRY_FILE).read_bytes(), REGISTRY_FILE)
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):  # a network failure, not a missing file
            raise
        return []
    if content.index is None:
        return []
    index = parse_index(download(content.index.path).read_bytes(), content.index.path)
    if changed is not None and changed in index:
        download(index.row(changed).path)
    return [content.index.path]
