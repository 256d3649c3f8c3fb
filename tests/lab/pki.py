"""Certificates of the lab: a CA made for it, and leaves for the names that its servers play. openssl does the work."""

from __future__ import annotations

from pathlib import Path

from .procs import program, run

_DAYS = "3"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CONFIG = """\
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {common}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class Authority:
    """A CA with its files in `folder`: `cert` for everybody, `key` for the lab's servers alone."""

    def __init__(self, folder: Path, common: str) -> None:
        self.folder, self.common = folder, common
        self.cert, self.key = folder / "ca.pem", folder / "ca.key"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        if not self.cert.exists():
            self._make(common, self.cert, self.key, "-extensions", "ca")
            self.cert.chmod(0o644)

    def leaf(self, *names: str) -> tuple[Path, Path]:
        """Certificate (with the CA behind it) and key for these host names; made once."""
        cert, key = self.folder / f"{names[0]}.pem", self.folder / f"{names[0]}.key"
        if not cert.exists():
            alternative = "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
            signer = ("-CA", str(self.cert), "-CAkey", str(self.key), "-extensions", "leaf", "-addext", alternative)
            self._make(names[0], cert, key, *signer)
            cert.write_text(cert.read_text() + self.cert.read_text())
        return cert, key

    def _make(self, common: str, cert: Path, key: Path, *options: str) -> None:
        config = self.folder / "openssl.cnf"
        config.write_text(_CONFIG.format(common=common))
        openssl = program("openssl", "openssl")
        files = ("-config", str(config), "-out", str(cert), "-keyout", str(key))
        run([openssl, "req", "-x509", *_KEY, *files, "-days", _DAYS, *options])
