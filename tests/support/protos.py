"""Generate gate/v1 from protos/, or compare what is committed with what would be generated."""

import filecmp
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
OUT = ROOT / "gate" / "v1"


def generate(folder: Path) -> None:
    """Write the stubs of all protos below `folder` (as gate/v1/…)."""
    protos = sorted(str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto"))
    well_known = str(resources.files("grpc_tools").joinpath("_proto"))
    outputs = [f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    scripts = Path(sys.executable).parent
    plugins = [f"--plugin=protoc-gen-{name}={scripts / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
    status = protoc.main(["protoc", f"-I{ROOT / 'protos'}", f"-I{well_known}", *plugins, *outputs, *protos])
    if status != 0:
        sys.exit(f"protoc failed with {status}")


def main() -> None:
    """`generate` or `compare`."""
    if sys.argv[1:] == ["generate"]:
        generate(ROOT)
    elif sys.argv[1:] == ["compare"]:
        with tempfile.TemporaryDirectory() as name:
            generate(Path(name))
            made = Path(name) / "gate" / "v1"
            names = {path.name for path in made.iterdir()} | {p.name for p in OUT.glob("*_pb2*")}
            _, different, missing = filecmp.cmpfiles(made, OUT, names, shallow=False)
        if different or missing:
            sys.exit(f"gate/v1 is not what protos/ gives: {', '.join(sorted(different + missing))}; run make protos")
    else:
        sys.exit("usage: protos.py generate | compare")


if __name__ == "__main__":
    main()
