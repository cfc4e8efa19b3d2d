# SPDX-License-Identifier: Apache-2.0
"""Certificates, made by the openssl command for one test run."""
import subprocess


class Authority:
    """A CA of its own in `directory`."""

    def __init__(self, directory, name="ca"):
        self.directory = directory
        self.name = name
        self.file = directory / f"{name}.crt"
        self.key = directory / f"{name}.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.file)

    def issue(self, name, alt="IP:127.0.0.1,DNS:localhost", days=2):
        """→ (certificate file, key file). `days` below 0: it has expired."""
        stem = self.directory / f"{self.name}-{name}"
        extensions = stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={alt}\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", stem.with_suffix(".key"), "-out", stem.with_suffix(".csr"))
        _openssl("x509", "-req", "-in", stem.with_suffix(".csr"), "-CA", self.file, "-CAkey", self.key, "-CAcreateserial",
                 "-days", days, "-extfile", extensions, "-out", stem.with_suffix(".crt"))
        return stem.with_suffix(".crt"), stem.with_suffix(".key")


def _openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
