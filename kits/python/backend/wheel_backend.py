"""Builds the wheel (PEP 517) around a binary that is there already, as packaging/ does: $LEVERET_BINARY, or the release binary.

The layout is the one of maturin's `bindings = "bin"`: the binary is a script of the environment. Nothing is compiled and nothing fetched.
"""

import base64
import hashlib
import os
import re
import struct
import sysconfig
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
PT_INTERP = 3


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    binary = binary_path()
    version = re.search(r'^version = "(.+)"', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[1]
    stem = f"leveret-{version}"
    name = f"{stem}-py3-none-{platform_tag(binary)}.whl"
    info = f"{stem}.dist-info"
    files = {path.relative_to(HERE / "src").as_posix(): path for path in sorted((HERE / "src").rglob("*.py"))}
    records = []
    with zipfile.ZipFile(Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
        def add(path, content, mode=0o644):
            member = zipfile.ZipInfo(path)
            member.external_attr = (0o100000 | mode) << 16
            wheel.writestr(member, content, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            records.append(f"{path},sha256={digest},{len(content)}\n")

        for path, source in files.items():
            add(path, source.read_bytes())
        add(f"{stem}.data/scripts/leveret", binary.read_bytes(), 0o755)
        add(f"{info}/METADATA", metadata(version).encode())
        add(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: leveret\nRoot-Is-Purelib: false\nTag: py3-none-{platform_tag(binary)}\n".encode())
        add(f"{info}/entry_points.txt", b"[pytest11]\nleveret = leveret.pytest_plugin\n")
        add(f"{info}/licenses/LICENSE", (REPOSITORY / "LICENSE").read_bytes())
        wheel.writestr(f"{info}/RECORD", "".join(records) + f"{info}/RECORD,,\n")
    return name


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("the wheel is all there is: its binary is built from the whole repository")


def binary_path():
    target = os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")
    path = Path(os.environ.get("LEVERET_BINARY", Path(target) / "release/leveret"))
    if not path.exists():
        raise SystemExit(f"there is no {path}: build it (cargo build --release, or packaging/musl), or say where it is with LEVERET_BINARY")
    return path


def platform_tag(binary):
    """Where it runs: a static binary on any Linux, another one where it was built."""
    here = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    if not here.startswith("linux_") or is_dynamic(binary):
        return here
    machine = here.removeprefix("linux_")
    return f"manylinux_2_17_{machine}.musllinux_1_1_{machine}"


def is_dynamic(binary):
    """Whether its program headers (ELF, 64 bits, little-endian) name an interpreter."""
    with open(binary, "rb") as file:
        header = file.read(64)
        offset, (size, count) = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<HH", header, 54)
        file.seek(offset)
        table = file.read(size * count)
    return any(struct.unpack_from("<I", table, number * size)[0] == PT_INTERP for number in range(count))


def metadata(version):
    fields = {
        "Metadata-Version": "2.4",
        "Name": "leveret",
        "Version": version,
        "Summary": "A RabbitMQ-compatible message broker for tests: the binary, and fixtures for pytest",
        "License-Expression": "Apache-2.0",
        "License-File": "LICENSE",
        "Requires-Python": ">=3.9",
        "Classifier": "Framework :: Pytest",
        "Description-Content-Type": "text/markdown",
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items()) + "\n" + (HERE / "README.md").read_text()
