"""Folders that go to the Hub: a well-formed name, a login, one commit; what goes wrong is a sentence.

Nothing here knows what is in a folder. `push.py` sends checkpoints, `dataset_builder/push.py` datasets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id


class Uploaded(NamedTuple):
    """Where an upload went: page of the repository, its commit, and whether others may see it."""

    url: str
    commit: str
    private: bool


def check_name(repo: str) -> None:
    """Raise a ValueError where `repo` is no name of the form USER/NAME that the Hub accepts."""
    if repo.count("/") != 1:
        raise ValueError(f"A repository on the Hub is named USER/NAME, and {repo!r} is not of that form.")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ValueError(f"The Hub takes no repository of the name {repo!r}: {error}") from None


def logged_in() -> str:
    """The name of the account that uploads.

    Raises:
        ValueError: If nobody is logged in on this machine, the token is not accepted, or the Hub cannot be reached.
    """
    with told(None):
        if get_token() is None:
            raise ValueError("You are not logged in to the Hub: run `hf auth login`, or set HF_TOKEN.")
        return HfApi().whoami()["name"]


def upload_folder(
    folder: Path,
    repo: str,
    message: str,
    kind: str = "model",
    private: bool = False,
    stale: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Uploaded:
    """Make the repository if there is none, and send the files of a folder in one commit.

    A repeated upload sends no large file twice that the Hub holds already. Files of the repository that are not in the
    folder stay, but for those that match `stale`.

    Args:
        folder: What to send.
        repo: USER/NAME.
        message: Of the commit.
        kind: "model" or "dataset".
        private: Make the repository private; one that exists keeps what it is.
        stale: Patterns of files to delete from the repository where the folder has none of that name.
        only: Patterns of the files to send; all by default.

    Returns:
        Where it went.

    Raises:
        ValueError: If the name is malformed, nobody is logged in, the repository exists and is public while a private
            one is asked for, or the Hub refuses.
        ConnectionError: If the connection broke; nothing of the folder is to be seen on the Hub then.
    """
    check_name(repo)
    logged_in()
    api = HfApi()
    with told(repo):
        url = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)
        is_private = bool(api.repo_info(repo, repo_type=kind).private)
        if private and not is_private:
            raise ValueError(f"{repo} exists and is public; a private upload was asked for, so nothing was sent.")
        done = api.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=folder,
            commit_message=message,
            allow_patterns=list(only) or None,
            delete_patterns=list(stale) or None,
        )
    return Uploaded(str(url), done.oid, is_private)


@contextmanager
def told(repo: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises into sentences."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise ConnectionError("HF_HUB_OFFLINE is set: nothing can be sent to the Hub; unset it.") from None
    except HfHubHTTPError as error:
        raise ValueError(_refusal(error, repo)) from None
    except HTTPError as error:
        again = " Nothing was changed there; run the same command again." if repo else ""
        raise ConnectionError(
            f"The connection to {constants.ENDPOINT} failed ({type(error).__name__}).{again}"
        ) from None


def _refusal(error: HfHubHTTPError, repo: str | None) -> str:
    status, said = error.response.status_code, error.server_message or ""
    if status == 401 and repo is None:
        return "The Hub does not accept your token: run `hf auth login` again."
    if status in (401, 403):
        return f"You may not write to {repo}: your token does not allow it (status {status}{said and ': ' + said})."
    return f"The Hub refused with status {status}{said and ': ' + said}."
