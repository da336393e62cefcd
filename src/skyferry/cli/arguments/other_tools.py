"""Commands and options of rclone, s5cmd, rsync and the tools of clouds, and what to write here."""

from __future__ import annotations

from pathlib import Path

import click

COMMANDS = {  # of other tools, and what to write
    **dict.fromkeys(("sync", "mirror"), "skyferry copy SRC DST --delete"),
    **dict.fromkeys(("put", "get", "upload", "download", "rsync"), "skyferry copy SRC DST"),
    **dict.fromkeys(("list", "lsf", "lsd", "dir"), "skyferry ls URL"),
    **dict.fromkeys(("stat", "info"), "skyferry head URL"),
    **dict.fromkeys(("check", "diff"), "skyferry copy SRC DST --dry-run"),
    **dict.fromkeys(("start", "serve"), "skyferry run"),
    "cp": "skyferry copy SRC DST",
    "copyto": "skyferry copy SRC DST",
    "cat": "skyferry copy URL -",
    "rcat": "skyferry copy - URL",
    "pipe": "skyferry copy - URL",
    "lsl": "skyferry ls -l URL",
    "lsjson": "skyferry ls --json URL",
    "help": "skyferry --help",
}
ABSENT = {  # commands that have no like here
    **dict.fromkeys(
        ("mv", "move", "moveto"),
        "A route with `after_copy: delete` moves objects (`skyferry run`); otherwise copy, and delete with the tool of the source.",
    ),
    **dict.fromkeys(
        ("rm", "del", "delete", "deletefile", "purge", "rmdir", "rmdirs", "rb"),
        "`skyferry copy SRC DST --delete` deletes what SRC does not have; otherwise use the tool of the store.",
    ),
    **dict.fromkeys(
        ("mkdir", "mb"),
        "`skyferry copy SRC DST` makes the folders that it needs; make a bucket with the tool of the store.",
    ),
}
_CONFIGURED = "It is a setting of a store: write a configuration, and use --config."
_FILTERED = "It is a setting of a route (`filter`), for `skyferry run`."
_NEEDLESS = "Leave it out: it is not needed."
OPTIONS = {
    **dict.fromkeys(
        ("--endpoint-url", "--endpoint", "--s3-endpoint"), "Write s3://BUCKET/KEY?endpoint=URL, in quotes."
    ),
    **dict.fromkeys(("--region", "--s3-region"), "Write s3://BUCKET/KEY?region=NAME, in quotes, or set AWS_REGION."),
    **dict.fromkeys(("--min-size", "--max-size", "--min-age", "--max-age"), _FILTERED),
    **dict.fromkeys(("--exclude-from", "--include-from"), "Write --filter-from FILE, with + or - before each pattern."),
    **dict.fromkeys(("--sse", "--sse-kms-key-id", "--copy-links", "--follow-symlinks"), _CONFIGURED),
    **dict.fromkeys(("--metadata", "--archive", "--fast-list", "--checkers", "--no-traverse"), _NEEDLESS),
    **dict.fromkeys(("--delete-before", "--delete-during", "--delete-after"), "Write --delete."),
    "--profile": "Set AWS_PROFILE.",
    "--acl": "Access lists are not copied: set a policy of the bucket.",
    "--delete-excluded": "Filters protect keys from --delete: delete these with the tool of the store.",
    "--log-file": "Redirect standard error.",
    "--stats": "Write --progress.",
}


def explain_command(name: str) -> str:
    """Return what to write for a command of another tool, "" if it is unknown."""
    return ABSENT.get(name) or (f"Write `{COMMANDS[name]}`." if name in COMMANDS else "")


def explain_usage(error: click.ClickException) -> click.ClickException:
    """Return an error of usage with what to write, if a likely mistake is known."""
    if not isinstance(error, click.UsageError):
        return error
    hint, message = "", error.message
    if isinstance(error, click.NoSuchOption):
        is_first = error.ctx is not None and error.ctx.parent is None
        hint = (
            "Options follow the command: skyferry COMMAND OPTIONS." if is_first else OPTIONS.get(error.option_name, "")
        )
        message = f"No such option '{error.option_name}'"
    elif error.ctx is not None and any(parameter.name == "config" for parameter in error.ctx.command.params):
        before, _, extra = message.removesuffix(")").rpartition(" (")
        if before == "Got unexpected extra argument" and Path(extra).suffix in (".yaml", ".yml", ".json"):
            hint = f"Write --config {extra}."
    return click.UsageError(f"{message}. {hint}", error.ctx) if hint else error
