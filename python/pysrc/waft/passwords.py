"""Password files: a line ``name:password`` for each user, the password as it is or hashed as mosquitto_passwd does."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

__all__ = ["Passwords"]


class Passwords:
    """Who may connect. Lines that are empty or start with ``#`` say nothing."""

    def __init__(self, text: str) -> None:
        self._users: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, secret = line.partition(":")
            if not colon or not name:
                raise ValueError(f"line {number}: not name:password")
            if secret.startswith("$"):
                try:
                    _parts(secret)
                except (ValueError, binascii.Error):
                    raise ValueError(f"line {number}: a hash that is neither $6$ nor $7$ of mosquitto_passwd") from None
            self._users[name] = secret
        #: What is reckoned for a name that nobody has, so that the time it takes does not tell who has one.
        self._decoy = next((secret for secret in self._users.values() if secret.startswith("$")), "")

    def __len__(self) -> int:
        return len(self._users)

    def check(self, username: str | None, password: bytes | None) -> bool:
        """Whether this is a user, and the user's password."""
        secret = None if username is None else self._users.get(username)
        right = _matches(self._decoy if secret is None else secret, password or b"")
        return right and secret is not None and password is not None


def _matches(secret: str, password: bytes) -> bool:
    if not secret.startswith("$"):
        return hmac.compare_digest(secret.encode(), password)
    iterations, salt, expected = _parts(secret)
    if iterations is None:
        found = hashlib.sha512(password + salt).digest()
    else:
        found = hashlib.pbkdf2_hmac("sha512", password, salt, iterations, len(expected))
    return hmac.compare_digest(found, expected)


def _parts(secret: str) -> tuple[int | None, bytes, bytes]:
    """Iterations (of ``$7$``, PBKDF2), salt and hash."""
    match secret.split("$"):
        case ["", "6", salt, digest] if digest:
            return None, base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
        case ["", "7", iterations, salt, digest] if digest and 0 < int(iterations) <= 10_000_000:
            return int(iterations), base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    raise ValueError("unknown hash")
