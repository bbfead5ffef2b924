"""Whom a client of HTTP trusts, and what it says where that fails."""

import ssl
from pathlib import Path
from typing import Final

from assay.domain.errors import Fatal

_SPEAKS_NONE: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
_NOT_KNOWN_THERE: Final = ("CERTIFICATE", "UNKNOWN_CA")
"""Parts of the alerts by which a server refuses the client's certificate, or that there is none."""


def context(
    ca_bundle: Path | None, certificate: Path | None, key: Path | None, section: str
) -> ssl.SSLContext:
    """What TLS is made with: the server's certificate and host name are always verified.

    Args:
        ca_bundle: certificates to trust instead of the usual ones.
        certificate: the client's own, for servers that ask for one.
        key: belongs to it; None where the same file has both.
        section: of the settings that name these files.

    Raises:
        Fatal: a file is not there, or is none of its kind.
    """
    try:
        made = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        raise _unusable(f"ASSAY_{section}__CA_BUNDLE", ca_bundle, error) from None
    if certificate is not None:
        try:
            # Without a password of its own a key that has one would ask for it on the terminal.
            made.load_cert_chain(certificate, key, password="")
        except OSError as error:
            name = f"ASSAY_{section}__CLIENT_CERTIFICATE"
            raise _unusable(f"{name} and …_KEY", certificate, error) from None
    return made


def fault_of(error: BaseException, section: str) -> str | None:
    """What is wrong for good where a request ended like this, and what to do; None: it may pass."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__
    if isinstance(found, ssl.SSLCertVerificationError):
        said = found.verify_message.rstrip(".")
        return (
            f"its certificate is not trusted ({said}): check ASSAY_{section}__CA_BUNDLE, and the"
            f" host in ASSAY_{section}__URL"
        )
    reason = "" if found is None else found.reason or ""
    if reason in _SPEAKS_NONE:
        return f"it does not speak TLS: should ASSAY_{section}__URL begin with http://?"
    if "ALERT" in reason and any(part in reason for part in _NOT_KNOWN_THERE):
        return (
            f"it asks for a certificate that it trusts ({reason}): set or check"
            f" ASSAY_{section}__CLIENT_CERTIFICATE"
        )
    return None


def _unusable(names: str, path: Path | None, error: OSError) -> Fatal:
    said = (isinstance(error, ssl.SSLError) and error.reason) or error.strerror
    return Fatal(f"{names}: {path} cannot be used ({said or type(error).__name__})")
