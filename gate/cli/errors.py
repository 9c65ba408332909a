"""From an exception to one line and an exit status."""

import errno
import os
import traceback

from typer import Abort, TyperException

DONE, NOT_SO, WRONG_USE, OUTSIDE_FAILED = 0, 1, 2, 3

# By name, so that no command pays for importing what it does not use.
_WRONG_USE = frozenset(
    {
        "ConfigError",
        "JournalError",
        "KeyFileError",
        "PartitionFileError",
        "PublishError",
        "RowError",
        "RuleError",
        "SettingError",
        "StateError",
    }
)
_NOT_SO = frozenset({"RefusedError"})
_OUTSIDE = frozenset({"DemoError", "CallError", "PromptError", "PublishRefusedError", "SourceError", "StoreError"})
_INTERRUPTED = 130  # 128 + SIGINT, as shells say it
# What to do about what the system says (man 3 errno).
_REMEDIES = {
    errno.ENOENT: "make it or correct the path",
    errno.EACCES: "run as a user who may, or change its mode",
    errno.EPERM: "run as a user who may, or change its mode",
    errno.EISDIR: "give a file",
    errno.ENOTDIR: "give a folder",
    errno.ENOSPC: "make room on that disk",
    errno.EROFS: "give a place that can be written",
    errno.EADDRINUSE: "give another port, or stop who has it",
    errno.EADDRNOTAVAIL: "give an address of this machine",
}


def exit_status(error: BaseException) -> tuple[int, str]:
    """Status and line for `error`; its text is ours, and never quotes a person. No line: all was said."""
    if isinstance(error, BaseExceptionGroup):
        return exit_status(error.exceptions[0])
    if isinstance(error, TyperException):
        return _usage(error)
    if isinstance(error, Abort):
        return _INTERRUPTED, "nothing was given"
    if isinstance(error, OSError):
        return OUTSIDE_FAILED, _one_line(_of_the_system(error))
    names = _names(error)
    for known, status in ((_WRONG_USE, WRONG_USE), (_NOT_SO, NOT_SO), (_OUTSIDE, OUTSIDE_FAILED)):
        if names & known:
            return int(getattr(error, "exit_status", status)), _one_line(str(error))
    # Unknown errors may carry anything: only their kind is told.
    return OUTSIDE_FAILED, f"failed with {type(error).__name__}; run again with --verbose and report it"


def traced(error: BaseException) -> str:
    """Where `error` and its causes came from; the text of what is not ours may quote a person and is left out."""
    parts = []
    while error:
        name = type(error).__name__
        ours = isinstance(error, (OSError, TyperException)) or _names(error) & (_WRONG_USE | _NOT_SO | _OUTSIDE)
        parts.append("".join(traceback.format_tb(error.__traceback__)) + (f"{name}: {error}" if ours else name))
        if isinstance(error, BaseExceptionGroup):
            parts += map(traced, error.exceptions)
        error = error.__cause__ or error.__context__  # type: ignore[assignment] # None ends the loop
    return "\ncaused by:\n".join(parts)


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _usage(error: TyperException) -> tuple[int, str]:
    """What typer says of wrong use, in one line; without arguments the help has been shown."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "gate"
    if type(error).__name__ == "NoArgsIsHelpError":
        return WRONG_USE, ""
    said = _one_line(error.format_message()).rstrip(".")
    return WRONG_USE, f"{said}: see {command} --help"


def _of_the_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    remedy = _REMEDIES.get(error.errno or 0, "") if error.strerror else ""  # ours have a text with its remedy
    said = error.strerror or str(error) or os.strerror(error.errno or errno.EIO)
    return f"{where}{said}" + (f": {remedy}" if remedy and ": " not in said else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())
