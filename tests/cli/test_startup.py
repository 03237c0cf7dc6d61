"""`--help` loads nothing slow."""

import subprocess
import sys

import pytest

SLOW = {"kubernetes", "requests", "jinja2", "yaml", "urllib3", "pydantic", "msgspec", "asyncio", "jsonschema", "rich"}


@pytest.mark.parametrize("argv", [["--help"], ["migrate", "--help"], ["diagnose", "--help"], ["--version"]])
def test_help_loads_nothing_slow(argv: list[str]) -> None:
    """A deny-list of modules: deterministic, unlike a time."""
    code = (
        "import sys\nfrom rollout.cli import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert set() == loaded & SLOW
