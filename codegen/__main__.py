"""``timm-split`` as a process of its own, also as ``python -m codegen``."""

import atexit
import gc


def main() -> None:
    """Run the command. Most end within seconds, before it is worth the while to look for garbage."""
    gc.disable()
    atexit.register(gc.freeze)  # or Python would look for some when it ends
    from codegen.cli import main as command

    command()


if __name__ == "__main__":
    main()
