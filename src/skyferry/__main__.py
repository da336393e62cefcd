"""`python -m skyferry` is `skyferry`."""

from skyferry.cli import main

if __name__ == "__main__":
    main()
