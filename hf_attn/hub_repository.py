"""A repository on the Hub: what it holds, asked with patience, and one commit to it."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
)
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from .card_page import CARD_FILE
from .errors import InputError
from .hub_errors import in_short, is_passing, wait_before
from .hub_files import Content

ATTEMPTS = 5
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Head:
    """What a commit of the repository holds.

    Attributes:
        oid: Its id.
        private: Whether the repository is.
        model_type: What its config.json says, if there is one.
        ids: Path to the sha256 of each large file and to git's hash of each small one.
    """

    oid: str
    private: bool
    model_type: str | None
    ids: dict[str, str | None]

    def holds(self, contents: Iterable[Content]) -> bool:
        """Says whether all of the contents are in it."""
        return all(self.ids.get(one.path) in (one.sha256, one.blob_id) for one in contents)


@dataclass(frozen=True)
class Landed:
    """A commit that was made though its answer was lost, and the page of its pull request."""

    oid: str
    pr_url: str | None = None


@dataclass
class Repository:
    """A branch of a repository; requests that fail in passing are repeated.

    Attributes:
        repo_id: user/name.
        branch: The branch.
        token: Access token.
        sleep: Waits for so many seconds.
        notes: What failed in passing.
    """

    repo_id: str
    branch: str
    token: str = field(repr=False)
    sleep: Callable[[float], None]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._api = HfApi(token=self.token)

    def writable_name(self) -> str:
        """Gives the repository's id, completed with the namespace of the token's user.

        Raises:
            InputError: If the token can only read, or the namespace is another's.
        """
        account = self._try("asking whose the token is", self._api.whoami)
        name = self.repo_id if "/" in self.repo_id else f"{account['name']}/{self.repo_id}"
        if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise InputError(
                f"{name}: expected a token with write access, got one that can only read. Log in "
                "with another one: `hf auth login --force`, or HF_TOKEN."
            )
        namespaces = [account["name"], *(group["name"] for group in account.get("orgs", ()))]
        if name.partition("/")[0] not in namespaces:
            raise InputError(
                f"{name}: expected a name that this token may write to, which starts with "
                f"{' or '.join(f'{one}/' for one in namespaces)}. Choose such a name, or log in "
                "with another token."
            )
        return name

    def open(self, private: bool | None) -> Head:
        """Gives what the branch holds; makes the repository and the branch if they are missing."""
        with contextlib.suppress(RepositoryNotFoundError, RevisionNotFoundError):
            return self.read()
        self._try(
            "making the repository",
            lambda: self._api.create_repo(self.repo_id, private=private, exist_ok=True),
        )
        with contextlib.suppress(RevisionNotFoundError):
            return self.read()
        self._try(
            "making the branch",
            lambda: self._api.create_branch(self.repo_id, branch=self.branch, exist_ok=True),
        )
        return self.read()

    def read(self, revision: str | None = None) -> Head:
        """Gives what the branch, or another revision, holds."""
        info = self._try(
            "reading the repository",
            lambda: self._api.model_info(
                self.repo_id, revision=revision or self.branch, files_metadata=True
            ),
        )
        ids = {
            file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id
            for file in info.siblings or ()
        }
        model_type = (info.config or {}).get("model_type")
        return Head(str(info.sha), bool(info.private), model_type, ids)

    def page(self, head: Head) -> str | None:
        """Gives the text of a commit's README.md, or None if it has none."""
        if CARD_FILE not in head.ids:
            return None
        with tempfile.TemporaryDirectory(prefix="hf_attn-") as folder:
            path = self._try(
                "reading the page",
                lambda: self._api.hf_hub_download(
                    self.repo_id, CARD_FILE, revision=head.oid, local_dir=folder
                ),
            )
            return Path(path).read_text(encoding="utf-8", errors="replace")

    def upload(self, contents: Sequence[Content], *, create_pr: bool) -> list[CommitOperationAdd]:
        """Sends large files ahead of the commit and gives what adds them all in it.

        Raises:
            InputError: If a file changed meanwhile.
        """
        additions = [
            CommitOperationAdd(
                one.path, one.source if isinstance(one.source, bytes) else str(one.source)
            )
            for one in contents
        ]
        # The client itself tries each of its requests five times and more.
        self._api.preupload_lfs_files(
            self.repo_id, additions, revision=self.branch, create_pr=create_pr, free_memory=False
        )
        for addition, content in zip(additions, contents, strict=True):
            if addition.upload_info.sha256.hex() != content.sha256:
                raise InputError(
                    f"{content.path}: expected a finished file, but it changed while it was sent. "
                    "Wait until what writes it is done; nothing was published."
                )
        return additions

    def commit(
        self,
        additions: Sequence[CommitOperationAdd],
        outdated: Iterable[str],
        message: str,
        *,
        parent: str,
        create_pr: bool,
    ) -> CommitInfo:
        """Makes the commit, or lets the Hub refuse it if `parent` is no longer the head."""
        return self._api.create_commit(
            self.repo_id,
            [*additions, *map(CommitOperationDelete, outdated)],
            commit_message=message,
            revision=self.branch,
            create_pr=create_pr,
            parent_commit=parent,
        )

    def landed(self, before: str, contents: Sequence[Content]) -> Landed | None:
        """Gives the commit after `before` that holds the contents, if there is one."""
        commits = self._try(
            "reading the commits",
            lambda: self._api.list_repo_commits(self.repo_id, revision=self.branch),
        )
        for commit in commits:
            if commit.commit_id == before:
                break
            if self.read(commit.commit_id).holds(contents):
                return Landed(commit.commit_id)
        return None

    def landed_pull(self, known: set[int], contents: Sequence[Content]) -> Landed | None:
        """Gives the pull request that is not among the known ones and holds the contents."""
        for number in sorted(self.pull_numbers() - known):
            head = self.read(f"refs/pr/{number}")
            if head.holds(contents):
                return Landed(head.oid, self.url(f"discussions/{number}"))
        return None

    def pull_numbers(self) -> set[int]:
        """Gives the numbers of all pull requests."""
        pulls = self._try(
            "reading the pull requests",
            lambda: list(
                self._api.get_repo_discussions(self.repo_id, discussion_type="pull_request")
            ),
        )
        return {pull.num for pull in pulls}

    def note(self, what: str, error: Exception) -> None:
        """Remembers what failed in passing."""
        note = f"{what} failed: {in_short(error)}".replace(self.token, "<token>")
        self.notes.append(f"{note[0].upper()}{note[1:]}. Tried again.")
        _logger.info("%s: %s", self.repo_id, note)

    def url(self, place: str) -> str:
        """Gives the address of a page of the repository."""
        return f"{constants.ENDPOINT}/{self.repo_id}/{place}"

    def _try(self, what: str, request: Callable[[], _T]) -> _T:
        for attempt in range(ATTEMPTS - 1):
            try:
                return request()
            except Exception as error:
                if not is_passing(error):
                    raise
                self.note(what, error)
                self.sleep(wait_before(attempt, error))
        return request()
