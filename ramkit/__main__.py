"""`python -m ramkit`, the form that torchrun starts."""

from ramkit.cli import main

if __name__ == "__main__":
    main()
