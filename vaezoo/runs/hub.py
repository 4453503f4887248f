"""Publishing to a hub of models: the same folder, uploaded in one commit."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vaezoo.pretrained import download as http
from vaezoo.pretrained.registries import FILE
from vaezoo.runs.publishing import About
from vaezoo.runs.publishing import publish as publish_to_folder
from vaezoo.runs.run import Run
from vaezoo.utils.errors import UnavailableError, UsageError, VaezooError

SCHEME = "hf://"


def publish(run: Run, identity: str, to: str, about: About, *, half: bool = False) -> str:
    """Adds a run to the registry in a repository of the hub.

    Args:
        run, identity, about, half: as ``vaezoo.runs.publishing.publish`` takes them.
        to: ``hf://owner/repo``, which must exist.

    Returns:
        The address of the registry at the new commit.

    Raises:
        UnavailableError: ``huggingface-hub`` is not installed, or the hub refuses.
    """
    repo = to.removeprefix(SCHEME).strip("/")
    if repo.count("/") != 1:
        raise UsageError(f"{to}: say {SCHEME}owner/repo")
    if http.offline():
        raise UnavailableError(f"{to}: offline (VAEZOO_OFFLINE)")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UnavailableError("--to hf:// needs huggingface-hub; pip install 'vaezoo[hub]'") from error
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / repo.partition("/")[2]  # after which its registry is called
        try:
            base = HfApi().repo_info(repo).sha
            _fetch(repo, base, folder)
            publish_to_folder(run, identity, folder, about, half=half)
            commit = HfApi().upload_folder(
                repo_id=repo,
                folder_path=folder,
                commit_message=f"Add {identity}",
                ignore_patterns=[".cache/**"],
                parent_commit=base,  # refused where somebody else has published meanwhile
            )
        except VaezooError:
            raise
        except Exception as error:  # of the hub's library and of those it goes through
            raise UnavailableError(f"{to}: {' '.join(str(error).split())[:300]}") from error
    return f"{SCHEME}{repo}@{commit.oid}/{FILE}"


def _fetch(repo: str, commit: str | None, folder: Path) -> None:
    """The registry of a repository, if there is one yet."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        hf_hub_download(repo, FILE, revision=commit, local_dir=folder)
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):  # no network, which must not pass for an empty repository
            raise
