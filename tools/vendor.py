"""Renews the JavaScript libraries of the catalog from the npm registry.

`vendor.json` in featurelayer/catalog/static/vendor says which version of which package, npm's integrity hash of it, and
which of its files are kept under which name with which SHA-256. This downloads every package with `npm pack`, refuses
one whose hash differs, and writes the files anew. To upgrade: change a version there, run `make vendor ARGS=--pin`,
look at the change, run the browser tests.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "featurelayer" / "catalog" / "static" / "vendor"
LOCK = FOLDER / "vendor.json"


def main() -> int:
    """Renew every file; return 1 if something is not what was pinned."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pin", action="store_true", help="write the hashes of what is downloaded into vendor.json")
    pin = parser.parse_args().pin
    packages = json.loads(LOCK.read_text(encoding="utf-8"))
    wrong: list[str] = []
    files: dict[str, bytes] = {}
    for package in packages:
        files |= fetched(package, pin=pin, wrong=wrong)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
    LOCK.write_text(json.dumps(packages, indent=2) + "\n", encoding="utf-8")
    print(f"{len(files)} files, {sum(map(len, files.values())):,} bytes")
    return 0


def fetched(package: dict[str, Any], *, pin: bool, wrong: list[str]) -> dict[str, bytes]:
    """Download one package and return its kept files by name; add what is not as pinned to `wrong`."""
    asked = f"{package['name']}@{package['version']}"
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, asked]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if pin:
            package["integrity"] = integrity
        elif integrity != package["integrity"]:
            wrong.append(f"{asked}: npm sent {integrity}, vendor.json pins {package['integrity']}")
        kept = {}
        with tarfile.open(archive) as opened:
            for file in package["files"]:
                member = opened.extractfile(f"package/{file['from']}")
                assert member is not None, f"{asked} has no file {file['from']}"
                data = without_map(member.read())
                digest = hashlib.sha256(data).hexdigest()
                if pin:
                    file["sha256"] = digest
                elif digest != file["sha256"]:
                    wrong.append(f"{asked} {file['from']}: SHA-256 {digest}, vendor.json pins {file['sha256']}")
                kept[file["to"]] = data
    return kept


def without_map(data: bytes) -> bytes:
    """Leave out the last line if it points at a source map, which is not kept: a browser would look for it in vain."""
    body, _, last = data.rstrip().rpartition(b"\n")
    return body + b"\n" if last.startswith(b"//# sourceMappingURL=") else data


if __name__ == "__main__":
    sys.exit(main())
