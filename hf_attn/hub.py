"""Pushes a trained folder to the Hub: one commit with all its files, or none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from .card_page import CARD_FILE, is_own_page
from .errors import InputError
from .hub_errors import (
    TOKENS_PAGE,
    is_passing,
    is_stale,
    refuse_broken_token,
    wait_before,
    what_to_do,
)
from .hub_files import (
    Content,
    base_of_adapter,
    check_place,
    contents_to_push,
    files_to_push,
    model_type_of,
    outdated_files,
    refuse_secrets,
    wants_card,
)
from .hub_repository import ATTEMPTS, Head, Landed, Repository

_MESSAGE = "Upload a text classifier of hf_attn"


@dataclass(frozen=True)
class PushResult:
    """What a push did.

    Attributes:
        repo_id: The repository.
        oid: The commit that holds the pushed files.
        commit_url: Its page.
        pr_url: Page of the pull request, if one was opened.
        files: Paths that the commit changed; empty if the Hub had them all already.
        deleted: Paths of weights that the commit removed as they belong to an older model.
        num_bytes: Size of the changed files.
        notes: What went wrong on the way and was mended, in the order of happening.
        base: Of an adapter, the id of the model that it changes.
    """

    repo_id: str
    oid: str
    commit_url: str
    pr_url: str | None = None
    files: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    num_bytes: int = 0
    notes: tuple[str, ...] = ()
    base: str | None = None

    @property
    def changed(self) -> bool:
        """Whether a commit was made."""
        return bool(self.files or self.deleted)


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    token: str | None = None,
    card: str | None = None,
    beside: Mapping[str, Path] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> PushResult:
    """Publishes a trained folder as one commit, and sends only what the Hub does not have yet.

    Requests that fail in passing are repeated a few times. When the answer to the commit is lost,
    the Hub is asked what it holds before anything is repeated.

    Args:
        folder: A folder that training wrote.
        repo_id: Where to, as user/name or organization/name; made if it does not exist.
        private: Whether nobody else may see it. None: as the account makes new ones. One that
            exists stays as it is; a public one is refused where True is asked for.
        revision: Branch, made if it does not exist; "main" without it.
        create_pr: Open a pull request instead of committing to the branch.
        message: Title of the commit.
        token: Access token; without it the one of HF_TOKEN or of `hf auth login`.
        card: Text of the card; without it a README.md that somebody wrote, or one made from the
            run.
        beside: Further files of the same commit: path in the repository to local file.
        sleep: Waits for so many seconds.

    Raises:
        InputError: If the folder holds no whole model, or could not be pushed: says why, what to
            do, and whether something was published.

    Example:
        >>> result = push_folder("r8-model", "user/r8")
        >>> print(result.commit_url)
    """
    _check_target(repo_id, revision, create_pr)
    token = _usable_token(token)
    contents = contents_of_push(
        folder, repo_id, revision=revision, token=token, card=card, beside=beside
    )
    repository = Repository(repo_id, revision or constants.DEFAULT_REVISION, token, sleep)
    push = _Push(repository, contents, message or _MESSAGE, create_pr)
    with _said_in_words(repository, push.what_was_published):
        return push.run(private)


def contents_of_push(
    folder: str | Path,
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    card: str | None = None,
    beside: Mapping[str, Path] | None = None,
) -> list[Content]:
    """Gives what [`push_folder`] would publish, with the same arguments; uses no network.

    Raises:
        InputError: If the repository's name is none, or the folder holds no whole model, or a file
            that would be sent a token.
    """
    _check_name(repo_id)
    folder = Path(folder)
    files_to_push(folder)  # says what is missing, better than the card's reading of it
    if card is None and wants_card(folder):
        from .card import render_card  # it needs torch

        card = render_card(folder, repo_id, revision=revision)
    contents = contents_to_push(folder, card)
    contents += [Content.of(path, file.read_bytes()) for path, file in (beside or {}).items()]
    refuse_secrets(contents, token or get_token())
    return contents


def open_repository(
    name: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Gives the full id of a repository that can be pushed to later; makes it if it is missing.

    Args:
        name: As user/name, or its last part for the user that the token is of.
        private: As in [`push_folder`].
        revision: As in [`push_folder`].
        token: As in [`push_folder`].
        sleep: As in [`push_folder`].

    Raises:
        InputError: If a push would be refused: for the token, the name or the repository.
    """
    token = _usable_token(token)
    if "/" in name:
        _check_target(name, revision, create_pr=False)
    repository = Repository(name, revision or constants.DEFAULT_REVISION, token, sleep)
    with _said_in_words(repository):
        repository.repo_id = repository.writable_name()
        _check_target(repository.repo_id, revision, create_pr=False)
        _check_private(repository.repo_id, repository.open(private), private)
    return repository.repo_id


@dataclass
class _Push:
    """One push: where to, what, and whether its commit may have been made."""

    repository: Repository
    contents: Sequence[Content]
    message: str
    create_pr: bool
    may_have_committed: bool = False

    def run(self, private: bool | None) -> PushResult:
        head = self.repository.open(private)
        _check_private(self.repository.repo_id, head, private)
        known_pulls = self.repository.pull_numbers() if self.create_pr else set()
        failure: Exception = RuntimeError()
        paths = [content.path for content in self.contents]
        model_type = model_type_of(self.contents)
        for attempt in range(ATTEMPTS):
            check_place(self.repository.repo_id, head.ids, head.model_type, paths, model_type)
            self.contents = self._contents_for(head)
            new = [content for content in self.contents if not head.holds([content])]
            outdated = outdated_files(head.ids, paths)
            if not new and not outdated:
                return self._result(head.oid)
            additions = self.repository.upload(new, create_pr=self.create_pr)
            self.may_have_committed = True
            try:
                made = self.repository.commit(
                    additions, outdated, self.message, parent=head.oid, create_pr=self.create_pr
                )
                return self._result(made.oid, new, outdated, made.pr_url)
            except Exception as error:
                self.may_have_committed = is_passing(error)
                if not is_passing(error) and not is_stale(error):
                    raise
                failure = error
            self._wait(attempt, failure)
            landed = self._landed(head, known_pulls)
            if landed is not None:
                return self._result(landed.oid, new, outdated, landed.pr_url)
            self.may_have_committed = False
            head = self._read_again(head)
        raise failure

    def _contents_for(self, head: Head) -> Sequence[Content]:
        """Gives what is sent to go on top of a commit: no card over a page that somebody wrote."""
        card = next((one for one in self.contents if one.path == CARD_FILE), None)
        if card is None or is_own_page(card.text) or head.holds([card]):
            return self.contents
        page = self.repository.page(head)
        if page is None or not is_own_page(page):
            return self.contents
        self.repository.notes.append(
            f"{CARD_FILE} was changed on the Hub and is kept. To replace it by the one of this "
            "run, which `hf-attn card` shows, delete it there or put its last line back."
        )
        return [one for one in self.contents if one is not card]

    def what_was_published(self) -> str:
        """Says after an error whether the commit may be there."""
        if not self.may_have_committed:
            return "Nothing was published."
        return (
            "Whether the commit was made is not known, as its answer was lost. Run the same "
            "command again: it sends nothing if it was."
        )

    def _wait(self, attempt: int, error: Exception) -> None:
        if is_passing(error):
            self.repository.note("the commit", error)
            self.repository.sleep(wait_before(attempt, error))

    def _landed(self, head: Head, known_pulls: set[int]) -> Landed | None:
        """Gives the commit if the Hub made it, though it did not say so."""
        if self.create_pr:
            landed = self.repository.landed_pull(known_pulls, self.contents)
        else:
            landed = self.repository.landed(head.oid, self.contents)
        if landed is not None:
            self.repository.notes.append("The commit had been made; only its answer was lost.")
        return landed

    def _read_again(self, head: Head) -> Head:
        newer = self.repository.read()
        if newer.oid != head.oid:
            self.repository.notes.append(
                f"Someone else's commit {newer.oid[:8]} came first; this one goes on top of it."
            )
        return newer

    def _result(
        self,
        oid: str,
        new: Sequence[Content] = (),
        outdated: Sequence[str] = (),
        pr_url: str | None = None,
    ) -> PushResult:
        return PushResult(
            repo_id=self.repository.repo_id,
            oid=oid,
            commit_url=self.repository.url(f"commit/{oid}"),
            pr_url=pr_url,
            files=tuple(content.path for content in new),
            deleted=tuple(outdated),
            num_bytes=sum(content.size for content in new),
            notes=tuple(self.repository.notes),
            base=base_of_adapter(self.contents),
        )


@contextlib.contextmanager
def _said_in_words(
    repository: Repository, outcome: Callable[[], str] = lambda: "Nothing was published."
) -> Iterator[None]:
    """Makes what the client raises an [`InputError`] that says what to do and how far it got."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        words = what_to_do(error, repository.repo_id, repository.branch)
        if words is None:
            raise
        said = f"{repository.repo_id}: {words} {outcome()}"
        raise InputError(said.replace(repository.token, "<token>")) from error


def _check_name(repo_id: str) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"expected a repository as user/name, got {repo_id!r}: {error}") from error
    if "/" not in repo_id:
        raise InputError(
            f"expected a repository as user/name, got {repo_id!r}. Put your user name or your "
            f"organization before it: user/{repo_id}."
        )


def _check_target(repo_id: str, revision: str | None, create_pr: bool) -> None:
    _check_name(repo_id)
    if create_pr and revision not in (None, constants.DEFAULT_REVISION):
        raise InputError(
            f"expected --create-pr without --revision, got --revision {revision}: a pull request "
            f"is made to {constants.DEFAULT_REVISION}. Leave out one of the two."
        )
    if revision is not None and constants.REGEX_COMMIT_OID.fullmatch(revision):
        raise InputError(
            f"expected a branch, got the commit {revision}. A commit cannot be pushed to: give "
            "the name of a branch."
        )
    if constants.is_offline_mode():
        raise InputError(
            f"{repo_id}: expected a connection, got offline mode. Unset HF_HUB_OFFLINE, or look at "
            "what would be sent with --dry-run."
        )


def _check_private(repo_id: str, head: Head, private: bool | None) -> None:
    if private and not head.private:
        raise InputError(
            f"{repo_id}: expected a private repository, got one that exists and is public. Make it "
            "private in its settings, or choose another name; nothing was sent."
        )


def _usable_token(token: str | None) -> str:
    """Gives the token; one that no header can hold would be shown in the error of the client."""
    token = token or get_token()
    if token is None:
        raise InputError(
            "expected an access token, found none. Log in with `hf auth login`, or set HF_TOKEN to "
            f"a token with write access: {TOKENS_PAGE}."
        )
    refuse_broken_token(token)
    return token
