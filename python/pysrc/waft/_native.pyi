"""Stubs of the private native module; checked by stubtest."""

__version__: str

def error_table() -> list[tuple[str, int, str, str]]:
    """Every error there is: (class, code, name, text)."""
