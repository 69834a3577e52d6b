"""An OpenID Connect issuer on loopback that grants a token for any refresh token.

Usage: python tests/bench/oidc_issuer.py

Prints its address and answers until it is ended by a signal.
"""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer

TOKEN_LENGTH = 86
"""As long as DSM's tokens."""

GRANT = {
    "access_token": "t" * TOKEN_LENGTH,
    "token_type": "Bearer",
    "expires_in": 3600,
    "refresh_token": "r",
    "scope": "openid offline_access",
}


class Issuer(BaseHTTPRequestHandler):
    """Answers oidc-agent's requests: for its metadata (GET) and for a token (POST)."""

    def do_GET(self) -> None:
        """Send the endpoints: OpenID Connect Discovery 1.0, section 4.2."""
        url = f"http://{self.headers['Host']}"
        document = {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "scopes_supported": ["openid", "offline_access"],
            "grant_types_supported": ["refresh_token"],
            "response_types_supported": ["code"],
        }
        self._answer(document)

    def do_POST(self) -> None:
        """Grant a token."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(GRANT)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve."""
    server = HTTPServer(("127.0.0.1", 0), Issuer)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
