"""Run fuzz targets with atheris: `python -m tests.fuzz --seconds 60 [target …]`; a target is a module with `fuzz`.

Each target runs in a child process, so that a crash of one is reported and does not end the others.
"""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
INPUT_BYTES_MAX = 8192  # twice the largest frame of any device


def targets() -> list[str]:
    """Names of all targets: the modules beside this one that define `fuzz`."""
    names = (path.stem for path in sorted(HERE.glob("*.py")) if not path.name.startswith(("_", "test_")))
    return [name for name in names if "\ndef fuzz(" in (HERE / f"{name}.py").read_text("utf-8")]


def command(target: str, seconds: int) -> list[str]:
    """How to fuzz one target for a while; exit status 0 when nothing was found."""
    return [sys.executable, "-m", "tests.fuzz", "--seconds", str(seconds), "--inside", target]


def _inside(target: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["drivers", "gate"]):
        module = importlib.import_module(f"tests.fuzz.{target}")
    corpus = HERE / "corpus" / target
    arguments = [sys.argv[0], f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-timeout=5", "-verbosity=0"]
    # Seeds are read, and what fuzzing finds new is kept in no file: the corpus stays small.
    arguments += ["-artifact_prefix=/dev/null"] + ([str(corpus)] if corpus.is_dir() else [])
    atheris.Setup(arguments, module.fuzz)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*")
    chosen = parser.parse_args()
    if chosen.inside:
        _inside(chosen.inside, chosen.seconds)
        return
    failed = []
    for target in chosen.targets or targets():
        print(f"fuzzing {target} for {chosen.seconds} s", flush=True)
        if subprocess.run(command(target, chosen.seconds), check=False).returncode != 0:
            failed.append(target)
    sys.exit(f"found faults in: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
