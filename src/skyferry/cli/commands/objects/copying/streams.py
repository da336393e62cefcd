"""`skyferry copy - DST` and `skyferry copy SRC -`: standard input and output as one end of a copy."""

from __future__ import annotations

import asyncio
import sys
from io import BufferedReader
from typing import TYPE_CHECKING

from skyferry.cli.arguments import object_urls
from skyferry.cli.arguments.list_files import STDIN
from skyferry.cli.commands.objects.copying.prepare import limit_rate, prepare_destination
from skyferry.cli.commands.objects.copying.request import OutputOptions
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output
from skyferry.cli.signals import treat_sigterm_as_interrupt
from skyferry.cli.streams import EndableInput
from skyferry.errors import ConfigError, ObjectNotFound, SkyferryError

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_urls import ObjectLocation
    from skyferry.config.settings import Settings


def copy_stream(
    source: str, destination: str, settings: Settings, rate: int, storage_class: str, shown: OutputOptions
) -> ExitCode:
    """Copy from standard input or to standard output. `rate`: bytes per second; 0 = no limit."""
    if source == destination:
        raise ConfigError("source and destination are both -", hint="use `cat`")
    text = destination if source == STDIN else source
    location = limit_rate(object_urls.locate_object(text, settings), rate)
    if location.several:
        raise ConfigError("- needs one object at the other end", where=text, hint="name an object, without a final /")
    if source == STDIN:
        with prepare_destination(location, dry_run=False) as there:
            return asyncio.run(_write(there, settings, storage_class, shown))
    return asyncio.run(_read(location, settings))


async def _write(location: ObjectLocation, settings: Settings, storage_class: str, shown: OutputOptions) -> ExitCode:
    from skyferry.engine.copy.digests import ThreadOffload
    from skyferry.engine.streaming import write_stream
    from skyferry.model import Attributes
    from skyferry.stores.local.blocking.removal import remove_private_folder

    treat_sigterm_as_interrupt()
    standard_input = EndableInput()
    stream = BufferedReader(standard_input)

    async def read(length: int) -> bytes:
        return await asyncio.to_thread(_read_exactly, stream, length)

    try:
        async with object_urls.open_protected(location, settings) as store:
            kept = "" if storage_class == "keep" else storage_class
            made = await write_stream(store, location.key, read, Attributes(storage_class=kept), ThreadOffload())
    finally:
        standard_input.end()
        if location.path is not None:
            remove_private_folder(location.path)
    if shown.json:
        output.print_json({"destination": location.text, "bytes": made.size, "version": made.version})
    elif not shown.quiet:
        output.print_lines(f"1 object copied, {output.format_size(made.size)}")
    return ExitCode.OK


async def _read(location: ObjectLocation, settings: Settings) -> ExitCode:
    from skyferry.engine.copy.digests import ThreadOffload
    from skyferry.engine.streaming import read_stream

    treat_sigterm_as_interrupt()
    sys.stdout.flush()
    async with object_urls.open_protected(location, settings) as store:
        try:
            async for data in read_stream(store, location.key, ThreadOffload()):
                await asyncio.to_thread(sys.stdout.buffer.write, data)
            await asyncio.to_thread(sys.stdout.buffer.flush)
        except ObjectNotFound as error:
            raise ObjectNotFound("there is no such object", where=location.text) from error
    return ExitCode.OK


def _read_exactly(stream: BufferedReader[EndableInput], length: int) -> bytes:
    """Read that many bytes from standard input, or fewer at its end. Raises SkyferryError."""
    try:
        return stream.read(length)
    except OSError as error:
        hint = "connect it to a pipe or a file"
        raise SkyferryError(f"it cannot be read: {error.strerror}", where="standard input", hint=hint) from error
