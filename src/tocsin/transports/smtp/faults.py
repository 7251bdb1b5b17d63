"""What goes wrong between here and a mail server, in the words of attempts."""

from __future__ import annotations

import os
import ssl
from enum import StrEnum
from socket import gaierror

import aiosmtplib

from tocsin.core.delivery import ErrorClass
from tocsin.transports.messages.cleaning import one_line
from tocsin.transports.messages.cutting import cut

CLOSING = 421
"""The server is about to close the connection, whatever was asked. Source: RFC 5321, section 3.8."""
NO_LOGIN = 530
"""The server wants a login first, which says nothing of an address. Source: RFC 4954, section 6."""
_REPLY_UNITS_MAX = 300


class Stage(StrEnum):
    """How far a conversation has come."""

    QUEUE = "a free connection"
    WRITING = "the mail to be written"
    CONNECT = "the connection"
    GREETING = "the greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"

    @property
    def is_about_mail(self) -> bool:
        """Whether what goes wrong here can lie with this mail, and not with the server as a whole."""
        return self in (Stage.RCPT, Stage.DATA)

    @property
    def is_ours(self) -> bool:
        """Whether nobody but us was waited for."""
        return self in (Stage.QUEUE, Stage.WRITING)


class SmtpFault(Exception):
    """The conversation cannot go on.

    Attributes:
        code: of the server's reply; None without one.
        error: one line for a person, without secrets.
    """

    def __init__(self, stage: Stage, error_class: ErrorClass, error: str, code: int | None = None) -> None:
        super().__init__(error)
        self.stage = stage
        self.error_class = error_class
        self.error = error
        self.code = code

    @property
    def broke_off(self) -> bool:
        """Whether the server left, or said that it would."""
        return self.code == CLOSING or self.error_class in (ErrorClass.PROTOCOL, ErrorClass.TIMEOUT)


def shown_reply(code: int, text: str) -> str:
    """Return a reply as one line."""
    return cut(f"{code} {one_line(text)}".strip(), _REPLY_UNITS_MAX)


def fault_of(stage: Stage, error: BaseException) -> SmtpFault:
    """Return what an exception of the library's, or below it, means at this stage."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _refused(stage, error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, gaierror | UnicodeError):
            return SmtpFault(stage, ErrorClass.DNS, "the mail server's name is not found")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SmtpFault(
                stage, ErrorClass.TLS, f"the mail server's certificate is refused: {cause.verify_message}"
            )
        if isinstance(cause, ssl.SSLError):
            return SmtpFault(stage, ErrorClass.TLS, f"TLS with the mail server fails: {cause.reason}")
        cause = cause.__cause__
    if isinstance(error, TimeoutError):
        return SmtpFault(stage, ErrorClass.TIMEOUT, f"timed out waiting for {stage.value}")
    if stage is Stage.CONNECT and isinstance(error, OSError):
        return SmtpFault(stage, ErrorClass.CONNECT, f"the mail server cannot be reached{_reason(error)}")
    if isinstance(error, aiosmtplib.SMTPServerDisconnected | OSError):
        return SmtpFault(stage, ErrorClass.PROTOCOL, f"the mail server closed the connection at {stage.value}")
    return SmtpFault(stage, ErrorClass.PROTOCOL, f"the mail server cannot be spoken with at {stage.value}")


def _refused(stage: Stage, error: aiosmtplib.SMTPResponseException) -> SmtpFault:
    if error.code < 0:
        return SmtpFault(stage, ErrorClass.PROTOCOL, f"what the mail server says at {stage.value} is no SMTP")
    if stage is Stage.AUTH:
        # What it says of the login may repeat it.
        said = f"the mail server refuses our login: {error.code}"
    else:
        said = f"the mail server answers {stage.value} with {shown_reply(error.code, error.message)}"
    return SmtpFault(stage, ErrorClass.STATUS, said, error.code)


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return f": {os.strerror(cause.errno)}"
        cause = cause.__cause__
    return ""
