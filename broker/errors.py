"""Every error of ours, as one tree. A command shows its text as one line, so a text names field, value and remedy.

IotlmError
├── MessageError      bytes off the wire that are no message of ours (`reason`: a short label to count by)
├── ConfigError       a setting that cannot be used
├── LinkDown          the broker cannot be reached now
├── SpoolFull         not even eviction makes room for a frame
├── DataError         a recording or a data set that cannot be read
└── CheckpointError   weights or an encoder that cannot be used
"""


class IotlmError(Exception):
    """Base of all errors that a user can do something about."""


class MessageError(IotlmError):
    """A payload that is not a valid message. `reason` is one word or two, fit for a metric's label."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class ConfigError(IotlmError):
    """A setting, flag or file name that cannot be used."""


class LinkDown(IotlmError):
    """There is no connection to the broker at this moment; the caller keeps its message and tries again."""


class SpoolFull(IotlmError):
    """The disk has no room for a frame, and nothing is left in the spool that could be evicted."""


class DataError(IotlmError):
    """A recording or a data set is missing, incomplete or not in a layout we know."""


class CheckpointError(IotlmError):
    """Weights, a configuration or an exported encoder that do not fit this program or each other."""
