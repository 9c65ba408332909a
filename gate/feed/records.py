"""What an issuer publishes, as bytes and as values: snapshots of status entries. No files, no clock, no network."""

import enum


class CredentialStatus(enum.StrEnum):
    """The field's colours and its honest "don't know"s (health-codes.md (a)); no vendor's numbers."""

    GREEN = "GREEN"
    YELLOW = "YELLOW"
    RED = "RED"
    GREEN_PENDING = "GREEN_PENDING"
    IN_REVIEW = "IN_REVIEW"
    GREY = "GREY"
    NOT_CLAIMED = "NOT_CLAIMED"
    UNKNOWN = "UNKNOWN"
