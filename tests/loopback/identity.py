"""IBM Cloud identity: an API key buys a token that expires and can be revoked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any


@dataclass
class Identity:
    """Issues and checks tokens. They are signed, not remembered, so a restarted service still knows its own.

    Attributes:
        key: The API key that is good.
        instance: CRN of the only instance of the account.
        lifetime: Seconds a token lives. The client renews it 10 s before its end, so that a lifetime of 10
            is over at once: every call renews.
        issued: Tokens issued so far.
        revoked_until: Tokens issued before this one (its number) are refused.
        key_revoked: Whether the key itself no longer buys tokens.
    """

    key: str
    instance: str
    lifetime: float = 3600.0
    issued: int = 0
    revoked_until: int = 0
    key_revoked: bool = False

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer a token request: status and body."""
        if self.key_revoked or form.get("apikey") != self.key:
            return 400, {"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}
        now = int(time.time())
        self.issued += 1
        claims = {"iat": now, "exp": now + self.lifetime, "jti": self.issued, "sub": "loopback"}
        return 200, {
            "access_token": self._sign(claims),
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": int(self.lifetime),
            "expiration": int(now + self.lifetime),
            "scope": "ibm openid",
        }

    def revoke(self, *, key: bool = False) -> None:
        """Refuse every token issued so far and, if asked, the key as well."""
        self.revoked_until, self.key_revoked = self.issued, key

    def refusal(self, headers: Any) -> tuple[int, int, str] | None:
        """Why these headers are not let in: HTTP status, code and message; None if they are."""
        if not headers.get("IBM-API-Version"):
            return 400, 1216, "The IBM-API-Version header is missing."
        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        if scheme != "Bearer" or not self._is_good(token):
            return 401, 1200, "Unauthorized. The token is missing, expired, revoked or not a Bearer token."
        if headers.get("Service-CRN") != self.instance:
            return 404, 1208, "The instance of the Service-CRN header was not found."
        return None

    def _is_good(self, token: str) -> bool:
        try:
            claims = json.loads(_decode(token.split(".")[1]))
        except (IndexError, ValueError):
            return False
        same = hmac.compare_digest(token, self._sign(claims))
        return same and claims["exp"] > time.time() and claims["jti"] > self.revoked_until

    def _sign(self, claims: dict[str, Any]) -> str:
        head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        text = f"{head}.{_encode(json.dumps(claims).encode())}"
        return f"{text}.{_encode(hmac.digest(self.key.encode(), text.encode(), hashlib.sha256))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
