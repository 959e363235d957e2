"""What goes wrong on the way to the Hub: what may pass by itself, what to do about the rest."""

from __future__ import annotations

import errno
import json
import logging
import re

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

from .errors import InputError

TOKENS_PAGE = "https://huggingface.co/settings/tokens"
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TIMEOUT, _STALE, _TOO_MANY = 401, 403, 404, 408, 412, 429
_SERVER_ERRORS = range(500, 600)
_LONGEST_WAIT = 60.0
_STORAGE_REFUSES = "the Hub's storage of large files refuses"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
# What gives access: name and password in an address, its query, which may be a signature, a token.
_SECRETS = (
    (re.compile(r"(\w://)[^\s/@'\"]+@"), r"\1"),
    (re.compile(r"(\w://[^\s?'\"]*)\?[^\s'\")>]*"), r"\1"),
    (re.compile(r"(?<=\S)\?[\w.%-]+=[^\s'\")>]*"), ""),
    (re.compile(r"\b(Bearer|Basic) [^\s'\"]+"), r"\1 <token>"),
    (re.compile(r"\bhf_(?:[A-Za-z0-9]{20,}|(?:oauth|jwt)_[\w.=-]{20,})"), "<token>"),
)


def is_passing(error: Exception) -> bool:
    """Says whether the same request may succeed a little later."""
    error = _cause(error)
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status in (_TIMEOUT, _TOO_MANY) or status in _SERVER_ERRORS
    # A gateway answers for a server that is down with a page where the client expects JSON.
    return _is_of_the_network(error) or isinstance(error, json.JSONDecodeError)


def is_stale(error: Exception) -> bool:
    """Says whether a commit was refused because another one came first."""
    return isinstance(error, HfHubHTTPError) and error.response.status_code == _STALE


def refuse_broken_token(token: str | None) -> None:
    """Refuses a token that no header can hold: the error of the client would show it.

    Raises:
        InputError: If it has such characters.
    """
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise InputError(
            "expected an access token, got a text with characters that no token has. Copy it again "
            f"from {TOKENS_PAGE}."
        )


def wait_before(attempt: int, error: Exception) -> float:
    """Gives the seconds to wait before a request is repeated.

    Args:
        attempt: How often it was repeated before.
        error: What it failed with; the Hub may ask for a time in it.
    """
    seconds = 2.0**attempt
    if isinstance(error, HfHubHTTPError):
        asked = error.response.headers.get("Retry-After", "")
        seconds = float(asked) if asked.isdigit() else seconds
    return min(seconds, _LONGEST_WAIT)


def in_short(error: Exception) -> str:
    """Gives the gist of an error for a message, without what gives access."""
    error = _cause(error)
    if isinstance(error, HfHubHTTPError):
        said = without_secrets(" ".join((error.server_message or "").split()))
        return f"HTTP {error.response.status_code}" + (f" ({said})" if said else "")
    return f"{type(error).__name__}: {without_secrets(' '.join(str(error).split()))}"


def without_secrets(text: str) -> str:
    """Gives a text of the client without tokens, and addresses in it without their queries."""
    token = get_token()
    text = text.replace(token, "<token>") if token else text
    for secret, shown in _SECRETS:
        text = secret.sub(shown, text)
    return text


class _WithoutSecrets(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), None
        return True


# The client warns of each address that failed, signed or not, and the command's user reads that.
for _name in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
    logging.getLogger(_name).addFilter(_WithoutSecrets())


def what_to_do(error: Exception, repo_id: str, branch: str) -> str | None:
    """Gives what is wrong and what to do about it, or None for an error that is no one's fault.

    Args:
        error: What the client raised.
        repo_id: The repository.
        branch: The branch that was asked for.
    """
    error = _cause(error)
    if isinstance(error, OfflineModeIsEnabled):
        return "expected a connection, got offline mode. Unset HF_HUB_OFFLINE and try again."
    if isinstance(error, RevisionNotFoundError):
        return f"there is no branch {branch!r}. A tag or a commit cannot be pushed to."
    if isinstance(error, HfHubHTTPError):
        return _about_status(error, repo_id)
    if _error_number(error) in _DISK_ERRORS:
        return (
            f"the client cannot write to its cache: {in_short(error)}. Free space in "
            f"{constants.HF_HOME}, or set HF_HOME to a folder on another disk."
        )
    if _is_of_the_storage(error):
        return f"{_STORAGE_REFUSES}: {in_short(error)}. Run the same command again later."
    if _is_of_the_network(error):
        address = without_secrets(constants.ENDPOINT)
        return (
            f"{address} does not answer: {in_short(error)}. Check the connection and run the same "
            "command again."
        )
    if isinstance(error, ValueError | RuntimeError):
        return f"{in_short(error)}."
    return None


def _about_status(error: HfHubHTTPError, repo_id: str) -> str:
    status = error.response.status_code
    namespace = repo_id.partition("/")[0]
    known = {
        _UNAUTHORIZED: "the token is not valid. Log in with `hf auth login --force`, or set "
        "HF_TOKEN to a token with write access; HF_TOKEN is taken before the login.",
        _FORBIDDEN: f"the token may not write here. Take one with write access, of {namespace!r} "
        f"or a member of it, or push to a name of your own. The Hub says: {in_short(error)}.",
        _NOT_FOUND: "there is no such repository, or it is private and the token may not see it. "
        f"Check the name, and that the token is of {namespace!r} or a member of it.",
        _TOO_MANY: "too many requests. Wait some minutes and run the same command again.",
        _STALE: "others commit to it all the time. Run the same command again later, or push to "
        "a branch of your own: --revision NAME.",
    }
    if status in _SERVER_ERRORS:
        return f"the Hub has trouble: {in_short(error)}. Run the same command again later."
    if _is_of_the_storage(error):
        return f"{_STORAGE_REFUSES}: {in_short(error)}. Run the same command again later."
    if status in known:
        return known[status]
    return f"the Hub refuses: {in_short(error)}."


def _error_number(error: Exception) -> int | None:
    """Gives the operating system's number of an error; hf_xet has it in the text only."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    return int(number[1]) if number else getattr(error, "errno", None)


def _is_of_the_network(error: Exception) -> bool:
    if isinstance(error, OfflineModeIsEnabled):
        return False
    return isinstance(error, httpx2.TransportError | ConnectionError | TimeoutError)


def _is_of_the_storage(error: Exception) -> bool:
    """Says whether the server that the Hub names for large files refused, and not the Hub."""
    if isinstance(error, HfHubHTTPError):
        return not str(error.response.url).startswith(constants.ENDPOINT)
    return _is_of_the_network(error) and "HTTP status" in str(error)  # as hf_xet says it


def _cause(error: Exception) -> Exception:
    """Gives the error that the client met, of which an upload raises a bare RuntimeError."""
    while isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
