"""What the groups of commands behind `hierlib` share: how they end, how they are spelled, when they are imported."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

if TYPE_CHECKING:
    from typer._click.core import Command, Context  # a typer.Context is such a one

SEEDS = 2**32 - 1  #: the largest of a command: torch's generators on the CPU take no more than 32 bits of a seed

Seed = Annotated[int, typer.Option(min=0, max=SEEDS, help="Of all that is random.")]
Threads = Annotated[int, typer.Option(min=1, help="Of the processor; the files of the book were made with 1.")]
Minutes = Annotated[float, typer.Option(min=0, help="Stop then, exit code 3; the same command goes on.")]
Every = Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")]


class Commands(TyperGroup):
    """A group whose commands end with code 2 and one line if an input is wrong, with 130 after Ctrl-C."""

    def invoke(self, ctx: Context) -> object:
        """Run the command that the words name."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("hierlib"):
                raise
            text = f"this command needs {error.name}, which is not installed; install hierlib[book]"
            raise _ended(ctx, text) from None
        except (ValueError, OSError) as error:
            raise _ended(ctx, str(error)) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted. The same command goes on from what is finished.", err=True)
            raise typer.Exit(130) from None


def _ended(ctx: Context, text: str) -> typer.Exit:
    words = ctx.command_path if ctx.invoked_subcommand is None else f"{ctx.command_path} {ctx.invoked_subcommand}"
    typer.echo(f"{words}: {text}", err=True)
    return typer.Exit(2)


def group(help: str) -> typer.Typer:
    """An empty group of commands."""
    return typer.Typer(
        cls=Commands,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=help,
    )


def later(module: str, help: str) -> typer.Typer:
    """The group `app` of a module that is imported when one of its commands is asked for: networks take seconds.

    Args:
        module: its dotted name.
        help: one line about the group.
    """

    class Later(Commands):
        def list_commands(self, ctx: Context) -> list[str]:
            """Names, for the help."""
            return _group(module).list_commands(ctx)

        def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
            """The command of a name."""
            return _group(module).get_command(ctx, cmd_name)

    app = group(help)
    app.info.cls = Later
    return app


def _group(module: str) -> TyperGroup:
    group = get_command(importlib.import_module(module).app)
    if not isinstance(group, TyperGroup):
        raise TypeError(f"{module}.app: expected a group of commands, got {type(group).__name__}")
    return group


def spelled(ctx: typer.Context) -> str:
    """The command with all its options as they were given or are by default, to be kept with what it makes.

    Of an absolute path the name is kept: the digests say which file it was.
    """
    words = ctx.command_path.split()
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        flag = [max(param.opts, key=len)] if param.param_type_name == "option" else []
        if isinstance(value, bool):
            words += flag * value
        elif value is not None:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [*flag, one.name if isinstance(one, Path) and one.is_absolute() else str(one)]
    return " ".join(f"'{word}'" if " " in word else word for word in words)


def numbers(words: list[str], kind: type = int, *, name: str) -> list[Any]:
    """Numbers from words that each hold some, with commas between.

    Raises:
        ValueError: a word holds something else.
    """
    try:
        return [kind(part) for word in words for part in word.split(",") if part.strip()]
    except ValueError:
        raise ValueError(f"{name}: expected numbers with commas between them, got {','.join(words)!r}") from None
