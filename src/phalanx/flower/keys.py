"""`phalanx flower keys`: certificates and node keys to try a federation out with. For real ones ask your own authority.

ca.crt              given to every node and operator; ca.key signs, and belongs on no other machine
server.pem .key     the SuperLink's, for the host names and addresses that it is reached by
node-1, node-1.pub  a node's key pair; the public half is registered at the SuperLink
"""

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from shutil import rmtree

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from phalanx.core.errors import CheckpointError, ConfigError

LOCAL = ("127.0.0.1", "localhost")
DAYS = 90
LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
NAME = re.compile(rf"({LABEL}\.)*(?![0-9]+$){LABEL}", re.ASCII | re.IGNORECASE)  # 10.0.0.300 is none
MOST_LETTERS = 253


def make_keys(folder: Path, nodes: int, hosts: Sequence[str] = ()) -> None:
    """Write a folder of mode 0700 with all keys, private ones with mode 0600: whole or not at all. Nothing is overwritten.

    Args:
        folder: new or empty.
        nodes: how many node keys.
        hosts: names and addresses that the SuperLink is reached by, beside this machine's own.

    Raises: ConfigError if the folder is not empty or a host is none, CheckpointError if it cannot be written.
    """
    folder, names = folder.resolve(), [_alternative(host) for host in (*LOCAL, *hosts)]
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty; keys are never overwritten. Name another folder.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.with_name(f".{folder.name}.draft")
        rmtree(draft, ignore_errors=True)  # of an attempt that was killed: half a set of keys is none
        try:
            draft.mkdir(mode=0o700)
            _write_all(draft, nodes, names)
            draft.replace(folder)
        finally:
            rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"The keys cannot be written into {folder}: {error.strerror}.") from None


def check_keys(folder: Path, nodes: int) -> None:
    """Refuse keys that a federation of so many nodes cannot be started with.

    Raises: ConfigError if there are too few, or their time is over.
    """
    if missing := [number for number in range(1, nodes + 1) if not (folder / f"node-{number}").exists()]:
        raise ConfigError(
            f"{folder} has no key for node {missing[0]} of {nodes}; lower --nodes, or make a new folder: "
            f"phalanx flower keys DIR --nodes {nodes}."
        )
    end = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes()).not_valid_after_utc
    if end < datetime.now(UTC):
        raise ConfigError(
            f"The certificate in {folder} was valid until {end:%Y-%m-%d}; remove the folder, or make another one: "
            "phalanx flower keys DIR."
        )


def _write_all(folder: Path, nodes: int, names: Sequence[x509.GeneralName]) -> None:
    authority, server = generate_private_key(SECP384R1()), generate_private_key(SECP384R1())
    ca = _certificate("Phalanx demo CA", authority, "Phalanx demo CA", authority, None)
    certificate = _certificate("SuperLink", server, "Phalanx demo CA", authority, names)
    _write(folder / "ca.key", _pem(authority))
    _write(folder / "ca.crt", ca.public_bytes(Encoding.PEM))
    _write(folder / "server.key", _pem(server))
    _write(folder / "server.pem", certificate.public_bytes(Encoding.PEM))
    for number in range(1, nodes + 1):
        node = generate_private_key(SECP384R1())
        _write(folder / f"node-{number}", node.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        _write(folder / f"node-{number}.pub", node.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))


def _certificate(
    subject: str,
    key: EllipticCurvePrivateKey,
    issuer: str,
    authority: EllipticCurvePrivateKey,
    names: Sequence[x509.GeneralName] | None,
) -> x509.Certificate:
    """A certificate for a server of these names; None: an authority's own."""
    now, is_ca = datetime.now(UTC), names is None
    usage = x509.KeyUsage(not is_ca, False, False, False, False, is_ca, is_ca, False, False)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    if names is not None:
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        built = built.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return built.sign(authority, hashes.SHA384())


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        if len(host) > MOST_LETTERS or not NAME.fullmatch(host):
            raise ConfigError(
                "A host is an IP address or a name in ASCII, without https:// and port, such as 10.0.0.7 or "
                f"superlink.example.org: no node could verify a certificate for {host!r}."
            ) from None
        return x509.DNSName(host)


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes) -> None:
    """Readable by its owner alone from the first moment on; public halves may be copied from there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
