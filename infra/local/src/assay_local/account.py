"""PostgreSQL refuses to run as root: the account it runs as instead, and where that may go."""

import functools
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from assay_local.errors import SetupError
from assay_local.service import Account

CHOICE = "ASSAY_LOCAL__ACCOUNT"
SHARED = "ASSAY_LOCAL__SHARED"
ORIGIN = ".assay-origin"


@functools.cache
def unprivileged() -> Account | None:
    """The account for servers that refuse to run as root; None where the caller is not root.

    Raises:
        SetupError: There is no such account.
    """
    if os.geteuid() != 0:
        return None
    chosen = os.environ.get(CHOICE)
    for name in [chosen] if chosen else ["postgres", "nobody"]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise SetupError(
        "PostgreSQL refuses to run as root, and "
        + (f"{CHOICE}={chosen} is no other account" if chosen else "there is no account nobody")
        + f": name one in {CHOICE}."
    )


def may(account: Account | None, access: str, path: Path) -> bool:
    """Whether the account has the access (`r`, `w` or `x`, as in test(1)) to a path."""
    if account is None:
        return True
    # The system is asked, so that every folder on the way, mount options and ACLs count.
    question = subprocess.run(  # noqa: S603 - a constant command and a path of ours
        ["/bin/sh", "-c", 'test "$1" "$2"', "sh", f"-{access}", str(path)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return question.returncode == 0


def shared(account: Account) -> Path:
    """A folder of root's that the account may enter.

    Raises:
        SetupError: The account cannot enter it.
    """
    folder = Path(os.environ.get(SHARED, "/var/lib/assay-local"))
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"Cannot make {folder}: {error}. Name another folder in {SHARED}."
        ) from error
    if not may(account, "x", folder):
        raise SetupError(
            f"The account {account.name}, which PostgreSQL runs as, cannot enter {folder}. "
            f"Name a folder that it can enter in {SHARED}."
        )
    return folder


def enterable_copy(account: Account | None, folders: list[Path], probe: str, name: str) -> Path:
    """The first of the folders, or a copy of all of them where the account cannot run the first.

    Virtual environments under /root are such a place.

    Args:
        account: Who is to run what lies there.
        folders: Side by side; they stay so in the copy.
        probe: A program in the first folder.
        name: Under which the copy is kept; it names the version.
    """
    original = folders[0]
    if account is None or may(account, "x", original / probe):
        return original
    kept = shared(account) / name
    if not kept.exists():
        fresh = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=kept.parent))
        for folder in folders:
            shutil.copytree(folder, fresh / folder.relative_to(original.parents[1]), symlinks=True)
        subprocess.run(["/bin/chmod", "-R", "a+rX", str(fresh)], check=True)  # noqa: S603 - constant
        try:
            fresh.rename(kept)
        except OSError:  # Another process was quicker.
            shutil.rmtree(fresh)
    copy = kept / original.relative_to(original.parents[1])
    if not may(account, "x", copy / probe):
        raise SetupError(
            f"The account {account.name} cannot run {copy / probe}. "
            f"Name a folder where it can run programs in {SHARED}."
        )
    return copy


def home(account: Account | None, folder: Path) -> Path:
    """The folder itself, owned by the account; or, where the account cannot get there, another one.

    That other one lies in the shared folder, and `folder` becomes a link to it.
    """
    if account is None:
        return folder
    if not folder.is_symlink() and not may(account, "x", folder.parent):
        if any(folder.iterdir()):
            raise SetupError(
                f"The account {account.name}, which PostgreSQL runs as, can no longer enter "
                f"{folder.parent}, where its data lie. Let it in, or wipe the data."
            )
        digest = hashlib.sha256(bytes(folder)).hexdigest()[:16]
        elsewhere = shared(account) / f"data-{digest}"
        elsewhere.mkdir(mode=0o700, exist_ok=True)
        (elsewhere / ORIGIN).write_text(f"{folder}\n")
        folder.rmdir()
        folder.symlink_to(elsewhere)
    place = folder.resolve()
    os.chown(place, account.uid, account.gid)
    return place


def remove_elsewhere(folder: Path) -> None:
    """Removes what `home` put elsewhere for a folder, if it did."""
    if folder.is_symlink():
        elsewhere = folder.resolve()
        if (elsewhere / ORIGIN).is_file():
            shutil.rmtree(elsewhere)
