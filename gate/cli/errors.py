"""From an exception to one line and an exit status."""

DONE, NOT_SO, WRONG_USE, OUTSIDE_FAILED = 0, 1, 2, 3

# By name, so that no command pays for importing what it does not use.
_WRONG_USE = frozenset({"ConfigError", "KeyFileError", "PublishError", "RuleError", "SettingError", "CaseError"})
_NOT_SO = frozenset({"SnapshotRefusedError"})


def exit_status(error: BaseException) -> tuple[int, str]:
    """Status and line for `error`; its text is ours, and never quotes a person."""
    if isinstance(error, BaseExceptionGroup):
        return exit_status(error.exceptions[0])
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _WRONG_USE:
        return WRONG_USE, str(error)
    if names & _NOT_SO:
        return NOT_SO, str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return OUTSIDE_FAILED, f"{where}{error.strerror or error}"
    if "DemoError" in names or "CallError" in names:
        return OUTSIDE_FAILED, str(error)
    # Unknown errors may carry anything: only their kind is told.
    return OUTSIDE_FAILED, f"failed with {type(error).__name__}; run again with --verbose and report it"
